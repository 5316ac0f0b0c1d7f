"""A PostgreSQL database that this program made, inside one box: the scratch on which migrations are rehearsed."""

import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backend_crew.tools import pg_facts, pg_rows
from backend_crew.tools.errors import ToolError, ToolFault, ToolRefused
from backend_crew.tools.facts import Bookkeeping, DatabaseFacts
from backend_crew.tools.migrators.protocol import POSTGRESQL, Script, Segment
from backend_crew.tools.pg_dumps import restore, save
from backend_crew.tools.pg_server import DATABASE, HOST, OWNER, PORT, READER, Server
from backend_crew.tools.postgres import Installation
from backend_crew.tools.process import Completed
from backend_crew.tools.sandbox import Box, Limits
from backend_crew.tools.sql_statements import split

_GONE = f'database "{DATABASE}" does not exist'
_NO_TABLE = re.compile(r'relation ".*" does not exist|schema ".*" does not exist')


@dataclass
class PostgresScratch:
    """`Scratch` of PostgreSQL; the repository's code gets a role that owns the database and is no superuser."""

    server: Server
    #: Where names without a schema are looked for, as SQL; a restored database brings its own.
    search_path: str = "public"
    # What migration tools asked so far: it comes along with the facts, because every session costs a start of the server.
    _asked: list[str] = field(default_factory=list, repr=False)

    @classmethod
    def of(
        cls,
        box: Box,
        installation: Installation,
        *,
        limits: Limits | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> "PostgresScratch":
        """The scratch of a box that has the programs in it: its runtime is what `Installation.mounted` gives."""
        return cls(Server(box, installation, limits or Limits(), stop))

    def create(self) -> None:
        """Makes it anew and empty. Raises ToolFault where no server can be run."""
        self.server.make()
        self.search_path = "public"

    def load(self, source: Path) -> None:
        """Makes it anew with what `save`, or a copy of the person's database, wrote. Raises ToolFault with the reason."""
        self.create()
        self.search_path = restore(self.server, source)

    def save(self, target: Path) -> None:
        """Writes what it holds to a file outside the box; ToolFault when it is gone."""
        save(self.server, target, self.search_path)

    @property
    def box(self) -> Box:
        """Where the tool runs."""
        return self.server.box

    @property
    def dialect(self) -> str:
        """POSTGRESQL."""
        return POSTGRESQL

    def url(self, driver: str | None = None) -> str:
        """As SQLAlchemy writes it; `driver` as in "postgresql+asyncpg"."""
        return f"{driver or POSTGRESQL}://{OWNER}:{self.server.passwords[OWNER]}@{HOST}:{PORT}/{DATABASE}"

    def parts(self) -> Mapping[str, str]:
        """The same for Django's DATABASES."""
        password = self.server.passwords[OWNER]
        return {"NAME": DATABASE, "USER": OWNER, "PASSWORD": password, "HOST": HOST, "PORT": str(PORT)}

    def run(self, argv: tuple[str, ...], *, env: Mapping[str, str] | None = None, cwd: str = ".") -> Completed:
        """Runs the tool's command with the server up. Raises ToolFault when the server does not start."""
        return self.server.run(argv, env=env, cwd=cwd)

    def execute(self, script: Script) -> Completed:
        """Runs SQL as the database's owner, segment by segment, until one fails.

        Raises ToolRefused for what only psql understands: it would be a command of the program, not SQL.
        """
        steps: list[str] = []
        for number, segment in enumerate(script.segments):
            check_sql(segment)
            file = self.server.put(f"segment{number}.sql", segment.sql)
            single = "--single-transaction" if segment.transactional else "--no-psqlrc"
            steps += [single, file]
        # One start of the server for all: $1 is psql, then pairs of a flag and a file.
        run = 'psql=$1; shift; while [ $# -gt 0 ]; do "$psql" -X -q -v ON_ERROR_STOP=1 "$1" -f "$2" || exit $?; shift 2; done'
        argv = ("/bin/sh", "-c", run, "sh", self.server.installation.program("psql"), *steps)
        return self.server.run(argv, env=self.server.login(OWNER))

    def facts(self, book: Bookkeeping) -> DatabaseFacts | None:
        """What it holds now; None when it is gone. Raises ToolFault when it cannot be read."""
        if not self._asked:
            with contextlib.suppress(ToolError):  # nothing was answered yet; what the real answers lead to comes below
                book.recorded(self._note)
        answers = self._tell(book)
        if answers is None:
            return None
        known = dict(zip(self._asked, (answers.asked.get(n, []) for n in range(len(self._asked))), strict=True))

        def ask(sql: str) -> list[tuple[Any, ...]]:
            if sql not in known:
                self._asked.append(sql)
                told = self._tell(book)
                known[sql] = told.asked.get(len(self._asked) - 1, []) if told else []
            return known[sql]

        return DatabaseFacts(book.recorded(ask), answers.schema, answers.tables, answers.broken)

    def fill(self, book: Bookkeeping) -> Mapping[str, str]:
        """Puts made-up rows into empty tables; returns the tables left empty and why."""
        server = self.server
        questions = server.psql(server.put("tables.sql", pg_rows.QUESTIONS), role=READER)
        _check(questions, "read the tables")
        tables = pg_rows.tables_of(questions.stdout, book.tables)
        done = server.psql(server.put("rows.sql", pg_rows.script(tables)), role=OWNER)
        if done.exit_code is None or done.exit_code == 2:
            raise ToolFault(f"could not generate rows for the rehearsal: {done.stderr.strip()[-500:] or 'stopped'}")
        return pg_rows.left_empty(done.stdout, tables)

    def _note(self, sql: str) -> list[tuple[Any, ...]]:
        """What will be asked, so that the first session answers it too."""
        if sql not in self._asked:
            self._asked.append(sql)
        return []

    def _tell(self, book: Bookkeeping) -> pg_facts.Told | None:
        server = self.server
        script = pg_facts.script(self._asked, self.search_path)
        done = server.psql(server.put("facts.sql", script), role=READER)
        if _GONE in done.stderr:
            return None
        _check(done, "read the migrated database")
        return pg_facts.read(done.stdout, book.tables)


def check_sql(segment: Segment) -> None:
    """Raises ToolRefused for SQL that no database could run as it stands: psql's commands, rows of COPY … FROM stdin."""
    for statement in split(segment.sql, POSTGRESQL):
        if statement.kind in {"meta", "rows"}:
            what = "a command of psql" if statement.kind == "meta" else "rows for COPY … FROM stdin"
            raise ToolRefused(
                f"line {statement.line} is {what} ({statement.text[:60]!r}), which only psql understands: write it as SQL"
            )


def _check(done: Completed, doing: str) -> None:
    """A missing table is an answer; whatever else went wrong is not."""
    faults = [line for line in done.stderr.splitlines() if "ERROR:" in line and not _NO_TABLE.search(line)]
    if not done.ok or faults or done.truncated:
        said = "\n".join(faults) or done.stderr.strip() or ("it took too long" if done.timed_out else "it was stopped")
        raise ToolFault(f"could not {doing}: {said[-500:]}")
