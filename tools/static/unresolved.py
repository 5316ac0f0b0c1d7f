"""What a reading could not tell."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Unresolved:
    """Something that makes endpoints or tables, and why the source does not say which."""

    file: str
    line: int
    why: str
