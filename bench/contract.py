"""Precision and recall of the contract check and of the security pass on their corpora.

`python bench/contract.py` prints both; `--misses` names what was missed or blocked.
"""

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from verification import audit_corpus, contract_corpus

from backend_crew.tools.sandbox import NoSandbox, find_sandbox


def main() -> None:
    """Both corpora, each in one go."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        started = time.monotonic()
        weak, _ = audit_corpus.outcomes(folder / "audit")
        _print("security pass", weak, audit_corpus.figures(weak), time.monotonic() - started)
        sandbox = find_sandbox()
        if isinstance(sandbox, NoSandbox):
            sys.exit(f"contract check: not run, no sandbox works here: {sandbox.reason}")
        (folder / "contract").mkdir()
        started = time.monotonic()
        broken = contract_corpus.outcomes(sandbox, folder / "contract")
        _print("contract check", broken, contract_corpus.figures(broken), time.monotonic() - started)


def _print(
    name: str,
    found: Sequence[audit_corpus.Outcome] | Sequence[contract_corpus.Outcome],
    figures: tuple[float, float],
    seconds: float,
) -> None:
    bad = sum(bool(one.case.rule) for one in found)
    print(f"{name}: {bad} bad and {len(found) - bad} good, ", end="")
    print(f"precision {figures[0]:.2f}, recall {figures[1]:.2f}, {seconds:.1f} s")
    if "--misses" in sys.argv:
        for one in found:
            if not one.right:
                print(
                    f"  {one.case.name}: wanted {one.case.rule or 'no error'}, found {', '.join(one.errors) or 'none'}"
                )


if __name__ == "__main__":
    main()
