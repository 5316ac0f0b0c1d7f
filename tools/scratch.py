"""A SQLite database that this program made inside one box: the only thing that migrations are tried on."""

import contextlib
import dataclasses
import json
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from backend_crew.tools import sample_rows
from backend_crew.tools.errors import ToolFault
from backend_crew.tools.facts import Bookkeeping, DatabaseFacts
from backend_crew.tools.migrators.protocol import SQLITE, Script
from backend_crew.tools.process import Completed
from backend_crew.tools.sandbox import Box, Limits
from backend_crew.tools.sqlite import facts, opened, reading, snapshot

SCRATCH = ".rehearsal"  # a folder of the box; the repository never has it
# One name for rehearsing and for applying: code that could tell the two apart could behave for the rehearsal.
DATABASE = f"{SCRATCH}/rehearsal.sqlite3"
_BESIDE = ("-wal", "-journal")
_SCRIPT = f"{SCRATCH}/script.json"
# A pending transaction would be committed by executescript, so each transaction is one text.
_EXECUTOR = """
import json, sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
for segment in json.load(open(sys.argv[2])):
    try:
        sql = segment["sql"]
        database.executescript("BEGIN IMMEDIATE;\\n" + sql + "\\n;COMMIT;" if segment["transactional"] else sql)
    except (sqlite3.Error, sqlite3.Warning) as error:
        sys.exit(f"{type(error).__name__}: {error}")
"""


@dataclass(frozen=True)
class SqliteScratch:
    """One box with one SQLite file in it. Made once in each box, so that nothing that ran before lies beside it."""

    box: Box
    private: Path  # a folder outside the box for copies that trusted code reads
    limits: Limits = field(default_factory=Limits)
    stop: Callable[[], bool] | None = None

    @property
    def dialect(self) -> str:
        """SQLITE."""
        return SQLITE

    def create(self) -> None:
        """Makes it empty, by the box, so that its user owns it."""
        self.box.put(DATABASE, b"")

    def load(self, source: Path) -> None:
        """Makes it with what one file of our own holds, as `save` and `snapshot` leave it: whole, and open nowhere."""
        self.create()
        shutil.copyfile(source, self.box.files / DATABASE)

    def save(self, target: Path) -> None:
        """Copies what it holds, in one file, to `target`; ToolFault when it is gone."""
        with self._outside() as found:
            if found is None:
                raise ToolFault("the scratch database is gone: the code that ran in the sandbox removed it")
            snapshot(found, target)

    def url(self, driver: str | None = None) -> str:
        """The SQLAlchemy URL of the file as the box sees it."""
        return f"{driver if (driver or '').startswith('sqlite') else 'sqlite'}:///{self._path}"

    def parts(self) -> Mapping[str, str]:
        """NAME for Django's DATABASES."""
        return {"NAME": str(self._path)}

    def run(self, argv: tuple[str, ...], *, env: Mapping[str, str] | None = None, cwd: str = ".") -> Completed:
        """Runs a command of the migration tool in the box."""
        return self.box.run(argv, env=env, limits=self.limits, stop=self.stop, cwd=cwd)

    def execute(self, script: Script) -> Completed:
        """Runs SQL segment by segment with the box's Python alone, isolated from what lies around it."""
        self.box.put(_SCRIPT, json.dumps([dataclasses.asdict(one) for one in script.segments]).encode())
        at = self.box.layout.at
        return self.run((str(self.box.runtime.python), "-I", "-c", _EXECUTOR, str(self._path), str(at / _SCRIPT)))

    def facts(self, book: Bookkeeping) -> DatabaseFacts | None:
        """What it holds, read from outside the box; None when it is gone."""
        with self._outside() as found:
            if found is None:
                return None
            with reading(found) as connection:
                return facts(connection, book)

    def fill(self, book: Bookkeeping) -> Mapping[str, str]:
        """Puts made-up rows into its empty tables, on a copy outside that replaces it."""
        copy, clean = self.private / "filled", self.private / "filled-clean"
        self.save(copy)
        empty = sample_rows.fill(copy, book.tables)
        snapshot(copy, clean)
        self.box.put(DATABASE, clean.read_bytes())
        return empty

    @contextlib.contextmanager
    def _outside(self) -> Iterator[Path | None]:
        """A name outside the box for the very file, which is only read there; for a copy where something is to be undone."""
        at = self.private / "outside"
        file, *rest = (_regular(self.box.files, DATABASE + suffix) for suffix in ("", *_BESIDE))
        try:
            if file is not None and not any(rest):
                with contextlib.suppress(OSError):  # another disk, or a system that lets nobody link what is another's
                    at.hardlink_to(file)
            if file is not None and not at.exists():
                _copied(file, rest, at)
            yield at if file else None
        finally:
            for suffix in ("", *_BESIDE):
                Path(f"{at}{suffix}").unlink(missing_ok=True)

    @property
    def _path(self) -> Path:
        return self.box.layout.at / DATABASE


def limits_for(size: int) -> Limits:
    """Limits with room and time for a migration that rewrites every table of a database of `size` bytes."""
    usual = Limits()
    room = 4 * size
    return Limits(
        timeout_s=usual.timeout_s + size / 2**21,
        file_bytes=max(usual.file_bytes, room),
        disk_bytes=max(usual.disk_bytes, 2 * room),
    )


def _copied(file: Path, beside: Sequence[Path | None], target: Path) -> None:
    """Copies a database with what an interrupted write left beside it, and opens it once, which finishes or undoes that."""
    for source, suffix in ((file, ""), *zip(beside, _BESIDE, strict=True)):
        if source is not None:
            shutil.copyfile(source, f"{target}{suffix}")
    with opened(target):
        pass


def _regular(root: Path, rel: str) -> Path | None:
    """A regular file below `root` reached without links; the box's processes are gone, so looking first is enough."""
    path = root
    parts = rel.split("/")
    for index, part in enumerate(parts):
        path = path / part
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            return None
        wanted = stat.S_ISREG(mode) if index == len(parts) - 1 else stat.S_ISDIR(mode)
        if not wanted:
            raise ToolFault(f"code in the sandbox replaced {rel} with something that is not a plain file")
    return path
