"""Test runners: one adapter a file, all behind `protocol.py`; `find.py` says which one a command is."""
