"""Fuzzing: no path, however odd, leads out of a tree full of traps, and no word but the exact ones decides."""

import functools
import hashlib
import os
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import scenario
from hypothesis import HealthCheck, example, find, given, settings
from hypothesis import strategies as st
from ways import WAYS, choose

from backend_crew.crew import answers, gates
from backend_crew.crew.artifacts import Questions
from backend_crew.crew.errors import DecisionRefused
from backend_crew.tools.deny import is_read_denied, is_write_denied
from backend_crew.tools.errors import ToolError
from backend_crew.tools.workspace import Workspace, clean_path

MARK = b"theirs"
TRAPS = (
    *(
        ".",
        "..",
        "...",
        "",
        " ",
        "~",
        "-",
        "app",
        "app/main.py",
        "link",
        "link.py",
        "inside",
        "hard.py",
        "pipe",
        "deep",
    ),
    *(
        "x.py",
        ".env",
        ".ENV",
        ".git",
        ".g\u200cit",
        "config",
        "\uff0e\uff0e",
        "\u2025",
        "\uff0f",
        "..\u2044",
        "C:",
        "\\",
    ),
    *("a\0b", "\u202e", "\ud800", "\x7f", "a" * 256, "é", "e\u0301", ".backend-crew-x.tmp", "outside", "proc", "self"),
)
PATHS = st.lists(st.one_of(st.sampled_from(TRAPS), st.text(max_size=8)), max_size=8).map("/".join)
EXAMPLES = 400


class Anything:
    """A scope that allows every path."""

    def check_write(self, path: str, act: str = "") -> None:
        """Allow it."""


def lay_out(folder: Path) -> tuple[Path, Path]:
    """A tree with links, hard links, pipes and secrets in it, and a folder outside that they lead to."""
    root, outside = folder / "tree", folder / "outside"
    (root / "app").mkdir(parents=True)
    (root / "deep/deep/deep").mkdir(parents=True)
    (root / "app/main.py").write_text("mine\n")
    for path in (root / ".env", root / ".git/config"):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(MARK)
    outside.mkdir()
    (outside / "x.py").write_bytes(MARK)
    (root / "link").symlink_to(outside)
    (root / "link.py").symlink_to(outside / "x.py")
    for link, target in {"app/up": "..", "deep/deep/out": "../../../outside"}.items():
        (root / link).symlink_to(target)
    (root / "inside").symlink_to(".env")
    os.link(outside / "x.py", root / "hard.py")
    os.mkfifo(root / "pipe")
    return root, outside


def fingerprint(*folders: Path) -> dict[str, str]:
    """Every name and content that must stay as it is."""
    found = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            regular = path.is_file() and not path.is_symlink()
            found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest() if regular else ""
    return found


