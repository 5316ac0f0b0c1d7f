"""What shows that decisions are as they were made: the chain, its key, and the published commits that carry its head."""

from pathlib import Path

from backend_crew.crew.chain import KEY_FILE
from backend_crew.crew.errors import JournalError
from backend_crew.crew.journal import GENESIS, Journal, Run
from backend_crew.tools.anchors import anchors
from backend_crew.tools.errors import ToolError


def verified(journal: Journal, run: Run, known: str | None = None) -> list[str]:
    """Lines that say what was checked and what could not be; raises JournalError for what does not fit.

    `known` is a head that somebody kept: decisions may have been added after it, none taken away.
    """
    head, taken = journal.verify(run.id), journal.decisions(run.id)
    if known is not None and known not in {one.hash for one in taken}:
        raise JournalError(
            f"the head {known} is not in the chain of run {run.id}, which ends at {head}: decisions were removed, or "
            "the journal was put back to an earlier state"
        )
    sealed = (
        "sealed with the key"
        if journal.keyed
        else f"not keyed: who can write the journal could rewrite it ({KEY_FILE})"
    )
    return [
        f"{run.id}: {len(taken)} decisions, chain intact, head {head}",
        sealed,
        _anchored(run, head, {one.hash for one in taken}),
    ]


def _anchored(run: Run, head: str, hashes: set[str]) -> str:
    """Compare the head with what commits of the person's repository carry."""
    try:
        found = anchors(Path(run.repo), run.id)
    except ToolError as error:
        return f"not anchored: {error}"
    for commit, carried in found.items():
        if carried != head:
            how = (
                "added"
                if carried in hashes or carried == GENESIS
                else "removed or rewritten, or the journal was put back"
            )
            raise JournalError(
                f"commit {commit[:12]} of {run.repo} carries the head {carried}, and the chain of run {run.id} ends at "
                f"{head}: decisions were {how} after it was published"
            )
    if not found:
        return f"not anchored: no commit in {run.repo} carries the head of this run (not published yet, or removed)"
    return f"anchored: commit {', '.join(commit[:12] for commit in found)} in {run.repo} carries this head"
