"""`.crewignore` has the syntax of `.gitignore`, holds for every letter case, and is never half read."""

import os
from pathlib import Path

import pytest

from backend_crew.tools.errors import ToolRefused
from backend_crew.tools.ignored import ignored_by


def test_it_is_read_as_git_reads_its_own(tmp_path: Path) -> None:
    (tmp_path / ".crewignore").write_text("# comment\nfixtures/\n*.dump\n/top.txt\n!kept.dump\ndata/**/raw\n")
    ignored = ignored_by(tmp_path)
    for path in (
        "fixtures/a.py",
        "app/fixtures/x/y.py",
        "a.dump",
        "deep/b.dump",
        "top.txt",
        "data/1/2/raw",
        "fixtures/",
    ):
        assert ignored(path), path
    for path in ("app/a.py", "kept.dump", "app/top.txt", "raw", "fixtures", "data/raw.txt"):
        assert not ignored(path), path


def test_another_letter_case_is_the_same_file(tmp_path: Path) -> None:
    (tmp_path / ".crewignore").write_text("Secret-Plans/\n")
    ignored = ignored_by(tmp_path)
    assert ignored("secret-plans/a") and ignored("SECRET-PLANS/A") and ignored("Secret-Plans./a")


def test_what_any_of_the_roots_names_is_ignored(tmp_path: Path) -> None:
    for name, text in {"theirs": "a.txt\n", "ours": "b.txt\n", "none": ""}.items():
        (tmp_path / name).mkdir()
        if text:
            (tmp_path / name / ".crewignore").write_text(text)
    ignored = ignored_by(tmp_path / "theirs", tmp_path / "ours", tmp_path / "none")
    assert ignored("a.txt") and ignored("b.txt") and not ignored("c.txt")


@pytest.mark.parametrize("kind", ["link", "pipe", "bytes"])
def test_one_that_cannot_be_read_stops_the_run(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ".crewignore"
    if kind == "link":
        path.symlink_to("/dev/null")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.write_bytes(b"\xff\xfe")
    with pytest.raises(ToolRefused, match="nobody knows what it hides"):
        ignored_by(tmp_path)
