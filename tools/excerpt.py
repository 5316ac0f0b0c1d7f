"""Cuts text that nobody has taken secrets out of yet, so that what is left of one at the cut can be told."""

import re

CUT = "…"
"""Stands where a text was cut; what is left of a secret beside it is taken out too."""


def head(text: str, limit: int) -> str:
    """Give the beginning, with the sign of a cut behind it."""
    return text if len(text) <= limit else text[: limit - 1] + CUT


def tail(text: str, limit: int) -> str:
    """Give the end behind the sign of a cut, from where a line begins, or at least a word."""
    if len(text) <= limit:
        return text
    kept = text[len(text) - limit + 1 :]
    begin = re.search(r"\n", kept) or re.search(r"\s", kept)
    return CUT + kept[begin.end() :] if begin else CUT
