"""The interface that was built, held against the one that was approved."""
