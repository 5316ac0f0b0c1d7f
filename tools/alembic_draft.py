"""New Alembic revisions drafted by autogenerate in the sandbox, checked before anyone sees them."""

import ast
import hashlib
import os
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from backend_crew.tools.alembic import effects, graph, read_revision
from backend_crew.tools.alembic_box import excerpt
from backend_crew.tools.alembic_config import read_config
from backend_crew.tools.errors import ToolFault, ToolRefused, ToolRetry
from backend_crew.tools.migrations import MigrationTool
from backend_crew.tools.migrators.alembic import AlembicMigrator
from backend_crew.tools.migrators.flask import FlaskMigrator
from backend_crew.tools.migrators.protocol import Pointing, Scratch
from backend_crew.tools.process import Completed
from backend_crew.tools.sandbox import Box

_SHOWN = 6_000


@dataclass(frozen=True)
class MadeMigration:
    """A draft that went up, down and up: its path in the repository, its text, what its upgrade() does."""

    path: str
    text: str
    operations: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    """Operations of the baseline that autogenerate found again."""


@dataclass(frozen=True)
class Drift:
    """Operations that autogenerate emits for the tree before the change: differences that were there already."""

    upgrade: frozenset[str]
    downgrade: frozenset[str]


@dataclass(frozen=True)
class _Draft:
    migrator: AlembicMigrator
    path: str
    text: str
    before: str | None


def can_draft(tool: MigrationTool | None) -> bool:
    """Whether a migration can be written by the tool: Alembic, by its own command line or behind Flask-Migrate."""
    return tool is not None and tool.name == "alembic" and tool.config is not None and tool.can_rehearse


def find_drift(scratch: Scratch, tool: MigrationTool, *, database_env: Mapping[str, str]) -> Drift:
    """What autogenerate finds in a fresh box of the tree before the change; `database_env` as in make_migration."""
    draft = _autogenerate(scratch, tool, ("drift", "0drift0"), database_env)
    functions = _functions(draft.path, draft.text)
    return Drift(*(frozenset(_keys(functions[name])) for name in ("upgrade", "downgrade")))


def make_migration(
    scratch: Scratch,
    tool: MigrationTool,
    *,
    message: str,
    rev_id: str,
    database_env: Mapping[str, str],
    baseline: Drift | None = None,
) -> MadeMigration:
    """Drafts one revision on the head from the models in a fresh box, and tries it up, down and up again there.

    `database_env` is set in the box; a value that is empty or a URL is led to the scratch database.
    ToolRetry when the models differ in nothing, or when the draft fails (it is shown then).
    """
    if not re.fullmatch(r"[a-z0-9]{4,32}", rev_id):
        raise ToolRetry(f"the revision id {rev_id!r} must be 4 to 32 small letters and digits")
    draft = _autogenerate(scratch, tool, (message, rev_id), database_env)
    found = _keys(_functions(draft.path, draft.text)["upgrade"])
    drifted = baseline is not None and bool(baseline.upgrade or baseline.downgrade)
    text = _without(draft.path, draft.text, baseline) if baseline and drifted else draft.text
    operations = tuple(_keys(_functions(draft.path, text)["upgrade"]))
    left_out = tuple(one for one in found if one not in operations)
    if not operations and left_out:
        raise ToolRetry(
            "autogenerate finds nothing but what differed before the change already: "
            f"{'; '.join(left_out)[:_SHOWN]}. Where the plan settles that, write the migration by hand"
        )
    if not operations:
        raise ToolRetry(
            "autogenerate found no difference between the models and the migrations. Check that env.py imports the "
            "new models; a migration that only changes data has to be written by hand"
        )
    source = read_revision(draft.path, text.encode()).file
    if source.revision != rev_id or source.parents != ((draft.before,) if draft.before else ()):
        raise ToolRetry(
            f"{draft.path} has revision {source.revision!r} on {source.parents}, not {rev_id!r} on the head"
        )
    scratch.box.put(draft.path, text.encode())
    for arguments in (("upgrade", rev_id), ("downgrade", draft.before or "base"), ("upgrade", rev_id)):
        done = draft.migrator.to(scratch, *arguments)
        if not done.ok:
            raise ToolRetry(
                f"the draft fails in `{draft.migrator.tool.apply_command[0]} {' '.join(arguments)}`:\n{excerpt(done)}\n"
                f"Write a corrected file yourself, under this name or one of the repository's own style. The draft was:\n{text[:_SHOWN]}"
            )
    return MadeMigration(draft.path, text, operations, left_out)


