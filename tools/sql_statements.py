"""SQL text cut into statements as SQLite or PostgreSQL would see them, with the line and the kind of each."""

import bisect
import re
from collections.abc import Iterator
from dataclasses import dataclass

DIALECTS = ("sqlite", "postgresql")

# What can hold a semicolon or a quote that means nothing; the order matters. An end that is missing reaches to the end
# of the text, as it does for the database.
_COMMON = r"""
    (?P<space>\s+)
  | (?P<comment>--[^\n]*)
  | (?P<string>'(?:[^']|'')*(?:'|\Z))
  | (?P<quoted>"(?:[^"]|"")*(?:"|\Z))
"""
_SQLITE = re.compile(
    _COMMON
    + r"""
  | (?P<block>/\*.*?(?:\*/|\Z))
  | (?P<other>`(?:[^`]|``)*(?:`|\Z)|\[[^\]]*(?:\]|\Z))
  | (?P<word>\w[\w$]*)
  | (?P<sign>.)
""",
    re.VERBOSE | re.DOTALL,
)
_POSTGRESQL = re.compile(
    r"""(?P<escaped>[eE]'(?:[^'\\]|''|\\.)*(?:'|\\?\Z))
  | (?P<dollar>\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?(?:\$(?P=tag)\$|\Z))
  |"""
    + _COMMON
    + r"""
  | (?P<block>/\*)
  | (?P<word>\w[\w$]*)
  | (?P<sign>.)
""",
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_META = re.compile(r"\\[^\n]*\n?")
_COPY_DATA = re.compile(r"[^\n]*\n(?:(?!\\\.[ \t]*\r?(?:\n|\Z)).*\n?)*(?:\\\.[^\n]*\n?)?")
_SILENT = ("space", "comment", "block")

# What PostgreSQL runs only outside a transaction, by its first words.
_OUTSIDE = (("VACUUM",), ("CREATE", "DATABASE"), ("DROP", "DATABASE"), ("ALTER", "SYSTEM"), ("CREATE", "TABLESPACE"))
_KINDS = {
    "ddl": "ALTER COMMENT CREATE DROP GRANT IMPORT REASSIGN REVOKE SECURITY",
    "data": "COPY DELETE INSERT MERGE REPLACE TRUNCATE UPDATE",
    "query": "EXPLAIN SELECT TABLE VALUES WITH",
    "transaction": "ABORT BEGIN COMMIT END RELEASE ROLLBACK SAVEPOINT START",
    "session": "DISCARD LISTEN LOCK NOTIFY PRAGMA RESET SET SHOW UNLISTEN",
    "maintenance": "ANALYSE ANALYZE CHECKPOINT CLUSTER REFRESH REINDEX VACUUM",
}
_KIND_OF = {word: kind for kind, words in _KINDS.items() for word in words.split()}
# Words between what a statement does and the name of its table.
_BETWEEN = (
    "CONCURRENTLY EXISTS FOREIGN GLOBAL IF INTO LOCAL MATERIALIZED NOT ONLY OR TABLE TEMP TEMPORARY UNLOGGED VIRTUAL"
    " ABORT FAIL FROM IGNORE REPLACE ROLLBACK"
)


_SKIPPED = frozenset(_BETWEEN.split())


@dataclass(frozen=True)
class Statement:
    """One statement, without its semicolon and the blanks and comments around it.

    `start` and `end` are offsets of the whole piece in the text it was cut from, semicolon and comments included: each
    piece begins where the one before it ends, and behind the last there are only blanks and comments.
    `line` (from 1) is where its first word stands. `kind` is "ddl", "data", "query", "transaction", "session",
    "maintenance", "meta" (a command of psql, which no database understands), "rows" (what follows COPY … FROM stdin)
    or "opaque" (DO, CALL, EXECUTE and whatever else does not tell by its first word what it does). `words` are its
    first words in capitals; `table` is the table it names, "" when it names none.
    """

    text: str
    line: int
    start: int
    end: int
    kind: str
    words: tuple[str, ...]
    table: str


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int


def split(sql: str, dialect: str) -> tuple[Statement, ...]:
    """The statements of a text in order; blanks and comments alone are none. Raises ValueError: unknown dialect."""
    if dialect not in DIALECTS:
        raise ValueError(f"dialect is {dialect!r}; expected one of {', '.join(DIALECTS)}")
    lines = [0, *(match.end() for match in re.finditer("\n", sql))]
    return tuple(_Cutter(sql, dialect, lines).statements())


class _Cutter:
    def __init__(self, sql: str, dialect: str, lines: list[int]) -> None:
        self._sql, self._lines = sql, lines
        self._postgresql = dialect == "postgresql"
        self._pattern = _POSTGRESQL if self._postgresql else _SQLITE
        self._begin = 0
        self._tokens: list[_Token] = []
        self._brackets = 0
        self._blocks = 0

    def statements(self) -> Iterator[Statement]:
        at = 0
        while at < len(self._sql):
            token = self._next(at)
            at = token.end
            if self._postgresql and token.text == "\\":
                yield from self._finished(token.start)
                at = self._end_of(_META, token.start)
                yield self._special("meta", at)
            elif token.text == ";" and self._complete():
                copying = self._reads_rows()
                yield from self._finished(at)
                if copying:
                    at = self._end_of(_COPY_DATA, at)
                    yield self._special("rows", at)
            elif token.kind not in _SILENT:
                self._tokens.append(token)
                self._follow(token)
        yield from self._finished(at)

    def _next(self, at: int) -> _Token:
        match = self._pattern.match(self._sql, at)
        if match is None:  # every character is a sign at the least
            raise AssertionError(f"no token at {at}")
        kind, end = match.lastgroup or "", match.end()
        if kind == "tag":
            kind = "dollar"
        if kind == "block" and self._postgresql:
            end = self._comment_end(at)
        return _Token(kind, self._sql[at:end], at, end)

    def _comment_end(self, at: int) -> int:
        """PostgreSQL's comments nest."""
        depth = 0
        for edge in _COMMENT_EDGE.finditer(self._sql, at):
            depth += 1 if edge.group() == "/*" else -1
            if depth == 0:
                return edge.end()
        return len(self._sql)

    def _follow(self, token: _Token) -> None:
        """Keeps count of what a semicolon inside would not end."""
        if token.text in "()" and token.kind == "sign":
            self._brackets = max(0, self._brackets + (1 if token.text == "(" else -1))
        word = token.text.upper()
        if self._postgresql and token.kind == "word" and (self._blocks or word == "ATOMIC"):
            before = self._tokens[-2].text.upper() if len(self._tokens) > 1 else ""
            if word == "ATOMIC" and before == "BEGIN" and self._tokens[0].text.upper() == "CREATE":
                self._blocks = 1
            elif word == "CASE" and before != "END":
                self._blocks += 1
            elif word == "END":
                self._blocks -= 1

    def _complete(self) -> bool:
        if self._postgresql:
            return not self._brackets and not self._blocks
        head = [token.text.upper() for token in self._tokens[:5]]
        head = head[1:] if head[:1] == ["EXPLAIN"] else head
        trigger = head[:1] == ["CREATE"] and "TRIGGER" in head[1:3]
        if not trigger:
            return True
        last = [token.text.upper() for token in self._tokens[-2:]]
        if last == [";", "END"]:
            return True
        end = self._tokens[-1].end
        self._tokens.append(_Token("sign", ";", end, end))
        return False

    def _reads_rows(self) -> bool:
        words = [token.text.upper() for token in self._tokens if token.kind == "word"]
        return self._postgresql and words[:1] == ["COPY"] and "STDIN" in words and "FROM" in words

    def _end_of(self, pattern: re.Pattern[str], at: int) -> int:
        match = pattern.match(self._sql, at)
        return match.end() if match else len(self._sql)

    def _finished(self, end: int) -> Iterator[Statement]:
        tokens, begin = self._tokens, self._begin
        self._tokens, self._brackets, self._blocks = [], 0, 0
        if tokens:
            self._begin = end
            first = tokens[0].start
            text = self._sql[first : tokens[-1].end]
            words = tuple(token.text.upper() for token in tokens[:16] if token.kind == "word")
            kind = _KIND_OF.get(words[0], "opaque") if words and tokens[0].kind == "word" else "opaque"
            table = _table(tokens[:40]) if kind != "opaque" else ""
            yield Statement(text, self._line(first), begin, end, kind, words, table)

    def _special(self, kind: str, end: int) -> Statement:
        """A piece that is no SQL at all."""
        begin, self._begin = self._begin, end
        text = self._sql[begin:end]
        stripped = text.strip()
        first = begin + len(text) - len(text.lstrip()) if stripped else begin
        return Statement(stripped, self._line(first), begin, end, kind, (), "")

    def _line(self, offset: int) -> int:
        return bisect.bisect_right(self._lines, offset)


def _table(tokens: list[_Token]) -> str:
    """The name after ALTER TABLE, INSERT INTO, UPDATE, … as it is written, without quotes; "" where there is none."""
    words = [token.text.upper() if token.kind == "word" else "" for token in tokens]
    if words[:1] == ["CREATE"] and "INDEX" in words[:3]:
        return _name(tokens, words.index("ON") + 1, words) if "ON" in words else ""
    # COPY and TRUNCATE need no word before the name; CREATE, ALTER and DROP say that it is a table.
    if words[0] in {"CREATE", "ALTER", "DROP"}:
        return _name(tokens, words.index("TABLE") + 1, words) if "TABLE" in words[:5] else ""
    if words[0] in {"INSERT", "UPDATE", "DELETE", "TRUNCATE", "COPY", "MERGE", "REPLACE"}:
        return _name(tokens, 1, words)
    return ""


def _name(tokens: list[_Token], at: int, words: list[str]) -> str:
    while at < len(tokens) and words[at] and words[at] in _SKIPPED:
        at += 1
    parts: list[str] = []
    while at < len(tokens) and tokens[at].kind in {"word", "quoted", "other"}:
        parts.append(unquoted(tokens[at].text))
        if at + 1 >= len(tokens) or tokens[at + 1].text != ".":
            break
        at += 2
    return ".".join(parts)


def unquoted(name: str) -> str:
    """An identifier without its quotes; a bare one in lower case, as both databases compare it."""
    if name[:1] in {'"', "`"} and len(name) > 1:
        return name[1:-1].replace(name[0] * 2, name[0])
    return name[1:-1] if name[:1] == "[" else name.lower()


def outside(sql: str) -> bool:
    """Whether a PostgreSQL statement refuses to run inside a transaction."""
    for statement in split(sql, "postgresql"):
        words = statement.words
        if any(words[: len(start)] == start for start in _OUTSIDE):
            return True
        if words[:1] in {("CREATE",), ("DROP",), ("REINDEX",)} and "CONCURRENTLY" in words[:4]:
            return True
    return False
