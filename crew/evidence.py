"""Citations: code opens each one and compares it with the file; what is said to be absent is searched for again."""

import re
from collections.abc import Callable, Sequence

from backend_crew.crew.artifacts import Evidence, Finding
from backend_crew.tools.errors import ToolRetry
from backend_crew.tools.search import Match
from backend_crew.tools.workspace import Workspace


def locate(workspace: Workspace, evidence: Evidence) -> Evidence:
    """The citation with its true line; raises ToolRetry when the file does not hold the quote."""
    quote = _flat(evidence.quote.replace("\0", "\ufffd"))
    # as read_file counts and shows them: a quote that was guessed must not be confirmed
    lines = [_flat(line) for line in workspace.lines(evidence.path)]
    hits = [number for number, line in enumerate(lines, start=1) if quote and quote in line]
    if not hits:
        there = lines[evidence.line - 1] if evidence.line <= len(lines) else f"(the file has {len(lines)} lines)"
        raise ToolRetry(
            f"{evidence.path}:{evidence.line}: the file does not hold {evidence.quote!r}; that line reads: {there[:200]}"
        )
    nearest = min(hits, key=lambda number: abs(number - evidence.line))
    return evidence.model_copy(update={"line": nearest})


#: How a statement begins that something is not there.
_CLAIM = re.compile(r"(no|none|nothing|without|there (is|are) (no|nothing|none))\b", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z]{3,}")


def check_absence(finding: Finding, search: Callable[[str], Sequence[Match]]) -> None:
    """Search again for what a finding says is absent; `search` gives the lines of a pattern. Raises ToolRetry where it is there, or no search would show it."""
    if finding.absent is None:
        if _CLAIM.match(finding.statement):
            raise ToolRetry(
                f"{finding.statement!r} says that something is absent: name in 'absent' the regular expression that would "
                "find it, or say what is there instead"
            )
        if not finding.evidence:
            raise ToolRetry(f"{finding.statement!r}: no line shows it; cite at least one")
        return
    # a search for something else, or for more than the statement says, finds nothing either
    said = {word.lower()[:4] for word in _WORD.findall(finding.statement)}
    asked = [{word.lower()[:4] for word in _WORD.findall(part)} for part in finding.absent.split("|")]
    if not any(words and words <= said for words in asked):
        raise ToolRetry(
            f"the search {finding.absent!r} would not find what {finding.statement!r} says is absent: one of its "
            "alternatives (between |) has to consist of words of the statement alone"
        )
    if found := search(f"(?i){finding.absent}"):
        places = "; ".join(f"{one.path}:{one.line} {one.text.strip()[:80]}" for one in found)
        raise ToolRetry(f"{finding.statement!r}: the search {finding.absent!r} finds it: {places}")


def _flat(text: str) -> str:
    return " ".join(text.split())
