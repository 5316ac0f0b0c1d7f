"""Secrets that stand in source: known forms of keys, and random texts under the name of a secret."""

import math
import re
import zlib
from collections import Counter
from collections.abc import Iterator

from backend_crew.tools.audit.rules import RULES, Hit
from backend_crew.tools.secrets import Redactor

_LINE = 2_000
_NAMED = re.compile(
    r"""(?P<name>\w*(?:secret|token|passw(?:or)?d|passphrase|api_?key|private_?key|signing_?key|access_?key)\w*)["']?\s*"""
    r"""(?::\s*[\w\[\], |]+)?[=:]\s*(?:[brfu]{0,2})(?P<quote>["'`])(?P<value>[^"'`\n]{8,})(?P=quote)""",
    re.I,
)
_HARMLESS = re.compile(
    r"(url|uri|name|header|path|file|type|prefix|algorithm|field|column|label|message|error|pattern|regex|id|ttl|scheme)$",
    re.I,
)
_PLACEHOLDER = re.compile(
    r"change|example|your|dummy|sample|placeholder|test|fake|invalid|required|must|wrong|<|\$\{|\{|process\.env|xxx|\s",
    re.I,
)


def secret_hits(text: str) -> Iterator[Hit]:
    """Lines with a secret; the secret itself is not repeated."""
    redact = Redactor(())
    for number, line in enumerate(text.splitlines(), start=1):
        short = line[:_LINE]
        if redact.mask(short) != short:
            yield _hit(number, "a text that has the form of a key", short)
            continue
        for match in _NAMED.finditer(short):
            if not _HARMLESS.search(match["name"]) and _is_random(match["value"]):
                yield _hit(number, f"{match['name']} is written out", short)


def _hit(number: int, what: str, line: str) -> Hit:
    # Told from old ones by where it stands in the text, not by its value.
    return Hit(
        "secret-in-code",
        number,
        f"{what}#{zlib.crc32(line.strip().encode()):08x}",
        RULES["secret-in-code"].severity,
        what,
    )


def _is_random(value: str) -> bool:
    """Whether a text looks drawn rather than written: many different signs of several kinds."""
    if _PLACEHOLDER.search(value):
        return False
    kinds = sum(bool(re.search(kind, value)) for kind in (r"[a-z]", r"[A-Z]", r"\d", r"[^\w\s]"))
    counts = Counter(value)
    entropy = -sum(n / len(value) * math.log2(n / len(value)) for n in counts.values())
    return entropy >= 3 and (kinds >= 3 or (kinds >= 2 and len(value) >= 20 and bool(re.search(r"\d", value))))
