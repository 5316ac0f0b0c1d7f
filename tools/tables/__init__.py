"""Tables of a repository, read from its models: one ORM a file, all behind `protocol.py`."""
