"""One replacement in the bytes of a source."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """`code` in place of the bytes from `start` to `end`; `line` counts from 1."""

    start: int
    end: int
    code: bytes
    line: int
    operator: str
