"""The facts of a repository, together: what it is built with, what its code holds, and what of it matters for a feature."""

import gc
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from backend_crew.tools.endpoints.protocol import Endpoint
from backend_crew.tools.index import sources
from backend_crew.tools.index.facts import CHARACTERS, Index, render
from backend_crew.tools.index.store import Store, edition
from backend_crew.tools.index.words import feature_words
from backend_crew.tools.revive import revive
from backend_crew.tools.stack_facts import Survey
from backend_crew.tools.static.unresolved import Unresolved
from backend_crew.tools.tables.protocol import Column, Table

SCHEMA = 1
"""Of what `as_json` gives; a field that is taken away or means something else makes it 2."""
MAP_TOKENS = 2_000
BRIEF_TOKENS = 4_000
# A file that was written so short a time ago can be written again without any sign of it on some file systems.
_SETTLED_NS = 2_000_000_000


@dataclass(frozen=True)
class Scan:
    """What code established about a repository; nothing of it was run, and every place is a path with a line.

    `unresolved` is what the source leaves open about endpoints and tables.
    """

    survey: Survey
    endpoints: tuple[Endpoint, ...]
    tables: tuple[Table, ...]
    unresolved: tuple[Unresolved, ...]
    index: Index


def scan(root: Path, *, feature: str = "", cache: Path | None = None) -> Scan:
    """Scan a folder, a git repository or not; `cache` is a folder of ours that keeps what was read, None for none.

    Raises ToolRefused where `root` is no folder or its .crewignore cannot be read.
    """
    started = time.time_ns()
    listed = sources.inventory(root)
    store = Store(cache)
    key = _key(listed, feature)
    if kept := _kept(store.one(key)):
        return kept
    with _no_cycles_sought():
        made = _read(root, listed, store, feature)
    newest = max((file.stamp[1] for file in listed.files), default=0)
    if newest + _SETTLED_NS < started:
        store.put({key: json.dumps(asdict(made)).encode()})
    return made


