"""All cases, and the guard asked about one of them."""

import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from migrations.alembic_cases import ALEMBIC
from migrations.cases import Case, Verdict
from migrations.django_cases import DJANGO
from migrations.sql_pg_cases import SQL_POSTGRESQL
from migrations.sql_sqlite_cases import SQL_SQLITE

from backend_crew.tools.guard import Asked, Guarded, guard
from backend_crew.tools.migrations import detect
from backend_crew.tools.runtime import find_runtime
from backend_crew.tools.sandbox import Sandbox
from backend_crew.tools.scratches import Place
from backend_crew.tools.sources import SqliteSource

CORPUS: Sequence[Case] = (*SQL_SQLITE, *SQL_POSTGRESQL, *ALEMBIC, *DJANGO)


def judge(case: Case, sandbox: Sandbox, folder: Path) -> Guarded:
    """What the guard says of a case, on a repository and perhaps a database made in `folder`."""
    root = case.lay(folder / "repo")
    for path, text in case.files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    (tool,) = detect(root)
    source = None
    if case.live:
        with closing(sqlite3.connect(folder / "live.sqlite3")) as database:
            database.executescript(case.live)
        source = SqliteSource(folder / "live.sqlite3")
    place = Place(sandbox, root, root, find_runtime(root, python=Path(sys.executable)))
    return guard(place, root, tool, Asked(uncommitted=tuple(case.files), source=source))


def told(found: Guarded, verdict: Verdict) -> bool:
    """Whether a verdict is what the guard said, with its reason; an error's reason has to be an error."""
    if found.status != verdict.status:
        return False
    errors = [one for one in found.findings if one.severity == "error" or verdict.status == "clean"]
    said = [found.reason, *(one.text for one in errors)]
    rules = {one.rule for one in errors}
    return verdict.because in rules or any(verdict.because in text for text in said)
