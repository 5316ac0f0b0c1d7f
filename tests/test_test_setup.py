"""Where there are no tests: what the first one would need, and Maven's and Go's packages for those that are there."""

from pathlib import Path

import pytest

from backend_crew.crew import choosing
from backend_crew.tools.build_caches import with_caches
from backend_crew.tools.runtime import Runtime


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"app.py": "from fastapi import FastAPI\napp = FastAPI()\n", "requirements.txt": "fastapi\n"}, "add pytest and httpx to"),
        ({"a.py": "x = 1\n"}, "first test tests/test_service.py"),
        ({"package.json": '{"dependencies": {"express": "5"}}', "a.js": "require('express')\n"}, "add supertest to devDependencies"),
        ({"main.go": "package main\n"}, "run with `go test ./...`"),
        ({"notes.txt": "x"}, None),
    ],
)  # fmt: skip
def test_a_recommendation_is_made_by_stack(tmp_path: Path, files: dict[str, str], says: str | None) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    told = choosing.unconfirmed(tmp_path)
    assert told.startswith("no test command was found; name one with --test-command")
    assert (says in told) if says else told.endswith("--test-command")


def test_packages_of_the_person_are_mounted_and_nothing_around_them(tmp_path: Path) -> None:
    root, home = tmp_path / "repo", tmp_path / "home"
    repository = home / ".m2" / "repository"
    for folder in (root, repository, home / "elsewhere"):
        folder.mkdir(parents=True)
    (root / "pom.xml").write_text("<project/>")
    (root / "go.mod").write_text("module x\n")
    (home / "go" / "pkg").mkdir(parents=True)
    (home / "go" / "pkg" / "mod").symlink_to(home / "elsewhere")
    found = with_caches(Runtime(kind="other", env={"MAVEN_OPTS": "-Xmx1g"}), root, home)
    assert repository in found.mounts and home / "go/pkg/mod" not in found.mounts, "no link is followed"
    assert found.env["MAVEN_OPTS"] == "-Xmx1g", "what the person gave stays"
    assert with_caches(Runtime(kind="other"), root, home).env["MAVEN_OPTS"] == f"-Dmaven.repo.local={repository}"
    assert with_caches(Runtime(kind="other"), home / "elsewhere", home).mounts == ()
