"""Runs the cases of the security pass, all as one change, and counts what it caught and what it blocked."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from verification.audit_cases import CLEAN, VULNERABLE, Case

from backend_crew.tools.audit.check import Audit, audit
from backend_crew.tools.change_finding import ChangeFinding


@dataclass(frozen=True)
class Outcome:
    """What the pass said about one case."""

    case: Case
    findings: tuple[ChangeFinding, ...]

    @property
    def errors(self) -> tuple[str, ...]:
        """The rules of its errors."""
        return tuple(one.rule for one in self.findings if one.severity == "error")

    @property
    def right(self) -> bool:
        """Whether a weakness is found by its rule, and a clean change has no error."""
        return self.case.rule in self.errors if self.case.rule else not self.errors


def outcomes(folder: Path) -> tuple[list[Outcome], Audit]:
    """The whole corpus, each case in a folder of its own."""
    cases = (*VULNERABLE, *CLEAN)
    paths: list[str] = []
    reasons: dict[str, str] = {}
    for number, case in enumerate(cases):
        _write(folder / "before" / f"case{number}", case.before)
        _write(folder / "after" / f"case{number}", case.after)
        paths += [f"case{number}/{path}" for path in case.after]
        reasons.update(case.reasons)
    (folder / "before").mkdir(exist_ok=True)
    result = audit(folder / "before", folder / "after", paths, reasons=reasons)
    return [
        Outcome(case, tuple(one for one in result.findings if one.path.startswith(f"case{number}/")))
        for number, case in enumerate(cases)
    ], result


def _write(root: Path, files: Mapping[str, str]) -> None:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def figures(found: list[Outcome]) -> tuple[float, float]:
    """Precision and recall of "this brings a weakness in"."""
    weak = [one for one in found if one.case.rule]
    said = [one for one in found if one.errors]
    return sum(bool(one.case.rule) for one in said) / len(said), sum(one.right for one in weak) / len(weak)
