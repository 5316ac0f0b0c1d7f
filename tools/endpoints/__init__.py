"""Endpoints of a repository, read from its source: one family of frameworks a file, all behind `protocol.py`."""
