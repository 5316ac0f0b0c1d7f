"""Flags of the command line that become options of a run."""

from pathlib import Path

import pytest
import scenario
from click.testing import CliRunner

from backend_crew.crew.cli import cli
from backend_crew.crew.errors import UsageError
from backend_crew.crew.settings import Options


@pytest.mark.parametrize(
    ("given", "hours"), [((), 72.0), (("--decision-expiry", "0.5"), 0.5), (("--decision-expiry", "none"), None)]
)
def test_the_age_of_decisions_is_a_number(
    given: tuple[str, ...], hours: float | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[Options] = []

    def start(*_: object, options: Options, **__: object) -> None:
        seen.append(options)
        raise UsageError("far enough")

    monkeypatch.setattr("backend_crew.crew.runner.start", start)
    monkeypatch.setenv("BACKEND_CREW_HOME", str(tmp_path / "home"))
    repo = scenario.make_repository(tmp_path / "repo", {"a.py": "x = 1\n"})
    CliRunner().invoke(cli, ["run", "A feature", "--repo", str(repo), *given])
    assert [one.decision_hours for one in seen] == [hours]
    found = CliRunner().invoke(cli, ["run", "A feature", "--decision-expiry", "soon"])
    assert (found.exit_code, "expected a number or 'none', found 'soon'" in found.output) == (2, True)
