"""Text as people may see it: unseen characters by number, and Markdown in which prose means itself."""

import re
from collections.abc import Callable

from markdown_it import MarkdownIt

# Characters that nobody sees on a screen, or that change how their neighbours are seen. A joiner or a variation
# selector between or behind emoji belongs to the picture.
_UNSEEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200c\u200e\u200f"
    r"\u2028-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0e\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3"
    r"\U0001d173-\U0001d17a\U000e0000-\U000e0fff\ud800-\udfff]"
    r"|(?<![\u203c-\u3299\U0001f000-\U0001faff])\ufe0f"
    r"|(?<![\ufe0f\u2600-\u27bf\U0001f000-\U0001faff])\u200d|\u200d(?![\u2600-\u27bf\U0001f000-\U0001faff])"
)
_FENCE_LINE = re.compile(r"^\s*(`{3,})(.*)$")
# At the start of a line: a heading, the line under one, a rule, a block of code by tildes, a tag or comment of HTML.
_PREFIX = r"^((?:[ \t>]|[-*+][ \t]|\d{1,9}[.)][ \t])*)"
_BLOCK = r"#{1,6}(?=[ \t]|$)|=+(?=[ \t]*$)|-+(?=[ \t]*$)|([-*_])(?=(?:[ \t]*\3){2,}[ \t]*$)|~(?=~~)|<"
_STRUCTURE, _ANY_BLOCK = re.compile(f"{_PREFIX}({_BLOCK})"), re.compile(f"{_PREFIX}({_BLOCK}|`(?=``))")
_CODE_SPAN = re.compile(r"(`+[^`]+`+)")
_MEANT = re.compile(r"([_<~\[]|(?<!\*)\*(?!\*))")


def safe(text: str) -> str:
    """Text that cannot move the cursor, recolour the screen or hide a part of itself; for a terminal."""
    return visible(text)


def visible(text: str) -> str:
    """The text with every unseen character as its number, `‹U+202E›`; line ends and tabs stay."""
    return _UNSEEN.sub(lambda found: f"‹U+{ord(found[0]):04X}›", text.replace("\r\n", "\n"))


def inner(text: str) -> str:
    """Markdown of one author that stands inside a document of ours: it makes no heading, no rule, and no open block.

    Code blocks stay as they are where CommonMark ends them where we do; else their fences are text too.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines, fence = _outside_code(text, lambda line: _STRUCTURE.sub(r"\1\\\2", line))
    made = "\n".join([*lines, fence] if fence else lines)
    return made if _stays_inside(made) else "\n".join(_ANY_BLOCK.sub(r"\1\\\2", line) for line in text.split("\n"))


def _stays_inside(text: str) -> bool:
    """Whether what follows a text is read as it would be without it, and nothing in the text looks like ours."""
    tokens = MarkdownIt().parse(f"{text}\n\nwhat follows")
    parts = {one.type for one in tokens}
    ours = {"heading_open", "hr", "html_block"}
    return not parts & ours and [(one.level, one.content) for one in tokens[-3:]] == [
        (0, ""),
        (1, "what follows"),
        (0, ""),
    ]


def literal(text: str) -> str:
    """Markdown in which `_`, `<`, `~`, `[` and a single `*` of people's and agents' prose mean themselves."""

    def escaped(line: str) -> str:
        parts = _CODE_SPAN.split(line)
        return "".join(_MEANT.sub(r"\\\1", part) if not index % 2 else part for index, part in enumerate(parts))

    return "\n".join(_outside_code(text, escaped)[0])


def _outside_code(text: str, change: Callable[[str], str]) -> tuple[list[str], str]:
    """The lines, those outside of fenced code changed, and the fence that is still open at the end, or ""."""
    lines, fence = [], ""
    for line in text.split("\n"):
        mark = _FENCE_LINE.match(line)
        if mark and not fence:
            fence = mark[1]
        elif mark and mark[1].startswith(fence) and not mark[2].strip():
            fence = ""
        elif not fence:
            lines.append(change(line))
            continue
        lines.append(line)
    return lines, fence
