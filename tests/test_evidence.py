"""Citations: a quote is where it is said to be, or is put right, or is refused with what is there."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend_crew.crew.artifacts import Evidence, Finding
from backend_crew.crew.evidence import check_absence, locate
from backend_crew.tools.errors import ToolError, ToolRetry
from backend_crew.tools.search import Match
from backend_crew.tools.workspace import ReadOnly, Workspace

TEXT = "import os\n\n\ndef add(session,  text):\n    return text\n\n\ndef add_all():\n    return text\n"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "service.py").write_text(TEXT)
    (tmp_path / "empty.py").write_text("")
    (tmp_path / ".env").write_text("KEY=secret-value\n")
    return Workspace(tmp_path, ReadOnly())


def cite(line: int, quote: str, path: str = "service.py") -> Evidence:
    return Evidence(path=path, line=line, quote=quote)


def test_a_true_citation_stays_as_it_is(workspace: Workspace) -> None:
    evidence = cite(4, "def add(session")
    assert locate(workspace, evidence) == evidence


def test_a_wrong_line_is_put_right(workspace: Workspace) -> None:
    assert locate(workspace, cite(40, "def add_all")).line == 8
    assert locate(workspace, cite(1, "def add(")).line == 4


def test_of_several_lines_the_nearest_is_taken(workspace: Workspace) -> None:
    assert locate(workspace, cite(6, "return text")).line == 5
    assert locate(workspace, cite(8, "return text")).line == 9


def test_spaces_do_not_matter_and_letters_do(workspace: Workspace) -> None:
    assert locate(workspace, cite(4, "  def  add(session, text):")).line == 4
    with pytest.raises(ToolRetry):
        locate(workspace, cite(4, "Def add(session"))


def test_an_invented_quote_is_refused_with_what_the_line_says(workspace: Workspace) -> None:
    with pytest.raises(ToolRetry) as caught:
        locate(workspace, cite(4, "def remove("))
    assert "service.py:4: the file does not hold 'def remove('" in str(caught.value)
    assert "that line reads: def add(session, text):" in str(caught.value)


@pytest.mark.parametrize(("line", "path"), [(99, "service.py"), (1, "empty.py")])
def test_a_line_that_is_not_there_is_said_to_be_missing(workspace: Workspace, line: int, path: str) -> None:
    with pytest.raises(ToolRetry, match=r"the file has \d lines"):
        locate(workspace, cite(line, "no such text", path))


def test_a_quote_of_nothing_shows_nothing(workspace: Workspace) -> None:
    with pytest.raises(ToolRetry):
        locate(workspace, cite(1, "    "))


@pytest.mark.parametrize("path", ["missing.py", ".env", "../outside", "/etc/passwd", "."])
def test_only_readable_files_can_be_cited(workspace: Workspace, path: str) -> None:
    with pytest.raises(ToolError) as caught:
        locate(workspace, cite(1, "KEY=", path))
    assert "secret-value" not in str(caught.value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(lines=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n")), min_size=1, max_size=12), at=st.integers(0, 11), said=st.integers(1, 20))  # fmt: skip
def test_a_quote_copied_from_any_line_is_found_there(tmp_path: Path, lines: list[str], at: int, said: int) -> None:
    quote = lines[at % len(lines)][:300]
    (tmp_path / "any.txt").write_text("\n".join(lines), encoding="utf-8", newline="")
    workspace = Workspace(tmp_path, ReadOnly())
    if len(quote) < 3 or not quote.strip():
        return
    found = locate(workspace, cite(said, quote, "any.txt"))
    assert " ".join(quote.split()) in " ".join(lines[found.line - 1].split())  # counted as read_file counts


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("rate.?limit|throttle", ""),
        ("throttle", "consist of words of the statement"),
        ("rate limiting zzz", "consist of words of the statement"),
        (None, "name in 'absent'"),
    ],
)
def test_an_absence_is_shown_by_a_search_for_what_it_says(pattern: str | None, words: str) -> None:
    finding = Finding(topic="api", statement="No rate limiting", absent=pattern)
    asked: list[str] = []

    def nothing(text: str) -> list[Match]:
        asked.append(text)
        return []

    if words:
        with pytest.raises(ToolRetry, match=words):
            check_absence(finding, nothing)
        return
    check_absence(finding, nothing)
    assert asked == [f"(?i){pattern}"]
    with pytest.raises(ToolRetry, match=r"finds it: app\.py:3 RateLimit"):
        check_absence(finding, lambda _: [Match("app.py", 3, "RateLimit()")])
