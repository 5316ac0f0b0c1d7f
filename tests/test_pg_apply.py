"""Approved SQL reaches a person's PostgreSQL once, or not at all, and what was not approved never does."""

import dataclasses
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pg_applying
import postgres_server
import psycopg
import pytest
from pg_applying import BLOCKS, CONCURRENT, COUNTED, COUNTING, MOVED, OLD, Case, case, objects, one, run, scalar

from backend_crew.tools import pg_survey
from backend_crew.tools.errors import ToolError, ToolFault, ToolRefused
from backend_crew.tools.migrators.protocol import Script, Segment
from backend_crew.tools.pg_apply import NO_BACKUP
from backend_crew.tools.pg_identity import lock_key
from backend_crew.tools.pg_steps import steps_of

Server = postgres_server.Server
TWICE = "INSERT INTO users VALUES (4, 'a@example.org', 'Ann')"


@contextmanager
def held(url: str, statement: str) -> Iterator[psycopg.Connection]:
    """A session that keeps the locks of a statement."""
    with psycopg.connect(url) as connection:
        connection.execute(statement.encode())
        yield connection
        connection.rollback()


def test_it_is_applied_once_and_leaves_nothing_of_ours(postgres: Server, tmp_path: Path) -> None:
    script = one("CREATE TABLE orders (id int, note text DEFAULT '100% -- ; ''x''');", "INSERT INTO orders VALUES (1);")
    this = case(postgres, tmp_path, script)
    before = objects(this.url)
    applied = this.apply()
    assert (applied.start, applied.goal, applied.steps, applied.already) == (("a",), ("b",), 1, False)
    assert scalar(this.url, "SELECT note FROM orders") == "100% -- ; 'x'"
    assert {str(each) for each in objects(this.url)} - {str(each) for each in before} == {"('orders',)"}
    again = this.apply()
    assert (again.already, again.steps) == (True, 0)
    this.notes.path.unlink()
    assert this.apply().already, "the database itself tells, without any notes"
    assert scalar(this.url, "SELECT count(*) FROM orders") == 1
    assert "pg_dump" in NO_BACKUP


def test_another_database_or_place_is_refused(postgres: Server, tmp_path: Path) -> None:
    this, other = case(postgres, tmp_path), case(postgres, tmp_path, use="other")
    with pytest.raises(ToolRefused, match="another database"):
        Case(other.url, this.approved, this.notes).apply()
    run(this.url, "UPDATE alembic_version SET version_num = 'z'")
    with pytest.raises(ToolRefused, match=r"is at z, and the approval was for a database at a; nothing was applied"):
        this.apply()
    run(this.url, "DROP TABLE alembic_version")
    with pytest.raises(ToolRefused, match="is at no revision"):
        this.apply()
    assert scalar(this.url, "SELECT n FROM counter") == scalar(other.url, "SELECT n FROM counter") == 0


def test_a_standby_is_refused(postgres: Server, tmp_path: Path) -> None:
    this = case(postgres, tmp_path)
    with postgres_server.running(standby=True) as server:
        url = server.url()
        approved = dataclasses.replace(this.approved, identity=pg_applying.identity_of(url))
        with pytest.raises(ToolRefused, match="standby"):
            Case(url, approved, this.notes).apply()


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (one("SELECT 1;", "COMMIT;", "SELECT 2;"), "COMMIT.*ends a transaction"),
        (one("ROLLBACK AND CHAIN;"), "ends a transaction"),
        (one("PREPARE TRANSACTION 'x';"), "ends a transaction"),
        (one("\\! id"), "psql only"),
        (one("COPY users FROM stdin;\n4\tx\ty\n\\.\n"), "psql only"),
        (Script((Segment("BEGIN;", transactional=False),)), "ends a transaction"),
        (Script((Segment("-- nothing\n"),)), "no statement"),
    ],
)
def test_what_would_leave_its_transaction_is_refused(
    postgres: Server, tmp_path: Path, script: Script, words: str
) -> None:
    this = case(postgres, tmp_path, script, digest="x")
    with pytest.raises(ToolRefused, match=words):
        this.apply()
    assert this.state == (0, "a")
    assert not this.notes.path.exists()


