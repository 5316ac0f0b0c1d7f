"""The words of a feature that can name code."""

import re

_MOST = 40
_WORD = re.compile(r"[A-Za-z]+")
_COMMON = """
    the and for with from that this should must can add new make use into when which have has are not all any each per
    feature support allow user users api endpoint endpoints backend service data able also their them its"""
_STOP = frozenset(_COMMON.split())


def feature_words(text: str) -> tuple[str, ...]:
    """The words in their order, lower case, each once; without common ones, and without the ends of plurals."""
    words = [word.lower() for word in _WORD.findall(text)]
    kept = [_singular(word) for word in words if len(word) > 2 and word not in _STOP]
    return tuple(dict.fromkeys(kept))[:_MOST]


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3]  # "categor" is in category and in categories
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word
