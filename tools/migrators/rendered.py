"""SQL that a migration tool rendered, cut where its own BEGIN and COMMIT stand."""

from backend_crew.tools.migrators.protocol import SQLITE, Script, Segment
from backend_crew.tools.sql_statements import split


def script_of(text: str, dialect: str) -> Script:
    """A rendered text as segments: what stands between BEGIN and COMMIT is one, every statement outside is one.

    On SQLite tools render no BEGIN, and the whole is one segment: SQLite's changes of schema can be rolled back.
    Comments stay with the statement that follows them.
    """
    segments: list[Segment] = []
    inside: list[str] | None = [] if dialect == SQLITE else None
    for statement in split(text, dialect):
        piece = text[statement.start : statement.end].strip("\n")
        word = statement.words[0] if statement.kind == "transaction" and statement.words else ""
        if word in {"BEGIN", "START"}:
            inside = inside or []
        elif word in {"COMMIT", "END"}:
            segments += [Segment(_joined(inside))] if inside else []
            inside = None
        elif inside is None:
            segments.append(Segment(_joined([piece]), transactional=False))
        else:
            inside.append(piece)
    if inside:
        segments.append(Segment(_joined(inside)))
    return Script(tuple(segments))


def _joined(pieces: list[str]) -> str:
    return "\n\n".join(piece if piece.rstrip().endswith(";") else f"{piece};" for piece in pieces) + "\n"
