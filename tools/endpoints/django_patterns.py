"""URL patterns of Django as paths that people read: parameters as <name>, regular expressions without their marks."""

import re

_NAMED = re.compile(r"\(\?P<(\w+)>")
_MARKS = re.compile(r"\\[AZ]|(?<!\\)[$^]")


def readable(pattern: str) -> str:
    """A regular expression with its groups as <name> (<arg> without a name), and no anchors or escapes."""
    found = ""
    at = 0
    while at < len(pattern):
        named = _NAMED.match(pattern, at)
        if pattern[at] == "\\" and at + 1 < len(pattern):
            found += pattern[at : at + 2]
            at += 2
        elif named or (pattern[at] == "(" and not pattern.startswith("(?", at)):
            found += f"<{named.group(1) if named else 'arg'}>"
            at = _closed(pattern, at)
        else:
            found += pattern[at]
            at += 1
    return re.sub(r"\\([^\w])", r"\1", _MARKS.sub("", found))


def _closed(pattern: str, at: int) -> int:
    """The place after the parenthesis that closes the one at `at`."""
    depth = 0
    inside = False
    while at < len(pattern):
        if pattern[at] == "\\":
            at += 1
        elif inside:
            inside = pattern[at] != "]"
        elif pattern[at] == "[":
            inside = True
        elif pattern[at] in "()":
            depth += 1 if pattern[at] == "(" else -1
            if depth == 0:
                return at + 1
        at += 1
    return at
