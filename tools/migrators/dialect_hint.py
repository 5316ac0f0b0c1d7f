"""For which database a text of SQL was written, where nothing else says so: by words that only one of them has."""

import re
from collections.abc import Iterable

_SILENT = re.compile(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'", re.DOTALL)
_SIGNS = {
    "sqlite": r"\bAUTOINCREMENT\b|^\s*PRAGMA\s|\bWITHOUT\s+ROWID\b|\bSTRICT\s*;|\bINSERT\s+OR\s+(?:IGNORE|REPLACE)\b"
    r"|\bsqlite_(?:master|schema|sequence)\b|\bstrftime\s*\(|\bUSING\s+fts[345]\b|\bjulianday\s*\(",
    "postgresql": r"\b(?:BIG|SMALL)?SERIAL\b|\bJSONB\b|\bTIMESTAMPTZ\b|\w\)?::\s*\w|\$(?:[a-z_]\w*)?\$"
    r"|\bCREATE\s+(?:EXTENSION|SEQUENCE|DOMAIN|TYPE|MATERIALIZED\s+VIEW)\b|\bCONCURRENTLY\b"
    r"|\bUSING\s+(?:gin|gist|brin|btree|hash)\b|\bLANGUAGE\s+(?:plpgsql|sql)\b|\bGENERATED\s+(?:ALWAYS|BY\s+DEFAULT)\s+AS\s+IDENTITY"
    r"|\bgen_random_uuid\s*\(|\bBYTEA\b|\bTSVECTOR\b|\bTIMESTAMP\s*(?:\(\d\)\s*)?WITH(?:OUT)?\s+TIME\s+ZONE\b|\b(?:TEXT|INTEGER|INT)\s*\[\]",
    "mysql": r"\bAUTO_INCREMENT\b|\bENGINE\s*=|\b(?:TINY|MEDIUM|LONG)(?:INT|TEXT|BLOB)\b|\bDEFAULT\s+CHARSET\b"
    r"|\bON\s+UPDATE\s+CURRENT_TIMESTAMP\b|\bCHARACTER\s+SET\s+utf8|\bMODIFY\s+COLUMN\b|`\s*\w+\([^)]*\)\s+UNSIGNED\b|\bENUM\s*\(",
}
_FOUND = {name: re.compile(signs, re.IGNORECASE | re.MULTILINE) for name, signs in _SIGNS.items()}


def dialect_hint(texts: Iterable[str]) -> str | None:
    """ "sqlite", "postgresql" or "mysql" where words of one of them and of no other are there; else None."""
    bare = [_SILENT.sub(" '' ", text) for text in texts]
    names = [name for name, signs in _FOUND.items() if any(signs.search(text) for text in bare)]
    return names[0] if len(names) == 1 else None
