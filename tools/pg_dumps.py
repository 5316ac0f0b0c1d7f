"""One file a database: PostgreSQL's own archive behind a line that says what must be there before it can be restored."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from backend_crew.tools.errors import ToolFault
from backend_crew.tools.pg_server import ADMIN, DATABASE, FOLDER, LOADER, OWNER, READER, Server
from backend_crew.tools.process import Completed

#: What every archive is made with; nothing that speaks of a place outside the database.
_WITHOUT = (
    "--no-owner",
    "--no-comments",
    "--no-security-labels",
    "--no-tablespaces",
    "--no-publications",
    "--no-subscriptions",
)
DUMP = ("--format=custom", "--compress=0", "--lock-wait-timeout=10s", *_WITHOUT)
_RESTORE = """
psql=$1 before=$2 after=$3; shift 3
sql() { "$psql" -X -q -v ON_ERROR_STOP=1 -f "$1"; }
sql "$before" && "$@" && sql "$after"
"""
_ARCHIVE = "dump"
_LIMIT = 1024**3
_LISTED = 64 * 1024**2  # of the list of an archive's entries
# What stands for itself: made before, by the superuser, or of no meaning without the outside world.
_SKIPPED = ("EXTENSION", "EVENT TRIGGER", "PUBLICATION", "SUBSCRIPTION", "USER MAPPING", "COMMENT")
_OURS = frozenset((ADMIN, OWNER, READER, LOADER))


@dataclass(frozen=True)
class Needs:
    """What an archive needs: the version of PostgreSQL that wrote it, (extension, schema) pairs, roles, search path."""

    version: str
    extensions: tuple[tuple[str, str], ...] = ()
    roles: tuple[str, ...] = ()
    search_path: tuple[str, ...] = ("public",)


#: One JSON value with the parts of `Needs` that a database tells about itself.
QUESTION = """SELECT json_build_object(
  'extensions', coalesce((SELECT json_agg(json_build_array(e.extname, n.nspname) ORDER BY e.oid)
    FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
    WHERE e.extname <> 'plpgsql'), '[]'),
  'roles', coalesce((SELECT json_agg(DISTINCT r.rolname) FROM pg_catalog.pg_shdepend d
    JOIN pg_catalog.pg_roles r ON r.oid = d.refobjid
    WHERE d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND d.dbid = (SELECT oid
      FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())), '[]'),
  'search_path', coalesce(array_to_json(pg_catalog.current_schemas(false)), '[]'))"""


def write(target: Path, needs: Needs, archive: Path) -> None:
    """Puts the line in front of an archive."""
    with target.open("wb") as file, archive.open("rb") as source:
        file.write(json.dumps(asdict(needs)).encode() + b"\n")
        while block := source.read(1024**2):
            file.write(block)


def needs_of(version: str, told: dict[str, Any]) -> Needs:
    """From the answer to `QUESTION`."""
    return _needs({"version": version, **told})


def save(server: Server, target: Path, search_path: str) -> None:
    """What the scratch database holds, to a file outside the box. Raises ToolFault when it cannot be read."""
    asked = server.put("needs.sql", f"SET search_path = {search_path};\n{QUESTION};\n")
    # Both in one start of the server.
    run = '"$1" -X -q -A -t -v ON_ERROR_STOP=1 -f "$3" && shift 3 && exec "$@"'
    dump = (server.installation.program("pg_dump"), *DUMP, "--file", server.place(_ARCHIVE), DATABASE)
    words = ("sh", server.installation.program("psql"), "", asked, *dump)
    done = server.run(("/bin/sh", "-c", run, *words), env=server.login(ADMIN), role=ADMIN)
    _check(done, "the scratch database could not be saved")
    archive = server.box.read(f"{FOLDER}/{_ARCHIVE}", _LIMIT)
    if archive is None:
        raise ToolFault("the scratch database could not be saved: pg_dump wrote nothing")
    needs = needs_of(server.installation.version, json.loads(done.stdout))
    target.write_bytes(json.dumps(asdict(needs)).encode() + b"\n" + archive)


def restore(server: Server, source: Path) -> str:
    """Fills a new scratch database from such a file; returns its search path as SQL.

    Raises ToolFault, before anything is restored, for an extension that is not here, and with PostgreSQL's words for
    whatever fails.
    """
    header, _, archive = source.read_bytes().partition(b"\n")
    needs = _needs(json.loads(header))
    server.box.put(f"{FOLDER}/{_ARCHIVE}", archive)
    server.put("entries", "".join(f"{entry}\n" for entry in _entries(server, needs)))
    before = server.put("before.sql", "\n".join(_before(needs)))
    after = server.put("after.sql", "\n".join(_after(needs)))
    programs = server.installation
    restoring = (programs.program("pg_restore"), "--exit-on-error", "--single-transaction", *_WITHOUT, f"--role={LOADER}",
                 f"--use-list={server.place('entries')}", f"--dbname={DATABASE}", server.place(_ARCHIVE))  # fmt: skip
    words = ("sh", programs.program("psql"), before, after, *restoring)
    done = server.run(("/bin/sh", "-c", _RESTORE, *words), env=server.login(ADMIN), role=ADMIN)
    server.put(_ARCHIVE, "")
    _check(done, "the copy of the database could not be restored")
    return _path(needs)


def _entries(server: Server, needs: Needs) -> list[str]:
    """What of the archive to restore. ToolFault for an extension that this PostgreSQL does not have."""
    asked = server.put("available.sql", "SELECT name FROM pg_available_extensions;\n")
    run = '"$1" -X -q -A -t -v ON_ERROR_STOP=1 -f "$2" && echo && exec "$3" --list "$4"'
    programs = server.installation
    words = ("sh", programs.program("psql"), asked, programs.program("pg_restore"), server.place(_ARCHIVE))
    done = server.run(("/bin/sh", "-c", run, *words), env=server.login(ADMIN), role=ADMIN, output_bytes=_LISTED)
    _check(done, "the copy of the database cannot be read")
    available, _, listed = done.stdout.partition("\n\n")
    if missing := [name for name, _ in needs.extensions if name not in available.split("\n")]:
        more = f" (also {', '.join(missing[1:])})" if missing[1:] else ""
        raise ToolFault(
            f"extension {missing[0]} is not available in the rehearsal's PostgreSQL {programs.version}{more}. "
            "Install it on this machine for a PostgreSQL of your server's version."
        )
    made = {"public", *(schema for _, schema in needs.extensions)}
    return [line for line in listed.split("\n") if re.match(r"\d+; ", line) and not _skipped(line, made)]


def _skipped(line: str, made: set[str]) -> bool:
    """A line of pg_restore's list: number; catalog oid KIND schema name owner."""
    kind = re.sub(r"^\d+; \d+ \d+ ", "", line)
    if kind.startswith("SCHEMA - "):
        return any(kind.startswith(f"SCHEMA - {name} ") for name in made)
    return kind.startswith(tuple(f"{name} " for name in _SKIPPED))


