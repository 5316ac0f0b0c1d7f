"""Answers: each question once, read strictly, and what is left to us counts only when it is confirmed."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import make_journal, open_gate

from backend_crew.crew import answers, approvers, yamlfile
from backend_crew.crew.answers import OWN_WORDS_LIMIT
from backend_crew.crew.approvers import By
from backend_crew.crew.artifacts import Answer, Answers, Question, Questions
from backend_crew.crew.errors import DecisionRefused

BY = By("file", "ann")


def question(name: str, *options: str) -> Question:
    """A question whose last option is the recommended one."""
    return Question(
        id=name, area="data", question="How?", why="It matters.", options=options, recommended=options[-1], reason="So."
    )


ASKED = Questions(items=(question("Q1", "Yes", "No"), question("Q2", "Soft delete", "Hard delete", "Keep")))


def taken(value: Any, asked: Question) -> Answer:
    """How one answer is understood."""
    return answers.read(Questions(items=(asked,)), {asked.id: value}).answers.items[0]


def test_an_option_is_named_by_number_or_by_its_words() -> None:
    read = answers.read(ASKED, {"Q1": 1, "Q2": " hard DELETE "})
    assert [one.answer for one in read.answers.items] == ["Yes", "Hard delete"]
    assert {one.source for one in read.answers.items} == {"option"}
    assert read.delegated == ()


def test_own_words_are_kept_as_they_are() -> None:
    answer = taken("  Only for orders that were paid: {id}  ", question("Q1", "Yes", "No"))
    assert (answer.answer, answer.source) == ("Only for orders that were paid: {id}", "own words")


@pytest.mark.parametrize("value", ["", "-", "?", "you decide", "Whatever you think is best.", "UP TO YOU!", "default"])
def test_leaving_it_to_us_takes_the_recommendation_and_is_said(value: str) -> None:
    read = answers.read(Questions(items=(question("Q1", "Yes", "No"),)), {"Q1": value})
    assert read.answers.items[0].answer == "No"
    assert read.delegated == ("Q1",)


def test_words_that_only_contain_such_a_phrase_are_an_answer() -> None:
    answer = taken("you decide, but only per account", question("Q1", "Yes", "No"))
    assert answer.source == "own words"


def test_everything_that_is_wrong_is_named_at_once() -> None:
    asked = Questions(
        items=(*ASKED.items, question("Q3", "a", "b"), question("Q4", "a", "b"), question("Q5", "a", "b"))
    )
    given = {"Q1": 3, "Q3": ["a"], "Q4": True, "Q5": "x" * (OWN_WORDS_LIMIT + 1), "q1": "Yes", "Q9": "Yes"}
    with pytest.raises(DecisionRefused) as caught:
        answers.read(asked, given)
    said = str(caught.value)
    for piece in (
        "Q1: option 3 does not exist (1 to 2)",
        "Q2: not answered",
        "Q3: expected text or an option's number, found list",
        "Q4: expected text or an option's number, found bool; put yes, no, dates and decimals in quotes",
        "Q5: 2001 characters; an answer holds up to 2000",
        "q1",
        "Q9",
    ):
        assert piece in said


def test_yes_in_a_file_is_asked_for_in_quotes_rather_than_guessed() -> None:
    with pytest.raises(DecisionRefused, match=r"Q1: .* in quotes"):
        answers.read(ASKED, yamlfile.read_mapping("Q1: yes\nQ2: 1\n", "answers.yaml"))
    read = answers.read(ASKED, yamlfile.read_mapping("Q1: 'yes'\nQ2: 1\n", "answers.yaml"))
    assert read.answers.items[0].answer == "Yes"


def test_options_that_are_numbers_are_not_confused_with_their_places() -> None:
    days = question("Q1", "30", "14", "3", "1")
    assert taken(3, days).answer == "3"  # the third option
    assert taken(1, days).answer == "30"  # the first, though "1" is an option as well
    assert taken("1", days).answer == "1"  # in quotes: the option that reads so
    assert taken(14, days).answer == "14"  # there is no fourteenth
    with pytest.raises(DecisionRefused, match="option 7 does not exist"):
        taken(7, days)


@given(st.dictionaries(st.sampled_from(["Q1", "Q2", "Q3", ""]), st.text() | st.integers() | st.booleans() | st.none() | st.floats()))  # fmt: skip
def test_any_answer_is_taken_whole_or_refused(given: dict[str, Any]) -> None:
    try:
        read = answers.read(ASKED, given)
    except DecisionRefused:
        return
    assert [one.id for one in read.answers.items] == ["Q1", "Q2"]


def test_later_answers_take_the_place_of_earlier_ones() -> None:
    first = answers.read(ASKED, {"Q1": 1, "Q2": 1}).answers
    second = Answers(
        items=(Answer(id="Q2", answer="Keep", source="option"), Answer(id="F1", answer="x", source="option"))
    )
    merged = answers.merge(first, second)
    assert [(one.id, one.answer) for one in merged.items] == [("Q1", "Yes"), ("Q2", "Keep"), ("F1", "x")]
    assert answers.merge(None, first) == first


# -- at the gate ---------------------------------------------------------------------------------------------------


def test_what_was_left_to_us_decides_nothing_until_it_is_confirmed(tmp_path: Path) -> None:
    journal = make_journal(tmp_path)
    row = open_gate(journal, "answers", data=ASKED.model_dump(mode="json"))
    with pytest.raises(DecisionRefused, match="no answers to confirm"):
        approvers.confirm(journal, "r-1", row, BY)
    assert approvers.answer(journal, "r-1", row, {"Q1": "you decide", "Q2": 1}, BY).delegated == ("Q1",)
    assert journal.decisions("r-1") == ()
    decision = approvers.confirm(journal, "r-1", row, BY)
    items = Answers.model_validate(decision.payload["answers"]).items
    assert [one.source for one in items] == ["recommendation, confirmed", "option"]
    with pytest.raises(DecisionRefused):
        approvers.confirm(journal, "r-1", row, BY)
    assert len(journal.decisions("r-1")) == 1
    journal.close()


def test_wrong_answers_leave_the_gate_open_and_no_draft(tmp_path: Path) -> None:
    journal = make_journal(tmp_path)
    row = open_gate(journal, "answers", data=ASKED.model_dump(mode="json"))
    with pytest.raises(DecisionRefused):
        approvers.answer(journal, "r-1", row, {"Q1": "you decide"}, BY)
    current = journal.gate("r-1", "answers")
    assert current is not None
    assert current.open
    assert current.draft is None
    journal.close()


def test_only_the_questions_gate_is_answered(tmp_path: Path) -> None:
    journal = make_journal(tmp_path)
    row = open_gate(journal, "design")
    with pytest.raises(DecisionRefused, match="not answered but approved"):
        approvers.answer(journal, "r-1", row, {}, BY)
    journal.close()