def test_savepoints_and_blocks_are_not(postgres: Server, tmp_path: Path) -> None:
    script = one(
        "UPDATE counter SET n = 1;",
        "SAVEPOINT s;",
        COUNTED,
        "ROLLBACK TO s;",
        "DO $$ BEGIN UPDATE counter SET n = 5; END $$;",
    )
    this = case(postgres, tmp_path, script, digest=pg_applying.rehearsed(postgres, COUNTING))
    this.apply()
    assert this.state == (5, "b")


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("ALTER TABLE users ALTER name SET NOT NULL;", r"'ALTER TABLE users.*contains null values"),
        ("SELECT 1/0;", "division by zero"),
        ("SELCT 1;", "syntax error"),
        ("VACUUM users;", "cannot run inside a transaction block"),
        ("DO $$ BEGIN COMMIT; END $$;", "invalid transaction termination"),
        (
            "ALTER TABLE users ADD boss int REFERENCES users DEFERRABLE INITIALLY DEFERRED; UPDATE users SET boss = 9;",
            r"'COMMIT'.*foreign key",
        ),
    ],
)
def test_a_failing_migration_leaves_nothing(postgres: Server, tmp_path: Path, broken: str, words: str) -> None:
    digest = None if "boss" not in broken else pg_applying.rehearsed(postgres, one("ALTER TABLE users ADD boss int;"))
    this = case(postgres, tmp_path, one(COUNTED, broken), digest=digest or "x")
    with pytest.raises(ToolRefused, match=rf"{words}.*nothing was applied"):
        this.apply()
    assert this.state == (0, "a")


def test_locks_and_long_statements_end_in_plain_words(postgres: Server, tmp_path: Path) -> None:
    this = case(postgres, tmp_path, one(COUNTED, "ALTER TABLE users ADD age int;", "SELECT pg_sleep(0.4);"))
    with (
        held(this.url, "SELECT 1 FROM users"),
        pytest.raises(ToolFault, match=r"ALTER TABLE users.*waited 0.05 s for a lock"),
    ):
        this.apply(lock_s=0.05)
    with (
        held(this.url, "UPDATE alembic_version SET version_num = 'a'"),
        pytest.raises(ToolFault, match="LOCK TABLE alembic"),
    ):
        this.apply(lock_s=0.05)
    with held(this.url, "LOCK TABLE users"), pytest.raises(ToolFault, match="counting rows"):
        this.apply(lock_s=0.05)
    with pytest.raises(
        ToolFault, match=r"pg_sleep.*statement timeout.*limit is 0.2 s a statement.*nothing was applied"
    ):
        this.apply(statement_s=0.2)
    with (
        held(this.url, f"SELECT pg_advisory_lock({lock_key(this.approved.identity)})"),
        pytest.raises(ToolFault, match=r"another apply to .* has been running for 0.05 s"),
    ):
        this.apply(apply_s=0.05)
    assert this.state == (0, "a")
    assert not this.apply().already


def test_a_deadlock_is_no_refusal(postgres: Server, tmp_path: Path) -> None:
    change = "UPDATE users SET name = 'x' WHERE id = {};"
    this = case(postgres, tmp_path, one(COUNTED, change.format(1), change.format(2)))
    caught: list[ToolError] = []

    def work() -> None:
        try:
            this.apply()
        except ToolError as error:
            caught.append(error)

    with held(this.url, change.format(2)) as other:
        thread = threading.Thread(target=work)
        thread.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        until(lambda: scalar(this.url, waiting) == 1)
        other.execute(change.format(1).encode())  # whoever waited first gives way
        thread.join()
    assert [type(each) for each in caught] == [ToolFault]
    assert "deadlock detected" in str(caught[0])
    assert "nothing was applied. Apply again" in str(caught[0])
    assert this.apply().steps == 1


def test_stopping_is_asked_before_each_step(postgres: Server, tmp_path: Path) -> None:
    this = case(postgres, tmp_path)
    with pytest.raises(ToolRefused, match="stopped; nothing was applied"):
        this.apply(stop=lambda: True)
    assert this.state == (0, "a")


def test_another_schema_than_rehearsed_is_rolled_back(postgres: Server, tmp_path: Path) -> None:
    this = case(postgres, tmp_path, one(COUNTED, "CREATE TABLE IF NOT EXISTS orders (id int);"))
    run(this.url, "CREATE TABLE orders (id text)")
    with pytest.raises(ToolRefused, match=r"would have another schema.*nothing was applied"):
        this.apply()
    assert this.state == (0, "a")


