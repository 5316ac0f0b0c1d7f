"""A person's answers to the questions: read strictly, and confirmed where they leave the choice to us."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from backend_crew.crew.artifacts import Answer, Answers, Question, Questions
from backend_crew.crew.errors import DecisionRefused

OWN_WORDS_LIMIT = 2000
#: What people say when they leave the choice to us; matched whole, never as a part of a longer answer.
_DELEGATED = frozenset(
    {
        "",
        "-",
        "whatever you think is best",
        "whatever you think",
        "you decide",
        "decide for me",
        "recommended",
        "recommendation",
        "default",
        "your choice",
        "up to you",
        "i don't know",
        "don't know",
        "?",
    }
)


@dataclass(frozen=True)
class Reading:
    """Answers as they were understood; those in `delegated` count only once they are confirmed."""

    answers: Answers
    delegated: tuple[str, ...]


def read(questions: Questions, given: Mapping[str, Any]) -> Reading:
    """Understand one answer for each question; raises DecisionRefused naming everything that is wrong."""
    known = {question.id: question for question in questions.items}
    problems = [
        f"{name}: there is no such question (there are {', '.join(known)})" for name in given if name not in known
    ]
    problems += [f"{name}: not answered" for name in known if name not in given]
    answers, delegated = [], []
    for name, question in known.items():
        value = given.get(name)
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            if name in given:
                quote = "; put yes, no, dates and decimals in quotes" if value is not None else ""
                problems.append(f"{name}: expected text or an option's number, found {type(value).__name__}{quote}")
            continue
        try:
            answer = _one(question, value)
        except DecisionRefused as error:
            problems.append(str(error))
            continue
        answers.append(answer)
        if answer.source == "recommendation, confirmed":
            delegated.append(name)
    if problems:
        raise DecisionRefused("the answers were not taken:\n" + "\n".join(f"  {problem}" for problem in problems))
    return Reading(Answers(items=tuple(answers)), tuple(delegated))


def _one(question: Question, value: str | int) -> Answer:
    text = str(value).strip()
    # options can be numbers themselves: a bare number counts the options, a text that is an option is that option
    number = text.isdecimal() and text not in question.options
    if number or (isinstance(value, int) and 1 <= value <= len(question.options)):
        if not 1 <= int(text) <= len(question.options):
            raise DecisionRefused(f"{question.id}: option {text} does not exist (1 to {len(question.options)})")
        return Answer(id=question.id, answer=question.options[int(text) - 1], source="option")
    if text.lower().rstrip(".!") in _DELEGATED:
        return Answer(id=question.id, answer=question.recommended, source="recommendation, confirmed")
    if len(text) > OWN_WORDS_LIMIT:
        raise DecisionRefused(f"{question.id}: {len(text)} characters; an answer holds up to {OWN_WORDS_LIMIT}")
    chosen = next((option for option in question.options if option.lower() == text.lower()), None)
    return Answer(id=question.id, answer=chosen or text, source="option" if chosen else "own words")


def merge(earlier: Answers | None, new: Answers) -> Answers:
    """Earlier answers with the new ones added or put in their place."""
    items = {answer.id: answer for answer in (*(earlier.items if earlier else ()), *new.items)}
    return Answers(items=tuple(items.values()))
