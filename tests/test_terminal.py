"""The terminal: only the exact words decide, and a closed stdin decides nothing."""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
import scenario
from records import make_journal, open_gate
from rich.console import Console

from backend_crew.crew import editing, terminal
from backend_crew.crew.artifacts import Answers, Questions
from backend_crew.crew.errors import UsageError
from backend_crew.crew.journal import Decision, GateRow, Journal
from backend_crew.crew.terminal import Terminal

ASKED = Questions.model_validate(scenario.QUESTIONS)


@dataclass
class Stand:
    """A person's screen, and the lines that they type."""

    journal: Journal
    monkeypatch: pytest.MonkeyPatch
    screen: str = ""

    def ask(self, row: GateRow, *lines: str, width: int = 100) -> bool:
        """Show a gate to somebody who types these lines and then closes their terminal."""
        console = Console(file=io.StringIO(), width=width, force_terminal=False)
        self.monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        with console.capture() as capture:
            decided = Terminal(console).ask(self.journal, "r-1", row)
        self.screen = capture.get()
        return decided

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """What was decided."""
        return self.journal.decisions("r-1")

    def questions(self, asked: Questions = ASKED) -> GateRow:
        """The clarification gate."""
        return open_gate(self.journal, "answers", data=asked.model_dump(mode="json"))

    def answers(self) -> list[tuple[str, str]]:
        """The answers that were recorded."""
        items = Answers.model_validate(self.decisions[-1].payload["answers"]).items
        return [(one.answer, one.source) for one in items]


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stand]:
    journal = make_journal(tmp_path)
    yield Stand(journal, monkeypatch)
    journal.close()


def gate(stand: Stand, name: str, text: str = "# Packet") -> GateRow:
    return open_gate(stand.journal, name, text, bound={"path": "app/x.py"})


# -- nobody there --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["answers", "design", "migrations", "scope"])
@pytest.mark.parametrize("lines", [(), ("",), ("nonsense",)])
def test_a_closed_stdin_decides_nothing(stand: Stand, name: str, lines: tuple[str, ...]) -> None:
    row = stand.questions() if name == "answers" else gate(stand, name)
    assert stand.ask(row, *lines) is False
    assert stand.decisions == ()
    current = stand.journal.gate("r-1", name)
    assert current is not None
    assert current.open
    assert current.draft is None
    assert "Nothing was decided; the run waits." in stand.screen


@pytest.mark.parametrize("lines", [("reject",), ("c",), ("c", "a reason"), ("r",)])
def test_a_stdin_that_closes_half_way_decides_nothing(stand: Stand, lines: tuple[str, ...]) -> None:
    assert stand.ask(gate(stand, "design"), *lines) is False
    assert stand.decisions == ()


def test_answers_that_break_off_are_not_taken(stand: Stand) -> None:
    assert stand.ask(stand.questions(), "1", "2", "1") is False
    assert stand.decisions == ()


# -- the exact words -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "word",
    [
        "y",
        "yes",
        "ok",
        "lgtm",
        "A",
        "approved",
        "approve it",
        "ap",
        "a r",
        "1",
        "",
        "ja",
        "answered",
        "[/]",
        "[bold]x",
        "\x1b[A",
    ],
)
def test_no_other_word_decides(stand: Stand, word: str) -> None:
    assert stand.ask(gate(stand, "migrations"), word) is False
    assert stand.decisions == ()
    assert "decides nothing" in stand.screen


@pytest.mark.parametrize("word", ["a", "approve", "  APPROVE  "])
def test_the_exact_words_approve(stand: Stand, word: str) -> None:
    row = gate(stand, "design")
    assert stand.ask(row, "what?", word) is True
    (decision,) = stand.decisions
    assert (decision.verdict, decision.digest, decision.channel) == ("approve", row.digest, "terminal")
    assert decision.actor


def test_changes_take_a_reason_and_a_stage(stand: Stand) -> None:
    assert stand.ask(gate(stand, "design"), "c", "use a table", "analysis")
    assert (stand.decisions[0].reason, stand.decisions[0].to_stage) == ("use a table", "analysis")


