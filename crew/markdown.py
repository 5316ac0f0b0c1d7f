"""Markdown on a terminal without losing any of it: what a person decides about is all that was hashed."""

import io
import re
from collections import Counter
from typing import ClassVar

from markdown_it import MarkdownIt
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import Markdown, MarkdownElement, TableElement
from rich.table import Table
from rich.text import Text

from backend_crew.crew.plaintext import literal, safe

_FENCE = re.compile(r"(?m)^\s*`{3,}(yaml|sql|diff|mermaid)?\s*$")


class _WholeTable(TableElement):
    """A table whose long words are broken; rich would cut file names off."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for part in super().__rich_console__(console, options):
            if isinstance(part, Table):
                for column in part.columns:
                    column.overflow = "fold"
            yield part


class _Markdown(Markdown):
    """Markdown with HTML as text and link targets in sight."""

    elements: ClassVar[dict[str, type[MarkdownElement]]] = {**Markdown.elements, "table_open": _WholeTable}

    def __init__(self, text: str) -> None:
        super().__init__(text, hyperlinks=False)
        self.parsed = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"]).parse(text)


def shown(text: str, width: int) -> Markdown | Text:
    """The text as Markdown; exactly as it is where Markdown would leave any of its letters out."""
    text = safe(text)
    rendered = _Markdown(literal(text))
    paper = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=False)
    with paper.capture() as capture:
        paper.print(rendered)
    lost = _letters(_FENCE.sub("", text)) - _letters(capture.get())
    return Text(text) if lost else rendered


def _letters(text: str) -> Counter[str]:
    return Counter(char for char in text if char.isalnum())
