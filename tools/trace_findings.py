"""What was seen of PostgreSQL's statements decides where their text cannot: whether a table is rewritten."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from backend_crew.tools.facts import DatabaseFacts
from backend_crew.tools.lint_rules import WARNING, LintFinding
from backend_crew.tools.pg_trace import Traced
from backend_crew.tools.rehearsal_findings import Finding

#: A rewrite of a table that is known to be this small is over before anybody waits.
_FEW_ROWS = 10_000
_CHANGED = re.compile(r"(?P<table>\S+)\.(?P<column>[^\s.]+) becomes ")
# The server's time zone, which is not the rehearsal's, decides whether these are stored anew.
_OF_ZONES = re.compile(r"\btime", re.IGNORECASE)
_UNTOUCHED = (
    "where this was rehearsed, PostgreSQL rewrote nothing, so no value changes and the exclusive lock is short; it is "
    "another type all the same"
)


def rewrites(traced: Iterable[Traced], before: DatabaseFacts, whole: bool) -> list[Finding]:
    """An ALTER TABLE that stores anew what was there before; `whole`: the rows are the person's own, so few are few."""
    found: list[Finding] = []
    for one in traced:
        for table in one.rewritten if one.sql.upper().startswith("ALTER TABLE") else ():
            old = before.tables.get(table)
            if old is not None:
                text = (
                    f"{table} is rewritten under an exclusive lock, for as long as its size takes, by: {one.sql[:120]}"
                )
                found.append(Finding("warning" if whole and old.rows <= _FEW_ROWS else "error", text))
    return found


def settled(findings: Iterable[LintFinding], traced: Sequence[Traced]) -> list[LintFinding]:
    """The lint's findings; a change of type that was seen to rewrite nothing is a warning."""
    return [_settled(one, traced) for one in findings]


def _settled(finding: LintFinding, traced: Sequence[Traced]) -> LintFinding:
    named = _CHANGED.match(finding.text) if finding.rule == "change-type" else None
    if named is None:
        return finding
    table, column = (re.escape(named[part].rsplit(".", 1)[-1]) for part in ("table", "column"))
    change = re.compile(
        rf'ALTER TABLE .*?\b{table}"? .*\bALTER (?:COLUMN )?"?{column}"? (?:SET DATA )?TYPE (?P<new>.*)', re.IGNORECASE
    )
    seen = [(one, match) for one in traced if (match := change.match(one.sql))]
    if not seen or any(one.rewritten or _OF_ZONES.search(match["new"]) for one, match in seen):
        return finding
    return replace(finding, severity=WARNING, text=f"{finding.text.split(': ', 1)[0]}: {_UNTOUCHED}.")
