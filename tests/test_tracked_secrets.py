"""A repository whose `.env` and database file are tracked in git: no command and no agent gets to see them."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import scenario
from driving import Stand
from places import migrator, place, scratch
from scenario import Script, call, submit, use

from backend_crew.crew.embed import Failed
from backend_crew.crew.recording import ToolCall
from backend_crew.tools import alembic_draft, git, migrations, rehearsal, search, stack, syntax, testrun
from backend_crew.tools.deny import is_read_denied
from backend_crew.tools.errors import ToolRefused
from backend_crew.tools.runtime import Runtime, find_runtime
from backend_crew.tools.sandbox import NoSandbox, Sandbox, find_sandbox
from backend_crew.tools.workspace import ReadOnly, Workspace

MARK = "hunter2-of-the-person"
SECRETS = (
    ".env",
    "config/.env.production",
    "notes.db",
    "data/shop.sqlite3",
    "data/shop.sqlite3-wal",
    "certs/server.key",
)
# Imported with the application, by its tests and by its migrations: it fails wherever it can see a secret.
LOOK = f"""\
import os
for folder, _, names in os.walk(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))):
    for name in names:
        path = os.path.join(folder, name)
        if ".rehearsal" in path or name.startswith(".report"):
            continue
        with open(path, "rb") as file:
            if b"{MARK[:8]}" b"{MARK[8:]}" in file.read():
                raise RuntimeError("seen: " + path)
"""
TEMPLATE = '''"""${message}"""
import sqlalchemy as sa
from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    ${upgrades}


def downgrade() -> None:
    ${downgrades}
'''
FILES = {
    **scenario.FILES,
    "migrations/script.py.mako": TEMPLATE,
    "app/__init__.py": LOOK,
    "tests/test_look.py": "import app\n\n\ndef test_nothing_is_seen() -> None:\n    assert app\n",
    ".gitignore": "__pycache__/\n",
    **dict.fromkeys(SECRETS, f"DATABASE_URL=postgres://ann:{MARK}@live/db\n"),
}


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    found = find_sandbox()
    assert not isinstance(found, NoSandbox), found
    return found


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scenario.make_repository(tmp_path_factory.mktemp("tracked") / "notes", FILES)


@pytest.fixture(scope="module")
def clone(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> git.Clone:
    """The private tree, in which everything that git tracks is checked out."""
    into = tmp_path_factory.mktemp("run")
    made = git.clone(git.inspect(repo), into, include_dirty=False, denied=lambda path: is_read_denied(path) is not None)
    assert set(SECRETS) <= set(git.tracked(made)), "or this file shows nothing"
    assert all(MARK in (made.tree / name).read_text() for name in SECRETS)
    return made


@pytest.fixture(scope="module")
def runs(repo: Path) -> Runtime:
    return find_runtime(repo, python=Path(sys.executable))


@pytest.fixture
def naive(clone: git.Clone, tmp_path: Path) -> Iterator[Path]:
    """The weak control: a copy as anybody would make it."""
    yield Path(shutil.copytree(clone.tree, tmp_path / "naive"))


def test_no_copy_holds_them(sandbox: Sandbox, clone: git.Clone, repo: Path, runs: Runtime, naive: Path) -> None:
    assert all((naive / name).is_file() for name in SECRETS)
    for ignore in (None, lambda rel: False, lambda rel: rel == "tests"):
        with sandbox.box(clone.tree, repo, runs, ignore=ignore) as box:
            there = {path.relative_to(box.files).as_posix() for path in box.files.rglob("*") if path.is_file()}
        assert "app/models.py" in there
        assert not there & set(SECRETS)


def test_tests_and_checks_do_not_see_them(
    sandbox: Sandbox, clone: git.Clone, repo: Path, runs: Runtime, naive: Path
) -> None:
    command = testrun.TestCommand((sys.executable, "-m", "pytest", "tests/test_look.py"), "pytest", "x:1")
    run = testrun.run_tests(sandbox, clone.tree, repo, runs, command)
    assert run.status == "passed", run.output_tail
    check = testrun.run_check(sandbox, clone.tree, repo, runs, (sys.executable, "-c", "import app"))
    assert check.status == "passed", check.output_tail
    assert syntax.check_files(sandbox, clone.tree, repo, runs, ["app/__init__.py", "app/models.py"]) == ()
    from backend_crew.tools.process import run as plainly

    seen = plainly((sys.executable, "-c", "import app"), cwd=naive, env={})
    assert "RuntimeError: seen" in seen.stderr, "the control: without the sandbox the code sees them"


def test_migrations_do_not_see_them(
    sandbox: Sandbox, clone: git.Clone, repo: Path, runs: Runtime, tmp_path: Path
) -> None:
    (tool,) = migrations.detect(clone.tree)
    alembic = migrator(clone.tree, scenario.ENV, {scenario.ENV: ""})
    done = rehearsal.rehearse(place(sandbox, clone.tree, repo, runs), alembic, before=())
    assert done.status == "passed", done.reason
    with scratch(sandbox, clone.tree, tmp_path / "scratch", repo) as made_up:
        models = (clone.tree / "app/models.py").read_text() + scenario.COLUMN
        made_up.box.put("app/models.py", models.encode())
        made = alembic_draft.make_migration(
            made_up, tool, message="archived", rev_id="0002", database_env={scenario.ENV: ""}
        )
    assert "archived" in made.text


def test_agents_cannot_read_list_or_find_them(clone: git.Clone) -> None:
    assert MARK in (clone.tree / ".env").read_text(), "the control: the file is there"
    files = Workspace(clone.tree, ReadOnly())
    for name in SECRETS:
        with pytest.raises(ToolRefused):
            files.read(name)
    assert not set(SECRETS) & set(files.list(limit=1000))
    assert not [hit.path for hit in search.search(clone.tree, MARK[:8], literal=True) if hit.path in SECRETS]
    assert search.search(clone.tree, MARK, literal=True) == ()
    assert not [fact for fact in stack.detect(clone.tree) if MARK in fact.quote or fact.path in SECRETS]


@pytest.mark.slow
def test_an_agent_that_tries_is_refused_and_nothing_reaches_the_model(tmp_path: Path) -> None:
    steps = scenario.happy()
    steps["analyse"] = [
        use(call("list_files"), *(call("read_file", path=name) for name in SECRETS[:2])),
        use(call("search", pattern="hunter2", literal=True), call("search", pattern="ann:", glob=".env")),
        use(call("git_log", path=".env"), ToolCall("find_symbol", '{"name": "DATABASE_URL"}')),
        submit(has_backend=False, overview="Nothing more to see.", findings=[]),
    ]
    repo = scenario.make_repository(tmp_path / "notes", FILES)
    stand = Stand(repo, repo / "notes.db", tmp_path / "home", Script(steps))
    assert isinstance(stand.kickoff(database_env=None), Failed)
    told = "\n".join(str(message) for turn in stand.script.seen for message in turn.messages)
    assert "app/models.py" in told, "the control: what it may see reached it"
    assert "an environment file, which holds secrets" in told
    assert MARK not in told
    assert len([one for one in stand.events("tool refused") if one["tool"] == "read_file"]) == 2