def test_the_stage_can_be_left_to_the_gate_and_a_wrong_one_is_asked_again(stand: Stand) -> None:
    assert stand.ask(gate(stand, "design"), "c", "why", "testing", "c", "why", "")
    assert "not to 'testing'" in stand.screen
    assert [one.to_stage for one in stand.decisions] == ["design"]


@pytest.mark.parametrize("word", ["c", "r", "reject", "request-changes"])
def test_a_verdict_without_its_reason_is_asked_again(stand: Stand, word: str) -> None:
    assert stand.ask(gate(stand, "migrations"), word, "", "q") is False
    assert "needs a reason" in stand.screen
    assert stand.decisions == ()


def test_a_person_can_look_again_and_leave(stand: Stand) -> None:
    assert stand.ask(gate(stand, "design", "# The thing"), "s", "q", "a") is False
    assert stand.screen.count("The thing") == 2
    assert stand.decisions == ()


def test_somebody_else_decided_meanwhile(stand: Stand) -> None:
    row = gate(stand, "design")
    stand.journal.decide(Decision("r-1", "design", row.round, row.digest, "reject", "no", actor="bob"))
    assert stand.ask(row, "a", "q") is False
    assert "already decided: reject by bob" in " ".join(stand.screen.split())
    assert [one.verdict for one in stand.decisions] == ["reject"]


# -- what is shown -------------------------------------------------------------------------------------------------


def test_escapes_in_a_packet_are_made_visible(stand: Stand) -> None:
    stand.ask(gate(stand, "design", "# Design\x1b[2J\x1b[1;1H\n\nHarmless\r\x07 \u202etxet\n"))
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", stand.screen)
    assert "‹U+001B›[2J" in stand.screen


def test_escapes_in_questions_are_made_visible(stand: Stand) -> None:
    first = {**scenario.QUESTIONS["items"][0], "question": "A\x1b[8mB?", "why": "C\x1b[8mD", "reason": "E\x1b[8mF"}
    first |= {"options": ["Yes\x1b[8m", "No"]}
    stand.ask(stand.questions(Questions.model_validate({"items": [first]})))
    assert "\x1b" not in stand.screen
    assert stand.screen.count("‹U+001B›[8m") == 4


def test_the_question_and_the_digest_are_shown(stand: Stand) -> None:
    row = gate(stand, "migrations", "# ALTER TABLE")
    stand.ask(row)
    assert "Can I run these database migrations?" in stand.screen
    assert row.digest[:16] in stand.screen
    assert "[e]dit" not in stand.screen


# -- questions -----------------------------------------------------------------------------------------------------


def test_questions_come_one_by_one_with_the_recommended_answer_first(stand: Stand) -> None:
    assert stand.ask(stand.questions(), "1", "2", "an own answer", "no")
    screen = stand.screen
    positions = [screen.index(f"{number} of 4") for number in range(1, 5)]
    assert positions == sorted(positions)
    assert screen.count("> ") == 4
    first = screen[positions[0] : positions[1]]
    assert first.index("1. No  (recommended: It is simpler.)") < first.index("2. Yes")
    assert "Why it matters: It decides the data model." in first
    assert stand.answers() == [("No", "option"), ("Yes", "option"), ("an own answer", "own words"), ("No", "option")]


def test_a_number_without_option_is_asked_again(stand: Stand) -> None:
    assert stand.ask(stand.questions(), "3", "0", "1", "1", "1", "1")
    assert stand.screen.count("There are 2 options.") == 2


def test_an_empty_line_is_no_answer(stand: Stand) -> None:
    assert stand.ask(stand.questions(), "", "1", "", "", "1", "1", "1")
    assert [source for _, source in stand.answers()] == ["option"] * 4


def test_an_answer_that_is_too_long_is_asked_again_and_the_others_are_kept(stand: Stand) -> None:
    assert stand.ask(stand.questions(), "1", "x" * 2001, "short", "1", "1")
    assert "an answer holds up to 2000" in stand.screen
    assert stand.answers()[1] == ("short", "own words")


