"""The whole verification of the demo's finished branch against the bare test suite on it: `python bench/verification.py`

The demo is played first. Then, on its branch: the tests as a person runs them, the verification without trials
(`--checks quick`), and the whole one with new tests on old code, mutants and the started application. `--schemathesis
DIR` names a virtual environment that has it; without one its run is not part of what is measured, which is said.
"""

import argparse
import dataclasses
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import measure
from rich.console import Console

from backend_crew.crew import demo, examination, runner
from backend_crew.crew.journal import Journal
from backend_crew.crew.session import Session, open_session
from backend_crew.crew.settings import tool_environment
from backend_crew.crew.stopping import StopFlag
from backend_crew.tools import process

ROUNDS = 3
MOST_WHOLE, MOST_QUICK = 4.0, 1.3


def _played(folder: Path) -> tuple[Journal, str]:
    """The demo, played to its end: the journal and the run's id."""
    journal = Journal(folder / "home")
    run, models, person = demo.prepare(journal, Console(quiet=True), keep=folder, yes=True)
    stop = runner.advance(journal, run.id, models, person, StopFlag())
    if str(stop.status) != "finished":
        raise SystemExit(f"the demo is {stop.status}, not finished: {stop.reason}")
    return journal, run.id


def _bare(session: Session) -> None:
    """The suite by its own command on a tree of its own, as a person would run it: no sandbox, no report."""
    assert session.tests is not None
    with tempfile.TemporaryDirectory() as name:
        argv = [str(session.runtime.python), *session.tests.argv[1:]]
        if "pytest" not in argv:
            argv = [str(session.runtime.python), "-m", "pytest", *session.tests.argv[1:]]
        env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": name, "TMPDIR": name, "PYTHONDONTWRITEBYTECODE": "1"}
        done = process.run(argv, cwd=session.clone.tree, env=env, timeout_s=600)
        if not done.ok:
            raise SystemExit(f"the suite itself fails: {done.stdout[-500:]}{done.stderr[-500:]}")


def _timed(work: Callable[[], object]) -> tuple[float, object]:
    started = time.perf_counter()
    found = work()
    return time.perf_counter() - started, found


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--schemathesis", type=Path, help="a virtual environment that has it")
    options.add_argument("--rounds", type=int, default=ROUNDS, help="how often each is measured")
    given = options.parse_args()
    measure.machine()
    with tempfile.TemporaryDirectory() as name:
        journal, run = _played(Path(name))
        if given.schemathesis:
            os.environ["BACKEND_CREW_HOME"] = name
            place = tool_environment("schemathesis")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(given.schemathesis.absolute())
        with journal.lease(run):
            _measure(open_session(journal, run, StopFlag()), given.rounds)
        journal.close()


def _measure(session: Session, rounds: int) -> None:
    quick = dataclasses.replace(session.run, options={**session.run.options, "checks": examination.QUICK})
    times: dict[str, list[float]] = {"bare": [], "quick": [], "whole": []}
    record: dict[str, object] = {}
    whole_run = session.run
    for _ in range(rounds):
        times["bare"].append(_timed(lambda: _bare(session))[0])
        session.run, session.tested = quick, None  # nothing is taken from an earlier run of the tests
        times["quick"].append(_timed(lambda: examination.verified(session))[0])
        session.run, session.tested = whole_run, None
        took, found = _timed(lambda: examination.verified(session))
        times["whole"].append(took)
        assert isinstance(found, dict)
        record = found
    checks = record["checks"]
    assert isinstance(checks, dict)
    medians = {name: statistics.median(each) for name, each in times.items()}
    rows = [(name, f"{one:.1f}", f"{one / medians['bare']:.2f}x") for name, one in medians.items()]
    measure.table("seconds of one verification", ("", "median", "ratio"), rows)
    mutation, application = checks["mutation"], checks["application"]
    print(
        f"\nmutants: {mutation['killed']} killed, {mutation['survived']} survived, of {mutation['possible']} possible"
    )
    print(f"application: {application}")
    measure.verdict("whole verification", medians["whole"] / medians["bare"], MOST_WHOLE, "x")
    measure.verdict("verification without trials", medians["quick"] / medians["bare"], MOST_QUICK, "x")


if __name__ == "__main__":
    main()
