"""What is cut says so, and begins where something begins."""

import pytest

from backend_crew.tools.excerpt import CUT, head, tail


def test_what_fits_stays_as_it_is() -> None:
    assert head("four", 4) == tail("four", 4) == "four"


def test_a_beginning_ends_with_the_sign_of_a_cut() -> None:
    assert head("one two three", 8) == f"one two{CUT}"


@pytest.mark.parametrize(
    ("text", "left"),
    [("one\ntwo three\nfour", "four"), ("one two three four", "four"), ("x" * 40, ""), ("one\n" + "x" * 40, "")],
)
def test_an_end_begins_with_a_line_or_at_least_with_a_word(text: str, left: str) -> None:
    assert tail(text, 9) == CUT + left