def _before(needs: Needs) -> Iterator[str]:
    # It makes what only a superuser may make, and all of it changes hands afterwards.
    yield f"CREATE ROLE {LOADER} SUPERUSER;"
    for role in needs.roles:
        # Whoever owns all of it could become each of them.
        yield f"CREATE ROLE {_quoted(role)}; GRANT {_quoted(role)} TO {OWNER};"
    for schema in sorted({schema for _, schema in needs.extensions} - {"public", "pg_catalog"}):
        yield f"CREATE SCHEMA {_quoted(schema)} AUTHORIZATION {LOADER};"
    for extension, schema in needs.extensions:
        yield f"CREATE EXTENSION IF NOT EXISTS {_quoted(extension)} SCHEMA {_quoted(schema)} CASCADE;"


def _after(needs: Needs) -> Iterator[str]:
    yield f"REASSIGN OWNED BY {LOADER} TO {OWNER}; DROP OWNED BY {LOADER}; DROP ROLE {LOADER};"
    yield f"ALTER ROLE {OWNER} IN DATABASE {DATABASE} SET search_path = {_path(needs)};"


def _path(needs: Needs) -> str:
    return ", ".join(_quoted(name) for name in needs.search_path) or "public"


def _needs(value: Mapping[str, Any]) -> Needs:
    roles = tuple(sorted(name for name in value["roles"] if name not in _OURS and not name.startswith("pg_")))
    extensions = tuple((str(name), str(schema)) for name, schema in value["extensions"])
    return Needs(str(value["version"]), extensions, roles, tuple(value["search_path"]))


def _check(done: Completed, what: str) -> None:
    if not done.ok:
        said = "it took too long" if done.timed_out else done.stderr.strip()[-600:] or "it was stopped"
        raise ToolFault(f"{what}: {said}")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