@contextmanager
def _no_cycles_sought() -> Iterator[None]:
    """Without the garbage collector: it would go over the syntax trees again and again, for half of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _read(root: Path, listed: sources.Inventory, store: Store, feature: str) -> Scan:
    # What reads sources is not imported where the cache has the answer.
    from backend_crew.tools import stack
    from backend_crew.tools.endpoints.find import find_endpoints
    from backend_crew.tools.index.build import build
    from backend_crew.tools.index.files import Files
    from backend_crew.tools.static.project import Project
    from backend_crew.tools.tables.find import find_tables

    survey, index = stack.survey(root), build(listed, store, feature, MAP_TOKENS)
    # Last, since the syntax trees that they share take the most memory.
    project = Project(Files(listed))
    endpoints, tables = find_endpoints(project), find_tables(project)
    unresolved = tuple(dict.fromkeys((*endpoints.unresolved, *tables.unresolved)))
    return Scan(survey, endpoints.endpoints, tables.tables, unresolved, index)


def as_json(found: Scan) -> dict[str, Any]:
    """One object of a stable form, described in docs/analysis.md."""
    index, survey = found.index, found.survey
    return {
        "schema": SCHEMA,
        "complete": index.complete and survey.complete,
        "files": index.files,
        "languages": dict(index.languages),
        "skipped": {
            reason: {"files": number, "examples": list(some)} for reason, (number, some) in index.skipped.items()
        },
        "facts": [asdict(fact) for fact in survey.facts],
        "traps": [asdict(trap) for trap in survey.traps],
        "services": [asdict(service) for service in survey.services],
        "endpoints": [asdict(endpoint) for endpoint in found.endpoints],
        "tables": [asdict(table) for table in found.tables],
        "unresolved": [asdict(one) for one in found.unresolved],
        "definitions": index.definitions,
        "layering": asdict(index.layering) if index.layering else None,
        "map": [asdict(place) for place in index.places],
    }


def brief(found: Scan, feature: str = "", budget: int = BRIEF_TOKENS) -> str:
    """What the analysis is handed on: at most `budget` tokens, of each part what concerns the feature most."""
    words = feature_words(feature)
    left = budget * CHARACTERS
    parts: list[str] = []
    for title, lines, share in _parts(found, words):
        part = _fitting(f"## {title}", lines, int(left * share))
        parts.append(part)
        left -= len(part) + 2
    return "\n\n".join(part for part in parts if part)


def _parts(found: Scan, words: Sequence[str]) -> Iterable[tuple[str, Sequence[str], float]]:
    """Title, lines best first, and the share of what is left that they may take."""
    yield "What it is built with", fact_lines(found.survey), 0.25
    yield "What must not be taken for a fact", [trap.summary for trap in found.survey.traps], 0.15
    yield "Layers, the top first", layer_lines(found.index), 0.15
    yield "Endpoints", _concerned(endpoint_lines(found.endpoints), words), 0.4
    yield "Tables", _concerned(table_lines(found.tables), words), 0.4
    yield "Definitions that matter", render(found.index.places).splitlines(), 1.0


def _concerned(lines: Sequence[str], words: Sequence[str]) -> Sequence[str]:
    """The lines in their order, those with words of the feature first."""
    return sorted(lines, key=lambda line: -sum(word in line.lower() for word in words))


def fact_lines(survey: Survey) -> list[str]:
    """The facts, one a line."""
    return [f"{one.kind}: {one.value} ({one.confidence}) {one.path}:{one.line}" for one in survey.facts]


def endpoint_lines(endpoints: Sequence[Endpoint]) -> list[str]:
    """The endpoints, one a line: method, path, handler, place, and what guards them."""
    return [
        f"{one.method} {one.path} {one.handler} {one.file}:{one.line}"
        f"{f' auth: {one.auth}' if one.auth else ''}{'' if one.certain else ' (not certain)'}"
        for one in endpoints
    ]


def table_lines(tables: Sequence[Table]) -> list[str]:
    """The tables, one a line: name, place, and the columns with their types."""
    return [
        f"{one.name} {one.file}:{one.line} ({', '.join(_column(column) for column in one.columns)})"
        f"{'' if one.certain else ' (not certain)'}"
        for one in tables
    ]


def _column(column: Column) -> str:
    marks = " pk" if column.primary_key else f" -> {column.references}" if column.references else ""
    return f"{column.name} {column.type}{marks}"


def layer_lines(index: Index) -> list[str]:
    """The layers from the top, and the imports that go against them."""
    if index.layering is None:
        return []
    lines = [f"{index.layering.base or '.'}: {' > '.join(' | '.join(layer) for layer in index.layering.layers)}"]
    lines += [
        f"against them: {one.importer} imports {one.imported} ({one.imports}x, as {one.path} does {one.target})"
        for one in index.layering.against
    ]
    return lines


def _fitting(title: str, lines: Sequence[str], limit: int) -> str:
    """The title and the first lines that fit, and how many were left out; "" where there are none."""
    kept, left = [title], limit - len(title) - 30
    for number, line in enumerate(lines):
        if len(line) + 1 > left:
            kept.append(f"… and {len(lines) - number} more lines")
            break
        kept.append(line)
        left -= len(line) + 1
    return "\n".join(kept) if len(kept) > 1 else ""


def _key(listed: sources.Inventory, feature: str) -> bytes:
    """Names the state of a tree by what changes with every write to one of its files."""
    made = blake2b(f"{edition()} {SCHEMA} {MAP_TOKENS} {feature}".encode("utf-8", "surrogateescape"), digest_size=16)
    made.update(repr(sorted(listed.skipped.items())).encode("utf-8", "surrogateescape"))
    for file in listed.files:
        made.update(f"{file.path}\0{file.size}\0{file.stamp}\n".encode("utf-8", "surrogateescape"))
    return b"scan " + made.digest()


def _kept(data: bytes | None) -> Scan | None:
    try:
        return revive(Scan, json.loads(data)) if data else None
    except (ValueError, TypeError, KeyError):
        return None
