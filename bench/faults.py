"""Ten seeded faults against this crew and against a plain CrewAI crew, each run for real.

Usage: python bench/faults.py [--markdown] [LETTER ...]
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import faults_ours
import faults_plain_runs
from faults_person import FAULTS, Fault, Outcome

from backend_crew.tools.sandbox import NoSandbox, find_sandbox

SIDES = (("this crew", faults_ours.RUNS), ("plain CrewAI", faults_plain_runs.RUNS))


def both(fault: Fault) -> tuple[Outcome, Outcome]:
    """Ours and the plain crew's, each on a repository of its own."""
    found = []
    for _, runs in SIDES:
        with tempfile.TemporaryDirectory() as folder:
            found.append(runs[fault.letter](Path(folder)))
    return found[0], found[1]


def row(fault: Fault, ours: Outcome, plain: Outcome) -> str:
    """One row of the Markdown table."""
    cells = [f"({fault.letter}) {fault.title}", fault.harm]
    cells += [f"**{one.verdict}**: {one.observed}" for one in (ours, plain)]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def main(argv: Sequence[str]) -> None:
    """Run the faults and print what was observed as it comes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--markdown", action="store_true", help="print the table of docs/security.md")
    letters = [fault.letter for fault in FAULTS]
    parser.add_argument("letters", nargs="*", metavar="LETTER", help="only these faults")
    given = parser.parse_args(argv)
    if unknown := sorted(set(given.letters) - set(letters)):
        parser.error(f"no fault is called {', '.join(unknown)}; there are {', '.join(letters)}")
    if isinstance(sandbox := find_sandbox(), NoSandbox):
        raise SystemExit(f"no sandbox here ({sandbox.reason}): half of the comparison could not run")
    if given.markdown:
        print("| fault | must not come of it | this crew | plain CrewAI |\n|---|---|---|---|")
    for fault in FAULTS:
        if given.letters and fault.letter not in given.letters:
            continue
        outcomes = both(fault)
        if given.markdown:
            print(row(fault, *outcomes), flush=True)
            continue
        print(f"\n({fault.letter}) {fault.title}")
        for (name, _), one in zip(SIDES, outcomes, strict=True):
            print(f"  {name:12}  {one.verdict:18}  asked {one.questions}x  {one.observed}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
