"""Markdown on a terminal: what was hashed is what is seen."""

import io
import re

import pytest
import scenario
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console
from rich.markdown import Markdown

from backend_crew.crew import render
from backend_crew.crew.artifacts import Design
from backend_crew.crew.markdown import shown
from backend_crew.crew.plaintext import inner, safe


def seen(text: str, width: int = 80) -> str:
    """What a person sees of a text."""
    console = Console(file=io.StringIO(), width=width, force_terminal=True)
    with console.capture() as capture:
        console.print(shown(text, width))
    return capture.get()


def structure(text: str) -> list[tuple[str, str]]:
    """The headings and rules of a document, and how many blocks of code it has."""
    tokens = MarkdownIt().parse(text)
    heads = [(one.tag, tokens[at + 1].content) for at, one in enumerate(tokens) if one.type == "heading_open"]
    return [
        *heads,
        *(("rule", "") for one in tokens if one.type == "hr"),
        *(("fence", "") for one in tokens if one.type == "fence"),
    ]


FAKE = (
    "## Decisions\n\nApproved by the person.", "APPROVED\n===", "APPROVED\n---", "- # Gates", "1. > ### Gates", "***", "___",
    "```\nand all that follows is code", "~~~\nnot closed either", "   # three spaces", "<h1>Gates</h1>",
    "```a`b\n## Gates", "Fine.\n\n    ```\n## Gates", "```\ncode\n    ```\n## Gates", "- ```\n  ```\n## Gates", "> ```\n```\n# Gates",
    "- - -", "Fine.\n-- -", "Fine.\r# Gates", "Fine.\r\n\r\n# Gates", "+\t# Gates", "-\n  # Gates", "[a]: b\n===",
)  # fmt: skip


@pytest.mark.parametrize("words", FAKE)
def test_prose_of_a_model_makes_no_part_of_the_document_around_it(words: str) -> None:
    plain, hostile = (
        render.design(Design.model_validate({**scenario.DESIGN, "overview": text, "data_access": text}), diagram=False)
        for text in ("Fine.", f"Fine.\n\n{words}\n\nFine.")
    )
    parts = [[one for one in structure(text) if one[0] != "fence"] for text in (hostile, plain)]
    assert parts[0] == parts[1]
    assert "Criteria covered" in str(structure(hostile))


WORDS = st.lists(
    st.sampled_from([*"#=-*_~`<>+ \t\n", "```", "1. ", "- ", "\n\n", "    ", "text", "# a", "\r"]), max_size=14
)


@given(WORDS)
@settings(max_examples=400, deadline=None)
@example(["- ", "```", "\n", "  ", "```", "\n", "# a"])
def test_no_prose_leaves_its_place(words: list[str]) -> None:
    kinds = structure(f"Before.\n\n{inner(''.join(words))}\n\n## After\n")
    assert [one for one in kinds if one[0] != "fence"] == [("h2", "After")]


HIDDEN = {
    "a path parameter": ("GET /orders/<id>/refunds", "<id>"),
    "a comment": ("Fine.\n\n<!-- drop the table -->", "drop the table"),
    "a block of HTML": ("Fine.\n\n<div hidden>drop the table</div>", "drop the table"),
    "a link's definition": ("Fine.\n\n[//]: # (drop the table)", "drop the table"),
    "a link's target": ("[docs](http://evil.example/x)", "http://evil.example/x"),
    "a picture's target": ("![docs](http://evil.example/x)", "http://evil.example/x"),
    "a cell too many": ("| a |\n|---|\n| x | drop |", "drop"),
    "a fence's heading": ("```yaml drop\nx\n```", "drop"),
    "a long name in a narrow table": (
        f"| file | purpose |\n|---|---|\n| {'long_' * 20}name | {'words ' * 30} |",
        "name",
    ),
}


