"""Citations: code opens each one and compares it with the file."""

from backend_crew.crew.artifacts import Evidence
from backend_crew.tools.errors import ToolRetry
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


def _flat(text: str) -> str:
    return " ".join(text.split())
