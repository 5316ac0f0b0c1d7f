"""Hand-ins after red tests: what is sent back to whom, how often, and when a repair counts."""

import hashlib
from collections.abc import Sequence

from backend_crew.crew import examination
from backend_crew.crew.session import Session
from backend_crew.crew.verdict import as_before, blamed, clipped, run_as_it_is, summarised, verdict
from backend_crew.tools import git
from backend_crew.tools.errors import ToolRetry
from backend_crew.tools.testrun import TestCase, TestRun

#: Red test reports that are sent back before the implementer is asked to repair.
RED_REPORTS = 2
REPAIR_ROUNDS = 3


def refuse_red_command(session: Session, run: TestRun) -> None:
    """A red exit code goes back to the tester first, unless it was red before the change."""
    before = (session.payload("baseline") or {}).get("status")
    if run.status == "failed" and before != "failed" and session.attempts < RED_REPORTS:
        raise ToolRetry(
            f"the test command fails: {run.reason}. Correct a test that is wrong. If the product is wrong, submit "
            f"again as it is, and the implementer repairs it:\n{run.output_tail[-3000:]}"
        )


def verdict_before(session: Session) -> str:
    """What the tests said before the repair: where they are not red, only findings are open, which may stay as they are."""
    return str((session.payload("verify") or {}).get("verdict"))


def as_handed_in_before(session: Session, changes: Sequence[git.Change]) -> bool:
    """Whether a red report comes with the files that it came with last time: so a tester says that the product is wrong."""
    tried, session.repair.tried = session.repair.tried, _state(session, changes)
    return session.repair.tried == tried


def _state(session: Session, changes: Sequence[git.Change]) -> str:
    work = session.workspace
    there = {one.path: work.read_bytes(one.path) if work.exists(one.path) else None for one in changes}
    return hashlib.sha256(repr(there).encode()).hexdigest()


def refuse_unchanged_repair(session: Session, changes: Sequence[git.Change]) -> None:
    """A hand-in without a change since the tests were red goes back to the model; no round is used for it."""
    repair = session.repair
    state = _state(session, changes) if changes else ""
    if state != repair.tried:
        repair.tried = state
        return
    repair.unchanged += 1
    if repair.unchanged < REPAIR_ROUNDS:
        raise ToolRetry(
            "nothing was changed since the tests were red, so they would be red again. Change the product where the "
            "failing tests point; run_tests shows them"
        )


def refuse_red_repair(session: Session) -> None:
    """A repair counts once the tests are green, or once its rounds are used up."""
    repair = session.repair
    # the last round is taken as it is, before the model door would see a loop in the same hand-in again
    if REPAIR_ROUNDS in (repair.rounds + 1, repair.unchanged):
        return
    run = run_as_it_is(session)
    word, why = verdict(session.payload("baseline") or {}, summarised(run))
    if word == "red":
        red, old = blamed(session, run)
        lines = told(red, old) if red else f"- {why}\n{run.output_tail[-1500:]}"
        repair.rounds += 1
        raise ToolRetry(f"still red, round {repair.rounds} of {REPAIR_ROUNDS}:\n{lines}")
    if not repair.told and (left := examination.standing(session, run)):
        repair.told = True
        raise ToolRetry(
            "the tests pass, and these findings stand. Repair them; one that is wrong stays: hand in as it is, with the "
            "reason in the summary, and the person decides:\n" + "\n".join(f"- {line}" for line in left[:20])
        )


def told(red: Sequence[TestCase], old: int) -> str:
    """Failing tests for whoever can mend them; those that failed before the change would hide them, and are counted."""
    lines = [f"- {case.id}: {clipped(case.message, 600)}" for case in red[:8]]
    lines += [f"… and {len(red) - 8} more"] if len(red) > 8 else []
    return "\n".join([*lines, *filter(None, [as_before(old)])])
