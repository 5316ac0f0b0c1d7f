"""Markdown on a terminal without losing any of it: what a person decides about is all that was hashed."""

import io
import itertools
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


#: The share of the screen that a column of paths may take.
_ROOM = 0.45


class _WholeTable(TableElement):
    """A table whose long words are broken, paths at their slashes; rich would cut file names off."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for part in super().__rich_console__(console, options):
            if isinstance(part, Table):
                _with_room(part, int(options.max_width * _ROOM))
            yield part


def _with_room(table: Table, most: int) -> None:
    """Lets every word be broken, and gives the first column of paths the room that they need, up to `most`."""
    for column in table.columns:
        column.overflow = "fold"
    for column in table.columns:
        cells = [cell for cell in column.cells if isinstance(cell, Text)]
        if longest := max((len(word) for cell in cells for word in cell.plain.split() if "/" in word), default=0):
            column.width = min(longest, most)
            column._cells = [
                _at_slashes(cell, column.width) if isinstance(cell, Text) else cell for cell in column.cells
            ]
            return


def _at_slashes(cell: Text, width: int) -> Text:
    """The cell with line ends behind slashes, so that no path is wider than `width` unless one of its names is."""
    ends = []
    for word in re.finditer(r"\S+", cell.plain):
        start = word.start()
        slashes = [start + match.end() for match in re.finditer("/", word[0])]
        for slash, following in itertools.pairwise([*slashes, word.end()]):
            if following - start > width and slash > start:
                ends.append(slash)
                start = slash
    return Text("\n").join(cell.divide(ends)) if ends else cell


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
