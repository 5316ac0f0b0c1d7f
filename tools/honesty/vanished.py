"""What a change took out of the code of the service: names and texts that its files no longer have."""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from backend_crew.tools.honesty import testpaths

_WORD = re.compile(r"[A-Za-z_$][\w$]*")
# Only what can be named from outside: a local variable that went explains no lost test.
_DEFINED = re.compile(
    r"\b(?:def|class|function\*?|const|let|interface|type|enum)\s+([A-Za-z_$][\w$]*)"  # definitions
    r"|[\"']([^\"'\n]{2,100})[\"']"  # texts: keys, routes, messages
    r"|^\s*([A-Za-z_$][\w$]*)\s*[:=(]"  # fields, constants, methods
    r"|\.([A-Za-z_$][\w$]*)",  # attributes
    re.MULTILINE,
)


def vanished(before: Mapping[str, str], after: Mapping[str, str]) -> frozenset[str]:
    """Names and texts of product code in `before` that nothing of product code in `after` has, of at least 3 letters."""
    was = {path: text for path, text in before.items() if testpaths.is_product_code(path)}
    now = {path: text for path, text in after.items() if testpaths.is_product_code(path)}
    defined = {name for text in was.values() for match in _DEFINED.finditer(text) for name in match.groups() if name}
    defined |= {PurePosixPath(path).stem for path in was if path not in now}
    kept = {word for text in now.values() for word in _WORD.findall(text)}
    texts = "\n".join(now.values())
    # A message is known by its fixed parts.
    defined |= {part.strip(" .,:'\"") for one in defined if " " in one for part in re.split(r"\{[^}]*\}|%[sdr]", one)}
    return frozenset(one for one in defined if len(one) > 2 and one not in kept and one not in texts)