def test_options_that_are_numbers_are_taken_as_they_were_shown(stand: Stand) -> None:
    days = {**scenario.QUESTIONS["items"][0], "options": ["3", "2", "1"], "recommended": "1"}
    row = stand.questions(Questions.model_validate({"items": [days, {**days, "id": "Q2"}, {**days, "id": "Q3"}]}))
    assert stand.ask(row, "1", "2", "3")  # shown as: 1. "1", 2. "3", 3. "2"
    assert [answer for answer, _ in stand.answers()] == ["1", "3", "2"]


def test_what_is_left_to_us_is_shown_and_must_be_confirmed_by_that_word(stand: Stand) -> None:
    row = stand.questions()
    assert stand.ask(row, "you decide", "1", "2", "-", "yes", "ok", "y") is False
    assert stand.decisions == ()
    assert "We would take:" in stand.screen
    taken = stand.screen.split("We would take:")[1]
    assert re.search(r"Q1 Shall the time of archiving be kept\?\s+No\n", taken)
    assert "Q2" not in taken
    assert stand.ask(row, "you decide", "1", "2", "-", "confirm") is True
    sources = [source for _, source in stand.answers()]
    assert sources == ["recommendation, confirmed", "option", "option", "recommendation, confirmed"]


def test_again_asks_everything_once_more(stand: Stand) -> None:
    assert stand.ask(stand.questions(), "?", "1", "1", "1", "again", "2", "1", "1", "1")
    assert stand.answers()[0] == ("Yes", "option")


# -- editing -------------------------------------------------------------------------------------------------------


def _editor(monkeypatch: pytest.MonkeyPatch, result: str | None) -> None:
    monkeypatch.setattr(editing, "text_of", lambda *_: "{}\n")
    monkeypatch.setattr(click, "edit", lambda *_, **__: result)


@pytest.mark.parametrize("result", [None, "{}\n"])
def test_an_edit_that_changed_nothing_asks_again(stand: Stand, result: str | None) -> None:
    _editor(stand.monkeypatch, result)
    assert stand.ask(gate(stand, "design"), "e", "q") is False
    assert "Nothing was changed." in stand.screen
    assert stand.decisions == ()


def test_an_edit_that_is_refused_says_why_and_asks_again(stand: Stand) -> None:
    _editor(stand.monkeypatch, '{"a": 1}')

    def refuse(*_: Any) -> None:
        raise UsageError("the edited design was not taken: [/] overview missing")

    stand.monkeypatch.setattr(editing, "apply", refuse)
    assert stand.ask(gate(stand, "design"), "edit", "q") is False
    assert "not taken: [/] overview missing" in stand.screen


def test_an_edit_approves_nothing(stand: Stand) -> None:
    _editor(stand.monkeypatch, '{"a": 1}')
    taken: list[str] = []
    stand.monkeypatch.setattr(editing, "apply", lambda _journal, _run, text: taken.append(text))
    assert stand.ask(gate(stand, "design"), "e", "a") is True  # the pass goes on, and opens the gate on the new version
    assert taken == ['{"a": 1}']
    assert stand.decisions == ()


def test_only_the_design_can_be_edited(stand: Stand) -> None:
    assert stand.ask(gate(stand, "migrations"), "e", "edit") is False
    assert stand.screen.count("decides nothing") == 2


# -- from another shell --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("design", ["approve r-1 --digest", "request-changes r-1", "edit r-1", "reject r-1", "resume r-1"]),
        ("scope", ["approve r-1 --digest", "reject r-1", "resume r-1"]),
        ("answers", ["answer r-1 --file", "resume r-1"]),
    ],
)
def test_the_commands_that_decide_are_named(stand: Stand, name: str, words: list[str]) -> None:
    row = stand.questions() if name == "answers" else gate(stand, name)
    said = terminal.how_to_answer("r-1", row)
    assert [word for word in words if f"backend-crew {word}" not in said] == []
    for word in ("request-changes", "edit"):
        assert (f" {word} " in said) is (name == "design")
    assert "backend-crew show r-1" in said
    assert terminal.how_to_answer("r-1", row, shown=True) == "\n".join(said.splitlines()[1:])
