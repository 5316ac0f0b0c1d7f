"""The facts of a repository, together: what it is built with, what its code holds, and what of it matters for a feature."""

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from backend_crew.tools import stack
from backend_crew.tools.index import sources
from backend_crew.tools.index.facts import CHARACTERS, Index, render
from backend_crew.tools.index.store import Store, edition
from backend_crew.tools.index.words import feature_words
from backend_crew.tools.revive import revive
from backend_crew.tools.stack_facts import Fact

SCHEMA = 1
"""Of what `as_json` gives; a field that is taken away or means something else makes it 2."""
MAP_TOKENS = 2_000
BRIEF_TOKENS = 4_000
# A file that was written so short a time ago can be written again without any sign of it on some file systems.
_SETTLED_NS = 2_000_000_000


@dataclass(frozen=True)
class Scan:
    """What code established about a repository; nothing of it was run, and every place is a path with a line."""

    facts: tuple[Fact, ...]
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
    # What reads sources is not imported where the cache has the answer.
    from backend_crew.tools.index.build import build

    made = Scan(facts=stack.detect(root), index=build(listed, store, feature, MAP_TOKENS))
    newest = max((file.stamp[1] for file in listed.files), default=0)
    if newest + _SETTLED_NS < started:
        store.put({key: json.dumps(asdict(made)).encode()})
    return made


def as_json(found: Scan) -> dict[str, Any]:
    """One object of a stable form, described in docs/analysis.md."""
    index = found.index
    return {
        "schema": SCHEMA,
        "complete": index.complete,
        "files": index.files,
        "languages": dict(index.languages),
        "skipped": {
            reason: {"files": number, "examples": list(some)} for reason, (number, some) in index.skipped.items()
        },
        "facts": [asdict(fact) for fact in found.facts],
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
    facts = [f"{one.kind}: {one.value} ({one.confidence}) {one.path}:{one.line}" for one in found.facts]
    yield "What it is built with", facts, 0.3
    yield "Layers, the top first", layer_lines(found.index), 0.3
    yield "Definitions that matter", render(found.index.places).splitlines(), 1.0


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
