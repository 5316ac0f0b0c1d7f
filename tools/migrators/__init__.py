"""One migration tool a file, all behind the protocol of `protocol.py`: what is there, where a database is, how it moves."""