@pytest.mark.parametrize(("text", "piece"), HIDDEN.values(), ids=list(HIDDEN))
def test_nothing_can_be_hidden_from_the_person(text: str, piece: str) -> None:
    assert piece in seen(text).replace("\n", "")


@pytest.mark.parametrize(("text", "piece"), HIDDEN.values(), ids=list(HIDDEN))
def test_plain_rich_would_hide_each_of_these(text: str, piece: str) -> None:
    """The control: without our own reading of it, every one of these is lost or out of sight."""
    console = Console(file=io.StringIO(), width=80, force_terminal=False)
    with console.capture() as capture:
        console.print(Markdown(text))
    assert piece not in capture.get()


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_design_is_laid_out_and_whole(width: int) -> None:
    text = render.design(Design.model_validate(scenario.DESIGN))
    assert isinstance(shown(text, width), Markdown)
    screen = seen(text, width)
    assert "|---|" not in screen
    assert "…" not in screen


@given(st.text())
@example("\r")
@settings(deadline=None, max_examples=60)
def test_every_letter_of_any_text_is_on_the_screen(text: str) -> None:
    document = f"# T\n\n{text}\n\n- end"
    letters = sorted(char for char in safe(document) if char.isalnum())
    screen = list(seen(document))
    for letter in letters:
        screen.remove(letter)


@pytest.mark.parametrize(
    "text",
    [
        "\x1b[2J",
        "\x1b]0;title\x07",
        "a\rb",
        "a\x08b",
        "\x9b31m",
        "\u202eevorppa",
        "\u2066x",
        "\u200fx",
        "\x7f",
        "\u2028",
        "a\u200bb",
        "a\u00adb",
        "a\u3164b",
        "a\ufe0fb",
        "a\u200db",
        "\U000e0041",
        "\ufeff",
    ],
)
def test_what_moves_the_cursor_or_turns_the_text_round_is_made_visible(text: str) -> None:
    unseen = next(char for char in text if not char.isprintable() or char in "\u3164\ufe0f")
    assert f"‹U+{ord(unseen):04X}›" in safe(text)
    assert unseen not in safe(text)
    assert all(char.isprintable() or char == "\n" for char in safe(text))


def test_a_file_with_windows_line_ends_is_not_full_of_marks() -> None:
    assert safe("a\r\nb\r\n") == "a\nb\n"
    assert safe("a\rb") == "a‹U+000D›b"


def test_tabs_and_lines_stay() -> None:
    assert safe("a\tb\nc — ü ☃") == "a\tb\nc — ü ☃"


@pytest.mark.parametrize(
    "text", ["GET /posts/<int:id>/likes", "sets __name__ of x", "a *b* c ~~d~~ [e](f)", "`<a>_b_`"]
)
def test_punctuation_of_prose_is_shown_as_it_is(text: str) -> None:
    assert text.replace("`", "") in seen(text, 100)


def test_paths_in_a_table_are_broken_at_their_slashes() -> None:
    long = "src/flask_api_tutorial/models/widget_review.py"
    rows = f"| `{long}` | create | {'words ' * 30} |\n| `{'x' * 90}` | create | and/or |\n"
    text = f"| file | action | purpose |\n|---|---|---|\n{rows}"
    wide = [line.split() for line in re.sub(r"\x1b\[[\d;]*m", "", seen(text, 120)).splitlines()]
    assert any(line[:1] == [long] for line in wide)  # room for the whole path
    narrow = re.sub(r"\x1b\[[\d;]*m", "", seen(text, 70))
    firsts = [line.split()[0] for line in narrow.splitlines() if line.strip()]
    assert "src/flask_api_tutorial/models/" in firsts and "widget_review.py" in firsts
    assert "x" * 90 in "".join(word for word in firsts if set(word) == {"x"})  # a name without slashes is whole, too


def test_a_design_at_the_gate_shows_tables_and_no_source_of_a_diagram() -> None:
    assert "erDiagram" not in render.design(Design.model_validate(scenario.DESIGN), diagram=False)
