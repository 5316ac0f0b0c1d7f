"""Safety cases 46 to 48, 57 to 59 and 62, and the breaks of Alembic on SQLite: nothing migrates past the gate."""

import re
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import driving
import pytest
import quiet  # noqa: F401  # first: it quiets the import of crewai
import scenario
from approved import Approved, approved, ask, change, naively, notes, upgrade
from places import facts, scratch

from backend_crew.tools import testrun
from backend_crew.tools.alembic import graph, manifest
from backend_crew.tools.alembic_draft import find_drift, make_migration
from backend_crew.tools.errors import ToolRetry
from backend_crew.tools.migrations import detect
from backend_crew.tools.runtime import find_runtime
from backend_crew.tools.sandbox import NoSandbox, Sandbox, find_sandbox
from backend_crew.tools.sqlite import opened

VERSIONS = "migrations/versions"
UP = "def upgrade() -> None:\n"
TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    found = find_sandbox()
    if isinstance(found, NoSandbox):
        pytest.skip(found.reason)
    return found


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(scenario.ENV, "")


def with_statements(*lines: str) -> dict[str, str]:
    """The scenario's migration, which first does something else."""
    return {scenario.MIGRATION: scenario.SECOND.replace(UP, UP + "".join(f"    {line}\n" for line in lines), 1)}


# -- 46 to 48: tests that migrate ----------------------------------------------------------------------------------


def both_ways(stand: driving.Stand, sandbox: Sandbox) -> Iterator[str]:
    """The repository's tests in the product's box, then by hand; says which it was, and the tests passed."""
    runtime = find_runtime(stand.repo, python=Path(sys.executable))
    command = testrun.find_command(stand.repo, runtime)
    assert command is not None
    done = testrun.run_tests(sandbox, stand.repo, stand.repo, runtime, command)
    assert done.status == "passed", done.output_tail
    yield "box"
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    bare = subprocess.run(argv, cwd=stand.repo, capture_output=True, text=True, check=False)
    assert bare.returncode == 0, bare.stdout
    yield "bare"


def test_case_46_conftest_migrates_the_repository_s_sqlite_database(tmp_path: Path, sandbox: Sandbox) -> None:
    database = tmp_path / "notes" / "notes.db"
    conftest = f"""
import os, subprocess, sys
for url in ("sqlite:///{database}", "sqlite:///notes.db"):
    subprocess.run([sys.executable, "-m", "alembic", "upgrade", "head"], env={{**os.environ, "{scenario.ENV}": url}})
"""
    files = {**scenario.FILES, scenario.MIGRATION: scenario.SECOND, "conftest.py": conftest}
    stand = driving.stand(tmp_path, files)
    before = database.read_bytes()
    ways = both_ways(stand, sandbox)
    assert next(ways) == "box"
    assert database.read_bytes() == before
    assert next(ways) == "bare"
    assert stand.revision == "0002"


# What a PostgreSQL client sends first, and then the migration itself; as no driver is needed, none has to be there.
CLIENT = """
import contextlib, socket, struct
def message(kind, body):
    return kind + struct.pack("!i", len(body) + 4) + body
start = message(b"", struct.pack("!i", 196608) + b"user\\0postgres\\0database\\0notes\\0\\0")
with contextlib.suppress(OSError), socket.socket(socket.{family}) as client:
    client.settimeout(5)
    client.connect({address!r})
    client.sendall(start + message(b"Q", b"ALTER TABLE notes ADD archived boolean\\0"))
"""


@contextmanager
def postgres(family: socket.AddressFamily, address: str | tuple[str, int]) -> Iterator[tuple[object, list[bytes]]]:
    """A listener where a PostgreSQL would be: its address, and everything that it was sent, one item a connection."""
    heard: list[bytes] = []

    def listen() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                heard.append(connection.makefile("rb").read())

    with socket.socket(family) as server:
        server.bind(address)
        server.listen()
        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield server.getsockname(), heard
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def _migrates_postgres(folder: Path, sandbox: Sandbox, family: str, address: str | tuple[str, int]) -> None:
    with postgres(socket.AddressFamily[family], address) as (where, heard):
        conftest = CLIENT.format(family=family, address=where)
        stand = driving.stand(folder, {**scenario.FILES, "conftest.py": conftest})
        ways = both_ways(stand, sandbox)
        assert next(ways) == "box"
        assert heard == []
        assert next(ways) == "bare"
    (sent,) = heard  # complete: the listener has ended
    assert b"user\0postgres\0database\0notes\0" in sent
    assert b"ALTER TABLE notes" in sent