def _autogenerate(
    scratch: Scratch, tool: MigrationTool, names: tuple[str, str], database_env: Mapping[str, str]
) -> _Draft:
    """Upgrades a scratch database to the head and lets autogenerate write one file; `names` is (message, id)."""
    box = scratch.box
    known = graph(box.files, tool)
    message, rev_id = names
    if known.knows(rev_id):
        raise ToolRetry(f"a revision {rev_id!r} exists already: choose another id")
    if not can_draft(tool):
        raise ToolRefused(f"{tool.name} ({tool.evidence}) cannot be made to write a migration here")
    versions = read_config(box.files, tool.config or "").versions
    urls = tuple(name for name, value in database_env.items() if not value or "://" in value or ":/" in value)
    pointing = Pointing(urls, database_env)
    migrator = (FlaskMigrator if tool.flask else AlembicMigrator)(box.files, tool, pointing)
    engine = migrator.engine()
    if engine != scratch.dialect:
        raise ToolRefused(f"the project uses {engine}; a draft made on {scratch.dialect} would have the wrong types")
    scratch.create()
    if not (box.files / versions[0]).is_dir():  # git keeps no empty folder
        box.put(f"{versions[0]}/__init__.py", b"")
    _expect_ok(migrator.to(scratch, "upgrade", "head"), "upgrade head")
    before = _listing(box, versions)
    words = re.sub(r"[^\w ,.()-]+", " ", message).strip()[:100] or "change"
    _expect_ok(migrator.draft(scratch, words, rev_id), f"revision --autogenerate --message={words}")
    after = _listing(box, versions)
    added = [path for path in after if path not in before]
    if len(added) != 1 or any(after.get(path) != digest for path, digest in before.items()):
        raise ToolFault(f"autogenerate was to write one file under {versions[0]}; it wrote {added or 'none'}")
    data = box.read(added[0])
    try:
        text = (data or b"").decode("utf-8")
    except UnicodeDecodeError as error:
        raise ToolFault(f"autogenerate wrote {added[0]}, which is not UTF-8 text") from error
    return _Draft(migrator, added[0], text, known.heads[0] if known.heads else None)


def _expect_ok(done: Completed, command: str) -> None:
    if not done.ok:
        raise ToolRetry(f"`{command}` failed on an empty scratch database:\n{excerpt(done)}")


def _listing(box: Box, folders: tuple[str, ...]) -> dict[str, str]:
    """Path and SHA-256 of the files in the versions folders; ToolFault where the box put a link."""
    found: dict[str, str] = {}
    for folder in folders:
        parts = Path(folder).parts
        for depth in range(1, len(parts) + 1):
            if box.files.joinpath(*parts[:depth]).is_symlink():
                raise ToolFault(f"code in the sandbox replaced {folder} with a link")
        for place, inner, names in os.walk(box.files / folder):
            inner[:] = [name for name in inner if name != "__pycache__"]
            start = Path(place).relative_to(box.files).as_posix()
            for name in names:
                path = posixpath.join(start, name)
                found[path] = hashlib.sha256(box.read(path) or b"").hexdigest()
    return found


def _functions(path: str, text: str) -> dict[str, ast.FunctionDef]:
    try:
        compile(text, path, "exec")
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        raise ToolRetry(f"the draft {path} does not compile: {error}. It was:\n{text[:_SHOWN]}") from error
    found = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    if not {"upgrade", "downgrade"} <= set(found):
        raise ToolRetry(f"the draft {path} lacks upgrade() or downgrade(): correct script.py.mako")
    return found


def _keys(function: ast.FunctionDef) -> list[str]:
    """One line for each operation; inside a batch block with the block's head, which names the table."""
    return [key for node in effects(function) for key, _ in _operations(node)]


def _operations(node: ast.stmt) -> list[tuple[str, ast.stmt]]:
    if not isinstance(node, ast.With):
        return [(ast.unparse(node), node)]
    head = ", ".join(ast.unparse(item) for item in node.items)
    return [(f"with {head}: {ast.unparse(inner)}", inner) for inner in node.body]


def _without(path: str, text: str, baseline: Drift) -> str:
    """The draft less the operations of the baseline; a block or function that becomes empty gets `pass`."""
    lines = text.splitlines()
    functions = _functions(path, text)
    gone: set[int] = set()
    filled: dict[int, str] = {}
    for name, known in (("upgrade", baseline.upgrade), ("downgrade", baseline.downgrade)):
        kept = 0
        for node in effects(functions[name]):
            operations = _operations(node)
            drifted = [inner for key, inner in operations if key in known]
            for inner in [node] if len(drifted) == len(operations) else drifted:
                gone |= set(range(inner.lineno, (inner.end_lineno or inner.lineno) + 1))
            kept += len(operations) - len(drifted)
        if not kept:
            filled[functions[name].body[0].lineno] = "    pass"
    out = [filled.get(number) if number in gone else line for number, line in enumerate(lines, start=1)]
    return "\n".join(line for line in out if line is not None) + "\n"