@pytest.mark.parametrize("name", WAYS)
def test_no_path_leads_out_and_no_error_is_a_surprise(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(monkeypatch, name)
    root, outside = lay_out(tmp_path)
    files = Workspace(root, Anything())
    before = fingerprint(outside, root / ".git")
    read = 0

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(path=PATHS, text=st.text(max_size=20))
    @example(path="link/x.py", text="")
    @example(path="app/up/app/main.py", text="")
    @example(path="app/main.py", text="x")
    def attack(path: str, text: str) -> None:
        nonlocal read
        acts: tuple[Callable[[], Any], ...] = (
            lambda: files.read_bytes(path),
            lambda: files.exists(path),
            lambda: files.list(path),
            lambda: files.write(path, text, expected=None),
            lambda: files.edit(path, "mine", text),
            lambda: files.write(path, text, expected=files.seen(path)),
        )
        for act in acts:
            try:
                answer = act()
            except ToolError:
                continue
            if isinstance(answer, bytes):
                read += 1
                assert MARK not in answer, f"{path!r} was read"
            elif isinstance(answer, tuple):
                assert not [one for one in answer if is_read_denied(one)]
        # what could have been made lies inside, under a name that is not denied
        assert fingerprint(outside, root / ".git") == before
        assert (root / ".env").read_bytes() == MARK

    attack()
    assert read > 0, "no path was ever read: nothing was shown"
    made = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    ours = {".env", ".git/config", "hard.py"}
    assert not [path for path in made if is_write_denied(path) and path not in ours]


def test_the_control_a_naive_check_is_beaten_by_some_such_path(tmp_path: Path) -> None:
    root, _ = lay_out(tmp_path)

    def leaks(path: str) -> bool:
        try:
            # as often written: no dots, not absolute, not a denied name; then opened by name
            if ".." in path.split("/") or path.startswith("/") or path.startswith((".env", ".git")):
                return False
            target = root / path
            return target.is_file() and MARK in target.read_bytes()
        except (OSError, ValueError):
            return False

    found = find(PATHS, leaks, settings=settings(max_examples=20_000, database=None, deadline=None))
    assert leaks(found)
    with pytest.raises(ToolError):
        Workspace(root, Anything()).read_bytes(found)


@settings(max_examples=EXAMPLES, deadline=None)
@given(PATHS)
def test_a_clean_path_is_clean_and_stays_so(path: str) -> None:
    try:
        clean = clean_path(path)
    except ToolError:
        return
    assert clean_path(clean) == clean
    assert not clean.startswith(("/", "~")) and "\\" not in clean
    assert not any(unicodedata.category(char) in ("Cc", "Cf", "Cs") for char in clean)
    assert not {"..", "."} & set(clean.split("/"))


# -- decisions ---------------------------------------------------------------------------------------------------

WORDS = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        (
            "approve",
            "Approve ",
            "approve\n",
            "approved",
            "APPROVED",
            "yes",
            "y",
            "ok",
            "lgtm",
            "a",
            "",
            "reject",
            "approve.",
        )
    ),
    st.builds("{}{}".format, st.sampled_from(gates.VERDICTS), st.text(min_size=1, max_size=5)),
    st.builds("{}{}".format, st.text(min_size=1, max_size=5), st.sampled_from(gates.VERDICTS)),
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(WORDS)
@example("ａｐｐｒｏｖｅ")
@example("approve\u200b")
@example("\u202eevorppa")
@example("approve; drop")
@example("İapprove")
def test_nothing_but_the_exact_words_is_a_verdict(word: str) -> None:
    verdict = gates.parse(word)
    assert (verdict is not None) == (word.strip().lower() in ("approve", "request-changes", "reject"))
    assert verdict in (None, word.strip().lower())


def test_the_control_a_lenient_reader_approves_what_nobody_said() -> None:
    found = find(WORDS, lambda word: "approve" in word.lower() and gates.parse(word) is None)
    assert gates.parse(found) is None


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=2_100)
    | st.sampled_from(("Yes", "No", "1", "2", "you decide")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@functools.cache
def questions() -> Questions:
    """Four questions of two options."""
    return Questions.model_validate(scenario.QUESTIONS)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.dictionaries(st.sampled_from(("Q1", "Q2", "Q3", "Q4", "Q5", "q1", "")), VALUES, max_size=6))
@example({"Q1": 1, "Q2": "2", "Q3": "yes", "Q4": "own words"})
@example({"Q1": True, "Q2": 1, "Q3": 1, "Q4": 1})
@example({"Q1": "²", "Q2": 1, "Q3": 1, "Q4": 1})
@example({"Q1": "१", "Q2": 1, "Q3": 1, "Q4": 1})
def test_answers_are_taken_whole_or_refused(given: dict[str, Any]) -> None:
    try:
        reading = answers.read(questions(), given)
    except DecisionRefused as error:
        assert "were not taken" in str(error)
        return
    assert set(given) == {"Q1", "Q2", "Q3", "Q4"} == {one.id for one in reading.answers.items}
    for one in reading.answers.items:
        assert isinstance(given[one.id], (str, int)) and not isinstance(given[one.id], bool)
        if one.source == "recommendation, confirmed":
            assert one.id in reading.delegated, "nothing is recommended without a confirmation"