def test_case_47_a_test_migrates_a_postgresql_by_its_socket(tmp_path: Path, sandbox: Sandbox) -> None:
    with tempfile.TemporaryDirectory() as short:  # the path of a socket has at most 107 bytes
        _migrates_postgres(tmp_path, sandbox, "AF_UNIX", f"{short}/.s.PGSQL.5432")


def test_case_48_a_test_migrates_a_postgresql_by_tcp(tmp_path: Path, sandbox: Sandbox) -> None:
    _migrates_postgres(tmp_path, sandbox, "AF_INET", ("127.0.0.1", 0))


# -- 57 to 59: what a migration hides ------------------------------------------------------------------------------


def test_case_57_listing_migrations_runs_none_of_their_modules(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    effect = f"\nopen({str(ran)!r}, 'a').write('ran')\n"
    files = {**scenario.FILES, scenario.MIGRATION: scenario.SECOND + effect}
    files["migrations/env.py"] += effect
    files["app/models.py"] += effect
    stand = driving.stand(tmp_path, files)
    (tool,) = detect(stand.repo)
    assert graph(stand.repo, tool).heads == ("0002",)
    assert scenario.MIGRATION in dict(manifest(stand.repo, tool))
    stand.crew()  # a run is started: the repository is looked at and cloned
    assert not ran.exists()
    upgrade(stand.repo, "history", **{scenario.ENV: "sqlite://"})
    assert ran.read_text() == "ran"  # the revision alone; `alembic upgrade` would run all three


HIDDEN = with_statements(
    'words = [chr(code - 1) for code in (69, 83, 80, 81, 33, 85, 66, 67, 77, 70, 33, 111, 112, 117, 102, 116)]',
    'op.get_bind().exec_driver_sql("ALTER TABLE notes RENAME TO gone")',
    'op.get_bind().exec_driver_sql("CREATE TABLE notes (id INTEGER PRIMARY KEY, text VARCHAR(200) NOT NULL)")',
    'op.get_bind().exec_driver_sql("".join(words).replace("notes", "gone"))',
)  # fmt: skip


def test_case_58_a_hidden_drop_is_shown_at_the_gate(tmp_path: Path) -> None:
    with approved(tmp_path, HIDDEN) as found:
        rehearsal = found.stand.payload("rehearse")
        assert rehearsal["status"] == "failed"
        assert "3 of 3 rows of notes are gone after the upgrade" in found.packet.text
        # The weak way looks for words in the text; and the rows are gone all the same.
        linted = re.search(r"drop|delete|truncate", HIDDEN[scenario.MIGRATION].split("def downgrade")[0], re.IGNORECASE)
        assert linted is None
        assert notes(naively(found.tree, found.database, tmp_path)) == 0


def test_case_58_a_drop_that_waits_for_the_day_of_applying_is_refused(tmp_path: Path) -> None:
    waiting = with_statements(
        'if op.get_bind().exec_driver_sql("SELECT count(*) FROM notes").scalar() > 3:',
        '    op.execute("DELETE FROM notes WHERE id > 1")',
    )
    with approved(tmp_path, waiting) as found:
        assert found.stand.payload("rehearse")["status"] == "passed"
        change(found.database, "INSERT INTO notes (text) VALUES ('written after the approval')")
        before = found.database.read_bytes()
        done = found.apply()
        assert done["status"] == "failed"
        assert "what the rehearsal did not show: 3 of 4 rows of notes are gone" in done["reason"]
        assert found.database.read_bytes() == before
        assert notes(naively(found.tree, found.database, tmp_path)) == 1


def test_case_58_a_migration_cannot_tell_applying_from_its_rehearsal(tmp_path: Path) -> None:
    """No control: the weak way would be another program, with a database of another name."""
    spy = with_statements(
        "import os, sys",
        "folder = os.path.dirname(str(op.get_bind().engine.url.database))",
        "seen = repr((sorted(os.environ.items()), os.getcwd(), sys.argv, sys.flags, sorted(os.listdir(folder))))",
        'op.execute("CREATE TABLE IF NOT EXISTS seen (what TEXT)")',
        'op.get_bind().exec_driver_sql("INSERT INTO seen VALUES (?)", (seen,))',
    )
    with approved(tmp_path, spy) as found:
        found.apply()
        rehearsed = found.stand.payload("rehearse")["steps"][0]["tables"]["seen"]
        with opened(found.database) as connection:
            applied = facts(connection).tables["seen"]
        assert applied.checksums == rehearsed["checksums"], ask(found.database, "SELECT * FROM seen")


def test_case_59_attach_vacuum_extensions_and_programs_reach_nothing_outside(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    other = scenario.make_database(outside / "other.db")
    (outside / "evil.so").write_bytes(b"not a library")
    escape = f"""\
    import contextlib, ctypes, sqlite3, subprocess
    memory = sqlite3.connect(":memory:")
    with contextlib.suppress(sqlite3.Error):
        memory.execute("ATTACH {str(other)!r} AS other")
        memory.execute("DELETE FROM other.notes")
        memory.commit()
    with contextlib.suppress(sqlite3.Error):
        memory.execute("VACUUM INTO {str(outside / "stolen.db")!r}")
    subprocess.run(["sh", "-c", "echo ran > {outside}/program"])
    memory.close()
    try:
        ctypes.CDLL({str(outside / "evil.so")!r})  # what load_extension does, which not every Python is built with
    except OSError as error:
        op.get_bind().exec_driver_sql("UPDATE notes SET text = ? WHERE id = 1", (str(error),))
"""
    migration = scenario.SECOND.replace(UP, UP + escape, 1)
    loaded = "SELECT text FROM notes WHERE id = 1"
    with approved(tmp_path / "work", {scenario.MIGRATION: migration}) as found:
        done = found.apply()
        assert done["status"] == "applied", done
        assert "No such file" in ask(found.database, loaded)[0][0]
        assert sorted(path.name for path in outside.iterdir()) == ["evil.so", "other.db"]
        assert notes(other) == 3
        scenario.make_database(tmp_path / "fresh.db")
        weak = naively(found.tree, tmp_path / "fresh.db", tmp_path)
    assert "No such file" not in ask(weak, loaded)[0][0]  # the linker opened it
    assert sorted(path.name for path in outside.iterdir()) == ["evil.so", "other.db", "program", "stolen.db"]
    assert notes(other) == 0


# -- 62: revisions that are not what they seem ---------------------------------------------------------------------


def not_applied(found: Approved, said: str) -> None:
    """The person's approval is kept, and nothing was run."""
    assert said in found.packet.text
    assert "nothing is applied by this run" in found.packet.text
    done = found.apply()
    assert (done["status"], said in done["reason"]) == ("approved, not applied", True), done
    assert (found.stand.revision, notes(found.database)) == ("0001", 3)


def test_case_62_two_heads_are_not_applied(tmp_path: Path) -> None:
    second = scenario.SECOND.replace('"0002"', '"0002b"').replace("archived", "pinned")
    with approved(tmp_path, {scenario.MIGRATION: scenario.SECOND, f"{VERSIONS}/0002b_pinned.py": second}) as found:
        not_applied(found, "there are 2 heads")
        with pytest.raises(ToolRetry, match="there are 2 heads"):
            graph(found.tree, detect(found.tree)[0])
        weak = tmp_path / "weak.db"
        scenario.make_database(weak)
        upgrade(found.tree, "upgrade", "heads", **{scenario.ENV: f"sqlite:///{weak}"})
    assert ask(weak, "SELECT * FROM alembic_version ORDER BY 1") == [("0002",), ("0002b",)]


def test_case_62_a_revision_id_that_is_computed_is_not_applied(tmp_path: Path) -> None:
    computed = with_statements('op.execute("DELETE FROM notes")')[scenario.MIGRATION]
    computed = computed.replace('revision = "0002"', 'revision = "0000".replace("0000", "0002")')
    with approved(tmp_path, {scenario.MIGRATION: computed}) as found:
        not_applied(found, "computes revision")
        assert notes(naively(found.tree, found.database, tmp_path)) == 0


# -- how Alembic breaks on SQLite ----------------------------------------------------------------------------------

BATCH = (
    'with op.batch_alter_table("notes") as batch:',
    """    batch.create_check_constraint("ck_notes_text", "text <> 'bad'")""",
)
BROKEN = {
    "batch mode": ('op.create_table("new", sa.Column("id", sa.Integer, primary_key=True))', *BATCH),
    "autocommit": (
        "with op.get_context().autocommit_block():",
        '    op.create_table("new", sa.Column("id", sa.Integer, primary_key=True))',
        *BATCH,
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_migration_that_fails_halfway_leaves_every_byte(tmp_path: Path, name: str) -> None:
    migration = with_statements(*BROKEN[name])[scenario.MIGRATION]
    back = 'def downgrade() -> None:\n    raise NotImplementedError("no way back")\n'
    with approved(tmp_path, {scenario.MIGRATION: migration.split("def downgrade")[0] + back}) as found:
        assert found.stand.payload("rehearse")["status"] == "passed"
        change(found.database, "INSERT INTO notes (text) VALUES ('bad')")
        before = found.database.read_bytes()
        done = found.apply()
        assert (done["status"], "CHECK constraint failed" in done["reason"]) == ("failed", True), done
        assert found.database.read_bytes() == before
        assert list(found.database.parent.glob("notes.db?*")) == []
        weak = tmp_path / "weak.db"
        weak.write_bytes(before)
        failed = upgrade(found.tree, "upgrade", "head", **{scenario.ENV: f"sqlite:///{weak}"})
    assert failed.returncode != 0
    assert {"_alembic_tmp_notes", "new"} <= {table for (table,) in ask(weak, TABLES)}
    assert ask(weak, "SELECT * FROM alembic_version") == [("0001",)]


def test_applying_leaves_no_table_that_autogenerate_would_drop(tmp_path: Path) -> None:
    models = scenario.MODELS + scenario.COLUMN
    with approved(tmp_path, {scenario.MIGRATION: scenario.SECOND, "app/models.py": models}) as found:
        assert found.apply()["status"] == "applied"
        assert ask(found.database, TABLES) == [("alembic_version",), ("notes",)]
        where = {scenario.ENV: f"sqlite:///{found.database}"}
        assert upgrade(found.tree, "check", **where).returncode == 0
        # a program that keeps its own record in the database
        change(found.database, "CREATE TABLE ledger (id INTEGER PRIMARY KEY)")
        weak = upgrade(found.tree, "check", **where)
    assert weak.returncode != 0
    assert "remove_table" in weak.stdout + weak.stderr


def test_drift_that_was_there_before_is_not_dropped_by_a_draft(tmp_path: Path, sandbox: Sandbox) -> None:
    legacy = 'op.create_table("legacy", sa.Column("id", sa.Integer, primary_key=True))'
    first = scenario.FIRST.replace(UP, f"{UP}    {legacy}\n", 1)
    mako = '"""${message}"""\n\nimport sqlalchemy as sa\nfrom alembic import op\n\nrevision = ${repr(up_revision)}\n'
    mako += "down_revision = ${repr(down_revision)}\n\n\ndef upgrade() -> None:\n    ${upgrades}\n\n\n"
    mako += "def downgrade() -> None:\n    ${downgrades}\n"
    files = {**scenario.FILES, f"{VERSIONS}/0001_notes.py": first, "migrations/script.py.mako": mako}
    repo = driving.stand(tmp_path, files).repo
    (tool,), env = detect(repo), {scenario.ENV: ""}
    with scratch(sandbox, repo, tmp_path / "drift") as made_up:
        drift = find_drift(made_up, tool, database_env=env)
    (repo / "app/models.py").write_text(scenario.MODELS + scenario.COLUMN)
    texts: list[str] = []
    for baseline in (drift, None):
        with scratch(sandbox, repo, tmp_path / f"draft-{len(texts)}") as made_up:
            made = make_migration(
                made_up, tool, message="archived", rev_id="feed01", database_env=env, baseline=baseline
            )
            texts.append(made.text)
    assert "archived" in texts[0]
    assert "legacy" not in texts[0]
    assert "op.drop_table('legacy')" in texts[1]  # the weak way: without the drift of before
