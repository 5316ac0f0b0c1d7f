"""Approved packages: wheels only, into the run's own folder."""

import json
import sys
import zipfile
from pathlib import Path

import driving
import pytest
import scenario

from backend_crew.crew.embed import Unverified
from backend_crew.crew.recording import Reply
from backend_crew.tools import environment
from backend_crew.tools.runtime import Runtime, find_runtime


def _wheel(folder: Path) -> Path:
    """A real, tiny wheel, so that no index is needed."""
    path = folder / "tinypkg-1.0-py3-none-any.whl"
    info = "tinypkg-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("tinypkg.py", "VALUE = 42\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tinypkg\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return path


def _source(folder: Path, canary: Path) -> None:
    """A source package whose build would run code."""
    import tarfile

    package = folder / "evilpkg-1.0"
    package.mkdir()
    (package / "setup.py").write_text(
        f"open({str(canary)!r}, 'w').write('ran')\nfrom setuptools import setup\nsetup(name='evilpkg', version='1.0')\n"
    )
    (package / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: evilpkg\nVersion: 1.0\n")
    with tarfile.open(folder / "evilpkg-1.0.tar.gz", "w:gz") as archive:
        archive.add(package, "evilpkg-1.0")


def _env(links: Path) -> dict[str, str]:
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(links), "PIP_DISABLE_PIP_VERSION_CHECK": "1", "HOME": str(links)}


def test_a_wheel_is_installed_into_the_folder_of_the_run(tmp_path: Path) -> None:
    _wheel(tmp_path)
    runtime = find_runtime(tmp_path, python=Path(sys.executable))
    done = environment.install(runtime, ["tinypkg>=1"], tmp_path / "packages", _env(tmp_path))
    assert (done.status, done.reason) == ("installed", "")
    assert (tmp_path / "packages" / "tinypkg.py").is_file()


def test_a_source_package_is_refused_and_its_code_never_runs(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    _source(tmp_path, canary)
    runtime = find_runtime(tmp_path, python=Path(sys.executable))
    done = environment.install(runtime, ["evilpkg"], tmp_path / "packages", _env(tmp_path))
    assert done.status == "not installed"
    assert "evilpkg" in done.reason
    assert not canary.exists()


@pytest.mark.slow
def test_a_run_whose_package_cannot_be_had_ends_unverified_and_says_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in _env(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(scenario.ENV, "")
    stand = driving.stand(tmp_path)
    stand.script.steps = driving.without_migration()
    [planned] = stand.script.steps["design"]
    assert isinstance(planned, Reply)
    wanted = {"name": "backend-crew-nosuch", "version": ">=1", "reason": "It counts."}
    design = json.loads(planned.tool_calls[0].arguments)
    stand.script.steps["design"] = [scenario.submit(**design, new_dependencies=[wanted])]
    result = stand.kickoff()
    assert isinstance(result, Unverified), result.reason
    assert (result.exit_code, stand.payload("verify")["verdict"]) == (6, "green")
    words = "not verified: dependency backend-crew-nosuch>=1 - "
    assert result.reason.startswith(words) and "No matching distribution" in result.reason
    assert result.summary["why"] == result.reason
    [event] = stand.events("dependencies")
    assert (event["status"], event["packages"]) == ("not installed", ["backend-crew-nosuch>=1"])
    report = stand.on_branch(f"{result.summary['documents']}/report.md")
    assert f"**unverified**: {words}" in report
    assert "## New dependencies\n\n- backend-crew-nosuch>=1: not installed" in report
    assert "`backend-crew-nosuch>=1`: It counts." in stand.person.packets("design")[0].text


def test_other_stacks_are_told_so(tmp_path: Path) -> None:
    done = environment.install(Runtime("node"), ["left-pad"], tmp_path / "packages")
    assert (done.status, done.folder) == ("not installed", None)
    assert "Python" in done.reason
