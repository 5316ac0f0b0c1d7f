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

# Characters that nobody sees on a screen, or that change how their neighbours are seen. A joiner or a variation
# selector between or behind emoji belongs to the picture.
_UNSEEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200c\u200e\u200f"
    r"\u2028-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0e\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3"
    r"\U0001d173-\U0001d17a\U000e0000-\U000e0fff\ud800-\udfff]"
    r"|(?<![\u203c-\u3299\U0001f000-\U0001faff])\ufe0f"
    r"|(?<![\ufe0f\u2600-\u27bf\U0001f000-\U0001faff])\u200d|\u200d(?![\u2600-\u27bf\U0001f000-\U0001faff])"
)
_FENCE = re.compile(r"(?m)^\s*`{3,}(yaml|sql|diff|mermaid)?\s*$")


_FENCE_LINE = re.compile(r"^\s*(`{3,})(.*)$")
_CODE_SPAN = re.compile(r"(`+[^`]+`+)")
_MEANT = re.compile(r"([_<~\[]|(?<!\*)\*(?!\*))")


def safe(text: str) -> str:
    """Text that cannot move the cursor, recolour the screen or hide a part of itself; for a terminal."""
    return visible(text)


def visible(text: str) -> str:
    """The text with every unseen character as its number, `‹U+202E›`; line ends and tabs stay."""
    return _UNSEEN.sub(lambda found: f"‹U+{ord(found[0]):04X}›", text.replace("\r\n", "\n"))


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


def literal(text: str) -> str:
    """Markdown in which `_`, `<`, `~`, `[` and a single `*` of people's and agents' prose mean themselves."""
    lines, fence = [], ""
    for line in text.split("\n"):
        mark = _FENCE_LINE.match(line)
        if mark and not fence:
            fence = mark[1]
        elif mark and mark[1].startswith(fence) and not mark[2].strip():
            fence = ""
        elif not fence:
            parts = _CODE_SPAN.split(line)
            lines.append(
                "".join(_MEANT.sub(r"\\\1", part) if not index % 2 else part for index, part in enumerate(parts))
            )
            continue
        lines.append(line)
    return "\n".join(lines)


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