def test_a_script_that_ends_elsewhere_is_rolled_back(postgres: Server, tmp_path: Path) -> None:
    this = case(postgres, tmp_path, Script((Segment(COUNTED),)))
    with pytest.raises(ToolRefused, match="ends at a instead of b; nothing was applied"):
        this.apply()
    assert this.state == (0, "a")


LOSING = {
    "DELETE FROM users WHERE id > 1;": "N of N rows of users are gone after the upgrade",
    "TRUNCATE users;": "N of N rows of users are gone after the upgrade",
    "DROP TABLE users;": "table users is dropped with N rows",
    "ALTER TABLE users DROP name;": "column users.name is dropped: N values gone, and a downgrade brings none back",
    "UPDATE users SET name = NULL;": "N of N values of users.name are gone after the upgrade",
    "ALTER TABLE users ALTER name TYPE int USING NULL;": "N of N values of users.name are gone after the upgrade",
    "DROP TABLE side.kept;": "table side.kept is dropped with N rows",
}
SIDE = "CREATE SCHEMA side; CREATE TABLE side.kept (id int); INSERT INTO side.kept VALUES (1);"


@pytest.mark.parametrize(
    ("statement", "kind", "large"),
    # Values within a large table are not counted.
    [(*case, large) for case in LOSING.items() for large in (False, True) if not (large and "NULL" in case[0])],
)
def test_a_loss_that_was_not_shown_is_rolled_back(
    postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, statement: str, kind: str, large: bool
) -> None:
    if large:
        monkeypatch.setattr(pg_survey, "LARGE_BYTES", 0)
    this = case(postgres, tmp_path, one(COUNTED, statement), setup=OLD + SIDE)
    with pytest.raises(ToolRefused, match=r"what the rehearsal did not show: .*; nothing was applied"):
        this.apply()
    assert this.state == (0, "a")
    shown = dataclasses.replace(this.approved, shown=frozenset({kind}))
    assert Case(this.url, shown, this.notes).apply().steps == 1
    assert this.state == (1, "b")


@pytest.mark.parametrize(
    ("statements", "shown"),
    [
        (("ALTER TABLE users RENAME TO people;", "ALTER TABLE people RENAME name TO label;"), ()),
        (("CREATE TABLE twin AS TABLE users;", "DROP TABLE users;", "ALTER TABLE twin RENAME TO users;"), ()),
        (("CREATE TABLE twin AS TABLE users;", "DROP TABLE users;"), ("table users became twin, with its N rows",)),
        (("ALTER TABLE users ALTER id TYPE bigint;", "UPDATE users SET name = 'x';"), ()),
        (("CREATE TEMP TABLE t AS TABLE users;", "DELETE FROM users;", "INSERT INTO users TABLE t;"), ()),
    ],
)
def test_what_is_renamed_or_rebuilt_is_no_loss(
    postgres: Server, tmp_path: Path, statements: tuple[str, ...], shown: tuple[str, ...]
) -> None:
    digest = pg_applying.rehearsed(postgres, one(*statements))
    this = case(postgres, tmp_path, one(*statements), shown=frozenset(shown), digest=digest)
    assert this.apply().steps == 1


@pytest.mark.parametrize("ours", [False, True])
def test_what_others_do_meanwhile_is_told_from_what_we_do(postgres: Server, tmp_path: Path, ours: bool) -> None:
    """Another session deletes and adds rows while the migration runs; only our own deletions count."""
    take = "DELETE FROM users WHERE id = 3;" if ours else "UPDATE users SET name = 'x' WHERE id = 3;"
    script = one("SELECT pg_advisory_xact_lock(1);", take)
    this = case(postgres, tmp_path, script)
    caught: list[ToolError] = []

    def work() -> None:
        try:
            this.apply()
        except ToolError as error:
            caught.append(error)

    with held(this.url, "SELECT pg_advisory_lock(1)"):
        thread = threading.Thread(target=work)
        thread.start()
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = current_database()"
        until(lambda: scalar(this.url, waiting) == 1)
        change = (
            "INSERT INTO users SELECT i, 'x' FROM generate_series(10, 20) i"
            if ours
            else "DELETE FROM users WHERE id < 3"
        )
        run(this.url, change)
    thread.join()
    assert [str(each) for each in caught if "1 of 3 rows of users are gone" not in str(each)] == []
    assert bool(caught) is ours


def until(condition: object) -> None:
    """Waits for something that has to happen."""
    assert callable(condition)
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_segments_outside_transactions_are_applied_in_order(postgres: Server, tmp_path: Path) -> None:
    this = case(postgres, tmp_path, BLOCKS)
    assert this.apply().steps == 3
    assert this.state == (2, "b")
    assert this.apply().already
    assert [step.alone for step in steps_of(BLOCKS)] == ["", "index", ""]


def test_a_failed_concurrent_index_is_named_with_its_remedy(postgres: Server, tmp_path: Path) -> None:
    script = Script(
        (Segment(COUNTED), Segment("CREATE UNIQUE INDEX CONCURRENTLY ix ON users (email);", False), Segment(MOVED))
    )
    this = case(postgres, tmp_path, script)
    run(this.url, TWICE)
    with pytest.raises(ToolRefused, match="duplicated") as raised:
        this.apply()
    remedy = "DROP INDEX CONCURRENTLY public.ix;"
    assert remedy in str(raised.value)
    assert "the first 1 of its steps took effect and stay; to go back: alembic downgrade a" in str(raised.value)
    run(this.url, "DELETE FROM users WHERE id = 4")
    with pytest.raises(ToolRefused, match=r"INVALID.*apply again") as raised:
        this.apply()
    assert remedy in str(raised.value)
    run(this.url, remedy)
    assert this.apply().steps == 2
    assert this.state == (1, "b")


INDEXES = [
    "CREATE INDEX CONCURRENTLY ix ON users (email)",
    "CREATE INDEX CONCURRENTLY ON public.users (email)",
    "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS ix ON ONLY \"users\" USING btree (lower(email), name DESC) WHERE id > 0 AND name <> 'é'",
    "create index concurrently ix on users using hash (email) with (fillfactor = 70)",
]


@pytest.mark.parametrize("statement", INDEXES)
def test_an_index_that_an_interrupted_try_built_is_taken_as_built(
    postgres: Server, tmp_path: Path, statement: str
) -> None:
    this = case(postgres, tmp_path, Script((Segment(statement + ";", False), Segment(COUNTED + MOVED))))
    run(this.url, statement)
    before = objects(this.url)
    this.notes.before(0, json.dumps({"statement": statement, "from": ["a"], "to": ["a"]}))
    assert this.apply().steps == 1
    assert this.state == (1, "b")
    assert objects(this.url) == before


def test_another_index_of_the_name_is_refused(postgres: Server, tmp_path: Path) -> None:
    this = case(postgres, tmp_path, BLOCKS)
    run(this.url, "CREATE INDEX ix_email ON users (lower(email))")
    with pytest.raises(ToolRefused, match=r"another index public.ix_email \(btree \(lower\(email\)\)"):
        this.apply()


@pytest.mark.parametrize(
    ("statement", "effect", "resumes"),
    [
        ('DROP INDEX CONCURRENTLY IF EXISTS public."Old 2" RESTRICT;', 'DROP INDEX "Old 2"', True),
        ('DROP INDEX CONCURRENTLY public."Old 2";', 'DROP INDEX "Old 2"', True),
        ('DROP INDEX CONCURRENTLY public."Old 2";', "SELECT 1", True),
        ("VACUUM users;", "VACUUM users", True),
        ("CALL counting();", "CALL counting()", False),
    ],
)
def test_other_interrupted_statements(
    postgres: Server, tmp_path: Path, statement: str, effect: str, resumes: bool
) -> None:
    setup = OLD + (
        'CREATE INDEX old ON users (name); CREATE INDEX "Old 2" ON users (id);'
        "CREATE PROCEDURE counting() LANGUAGE sql AS 'UPDATE counter SET n = n + 1';"
    )
    this = case(postgres, tmp_path, Script((Segment(statement, False), Segment(MOVED))), setup=setup)
    run(this.url, effect)
    this.notes.before(0, json.dumps({"statement": statement, "from": ["a"], "to": ["a"]}))
    if resumes:
        assert this.apply().goal == ("b",)
        return
    with pytest.raises(ToolRefused, match=r"interrupted at|does not exist"):
        this.apply()
    assert this.state[1] == "a"


def test_plain_statements_of_an_untransactional_segment_get_one_each(postgres: Server, tmp_path: Path) -> None:
    script = Script(
        (Segment(f"SET work_mem = '5MB'; {COUNTED} SELECT 1/(3 - n) FROM counter; {COUNTED} {MOVED}", False),)
    )
    this = case(postgres, tmp_path, script)
    run(this.url, "UPDATE counter SET n = 2")
    with pytest.raises(ToolRefused, match=r"division by zero.*the first 2 of its steps took effect"):
        this.apply()
    run(this.url, "UPDATE counter SET n = 0")
    assert this.apply().steps == 3
    assert this.state == (1, "b")


def test_the_last_step_outside_a_transaction_is_checked_too(postgres: Server, tmp_path: Path) -> None:
    script = Script((Segment(MOVED), Segment(CONCURRENT, False)))
    this = case(postgres, tmp_path, script, digest="another")
    with pytest.raises(ToolFault, match=r"has another schema.*to go back: alembic downgrade a"):
        this.apply()
    with pytest.raises(ToolFault, match="has another schema"):
        this.apply()


def test_a_step_whose_end_cannot_be_told_is_left_to_a_person(postgres: Server, tmp_path: Path) -> None:
    this = case(postgres, tmp_path, BLOCKS)
    this.notes.before(0, json.dumps({"xid": "99999999", "from": ["a"], "to": ["a"]}))
    with pytest.raises(ToolRefused, match="does not tell any more whether it was committed"):
        this.apply()
    assert this.state == (0, "a")


def test_a_lost_connection_is_explained_and_applying_again_finishes(postgres: Server, tmp_path: Path) -> None:
    this = case(
        postgres,
        tmp_path,
        one(COUNTED, "SELECT pg_terminate_backend(pg_backend_pid()) FROM counter WHERE n < 10;"),
        digest=pg_applying.rehearsed(postgres, COUNTING),
    )
    with pytest.raises(ToolFault, match=r"connection was lost.*apply again"):
        this.apply()
    assert this.state == (0, "a")
    run(this.url, "UPDATE counter SET n = 10")
    assert this.apply().steps == 1


def test_a_role_with_few_rights_can_apply(postgres: Server, tmp_path: Path) -> None:
    this = case(postgres, tmp_path, one("ALTER TABLE users ADD age int;"), setup=OLD + SIDE)
    role = this.approved.identity.name
    run(this.url, f"CREATE ROLE \"{role}\" LOGIN PASSWORD 'x'", f"ALTER TABLE users OWNER TO \"{role}\"",
        f"GRANT SELECT, UPDATE ON alembic_version TO \"{role}\"")  # fmt: skip
    plain = Case(f"postgresql://{role}:x@127.0.0.1:{postgres.port}/{role}", this.approved, this.notes)
    run(this.url, f'GRANT SELECT ON counter TO "{role}"')
    assert plain.apply().steps == 1


@pytest.mark.parametrize("script", ["COUNTING", "BLOCKS"])
def test_a_kill_at_any_point_leaves_what_the_next_try_finishes(postgres: Server, tmp_path: Path, script: str) -> None:
    """The child forks one victim a point, which kills itself there, and applies again in its place."""
    tests = Path(__file__).parent
    found = getattr(pg_applying, script)
    digest = pg_applying.rehearsed(postgres, found)
    this = case(postgres, tmp_path, found, digest=digest)
    done = subprocess.run(
        [sys.executable, str(tests / "pg_kill_child.py"), this.url, digest, script, str(this.notes.path)],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert len(results) > 25
    counted = 1 if script == "COUNTING" else 2
    assert {tuple(each["end"]) for each in results} == {(counted, "b")}
    between = {tuple(each["killed"]) for each in results}
    assert between == ({(0, "a"), (1, "b")} if script == "COUNTING" else {(0, "a"), (1, "a"), (2, "b")})


def test_a_kill_in_a_long_statement_frees_the_database(postgres: Server, tmp_path: Path) -> None:
    this = case(
        postgres,
        tmp_path,
        one(COUNTED, "SELECT pg_sleep(600 * n) FROM knob;"),
        setup=OLD + "CREATE TABLE knob (n int);",
    )
    run(this.url, "INSERT INTO knob VALUES (1)")
    code = "import sys; sys.path.insert(0, sys.argv[1]); import pg_kill_child; pg_kill_child.once(*sys.argv[2:])"
    arguments = [str(Path(__file__).parent), this.url, this.approved.schema, str(this.notes.path)]
    child = subprocess.Popen(
        [sys.executable, "-c", code, *arguments, json.dumps([this.approved.script.segments[0].sql])]
    )
    sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
    until(lambda: scalar(this.url, sleeping) == 1)
    child.kill()
    child.wait()
    run(this.url, "UPDATE knob SET n = 0")
    assert this.apply().steps == 1
    assert this.state == (1, "b")
