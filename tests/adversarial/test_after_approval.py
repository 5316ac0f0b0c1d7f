"""Safety cases 49 to 56, 60 and 61: whatever changes between a person's approval and the apply, nothing else is applied."""

import functools
import os
import py_compile
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import quiet  # noqa: F401  # first: it quiets the import of crewai
import scenario
from approved import Approved, approved, ask, change, naively, notes, upgrade
from places import migrator, place

from backend_crew.crew.model import Status, Stop
from backend_crew.tools import apply, git
from backend_crew.tools.alembic import manifest
from backend_crew.tools.migrations import detect
from backend_crew.tools.rehearsal import rehearse
from backend_crew.tools.sandbox import find_sandbox

CHANGED = "the files or the database changed after they were approved"
VERSIONS = "migrations/versions"
#: What the attacker wants, as a statement of a migration and as one of any module.
WIPE = '    op.execute("DELETE FROM notes")\n'
WIPE_ANYWHERE = f"""
import os, sqlite3
_connection = sqlite3.connect(os.environ["{scenario.ENV}"].removeprefix("sqlite:///"))
with _connection:
    _connection.execute("DELETE FROM notes")
_connection.close()
"""
HOSTILE = scenario.SECOND.replace("def upgrade() -> None:\n", f"def upgrade() -> None:\n{WIPE}")
THIRD = HOSTILE.replace('"0001"', '"PARENT"').replace('"0002"', '"0003"').replace("PARENT", "0002")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Approved]:
    """One approved run for the attacks that are refused: a refusal leaves nothing behind."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(scenario.ENV, "")
        with approved(tmp_path_factory.mktemp("shared")) as found:
            yield found


@pytest.fixture
def run(shared: Approved) -> Iterator[Approved]:
    """The shared run, with its tree put back afterwards."""
    yield shared
    shared.put_back()


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(scenario.ENV, os.environ.get(scenario.ENV, ""))


def refused(run: Approved) -> None:
    """The product's side of a case: nothing is applied, and why is said."""
    done = run.apply()
    assert (done["status"], CHANGED in done["reason"]) == ("refused", True), done
    assert run.stand.revision == "0001"
    assert notes(run.database) == 3


def when_compared(monkeypatch: pytest.MonkeyPatch, attack: Callable[[], None]) -> None:
    """The worst moment: everything was compared, and the approved commit is just about to be written out."""
    real = git.export

    def export(clone: git.Clone, sha: str, folder: Path) -> None:
        attack()
        real(clone, sha, folder)

    monkeypatch.setattr(git, "export", export)


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


def test_case_49_env_py_edited_after_approval(run: Approved, tmp_path: Path) -> None:
    append(run.tree / "migrations/env.py", WIPE_ANYWHERE)
    refused(run)
    assert notes(naively(run.tree, run.database, tmp_path)) == 0


def test_case_50_migration_edited_after_approval(run: Approved, tmp_path: Path) -> None:
    (run.tree / scenario.MIGRATION).write_text(HOSTILE)
    refused(run)
    assert notes(naively(run.tree, run.database, tmp_path)) == 0


def test_case_51_migration_added_after_approval(run: Approved, tmp_path: Path) -> None:
    (run.tree / VERSIONS / "0003_more.py").write_text(THIRD.replace("op.add_column(", "print("))
    refused(run)
    assert notes(naively(run.tree, run.database, tmp_path)) == 0


def compiled(tree: Path, path: str, text: str) -> None:
    """Bytecode that Python runs in place of the source at `path`, without comparing the two."""
    source = tree / path
    honest = source.read_text()
    source.write_text(text)
    py_compile.compile(str(source), doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    source.write_text(honest)


def test_case_51_bytecode_beside_the_approved_source_is_not_run(tmp_path: Path) -> None:
    shop = Path(shutil.copytree(Path(__file__).parents[1] / "data" / "alembic_shop", tmp_path / "shop"))
    path = f"{VERSIONS}/a002_orders.py"
    text = (shop / path).read_text()
    wiped = text.replace("    op.create_table(", '    op.execute("DROP TABLE users")\n    op.create_table(', 1)
    compiled(shop, path, wiped)
    assert dict(manifest(shop, detect(shop)[0])).keys() == {  # the bytecode is in nobody's list of files
        "alembic.ini", "migrations/env.py", "migrations/script.py.mako", "shop/__init__.py", "shop/models.py",
        f"{VERSIONS}/a001_users.py", path,
    }  # fmt: skip
    found = rehearse(place(find_sandbox(), shop), migrator(shop))
    assert (found.status, set(found.steps[0].tables)) == ("passed", {"orders", "users"}), found
    weak = tmp_path / "weak.sqlite3"
    upgrade(shop, DATABASE_URL=f"sqlite:///{weak}")
    assert ask(weak, "SELECT name FROM sqlite_master WHERE name IN ('users', 'orders')") == [("orders",)]


def test_case_52_migration_removed_after_approval(run: Approved, tmp_path: Path) -> None:
    (run.tree / scenario.MIGRATION).unlink()
    refused(run)
    # Alembic finds nothing to do and calls that success.
    assert ask(naively(run.tree, run.database, tmp_path), "SELECT * FROM alembic_version") == [("0001",)]


def test_case_53_migration_swapped_for_a_link_after_it_was_hashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path / "outside.py"
    outside.write_text(HOSTILE)
    with approved(tmp_path / "work") as found:

        def swap() -> None:
            (found.tree / scenario.MIGRATION).unlink()
            (found.tree / scenario.MIGRATION).symlink_to(outside)

        before = manifest(found.tree, detect(found.tree)[0])
        weak = Path(shutil.copyfile(found.database, tmp_path / "weak.sqlite3"))
        assert manifest(found.tree, detect(found.tree)[0]) == before  # the weak way: compare, then run what is there
        swap()
        upgrade(found.tree, **{scenario.ENV: f"sqlite:///{weak}"})
        assert notes(weak) == 0
        found.put_back()
        when_compared(monkeypatch, swap)
        assert found.apply()["status"] == "applied"
        assert (found.tree / scenario.MIGRATION).is_symlink()
    assert (found.stand.revision, notes(found.database)) == ("0002", 3)


def test_case_54_database_url_swapped_in_the_env_file_leads_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(scenario.ENV, "")
    other = scenario.make_database(tmp_path / "production.db", notes=9)
    with approved(tmp_path / "work") as found:
        for folder in (found.stand.repo, found.tree):
            (folder / ".env").write_text(f"{scenario.ENV}=sqlite:///{other}\n")
        assert found.apply()["status"] == "applied"
        assert (found.stand.revision, ask(other, "SELECT * FROM alembic_version")) == ("0002", [("0001",)])
        # the weak way: a program that loads the repository's settings before it migrates
        values = dict(line.split("=", 1) for line in (found.tree / ".env").read_text().splitlines())
        upgrade(found.tree, **values)
    assert ask(other, "SELECT * FROM alembic_version") == [("0002",)]


def test_case_54_database_url_swapped_in_the_environment_is_refused(
    run: Approved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = scenario.make_database(tmp_path / "production.db")
    monkeypatch.setenv(scenario.ENV, f"sqlite:///{other}")
    refused(run)
    assert ask(other, "SELECT * FROM alembic_version") == [("0001",)]
    upgrade(run.tree, **{scenario.ENV: os.environ[scenario.ENV]})
    assert ask(other, "SELECT * FROM alembic_version") == [("0002",)]


def test_case_55_script_location_swapped_after_approval(run: Approved, tmp_path: Path) -> None:
    shutil.copytree(run.tree / "migrations", run.tree / "elsewhere")
    (run.tree / "elsewhere" / Path(scenario.MIGRATION).relative_to("migrations")).write_text(HOSTILE)
    ini = run.tree / "alembic.ini"
    ini.write_text(ini.read_text().replace("= migrations", "= elsewhere"))
    refused(run)
    assert notes(naively(run.tree, run.database, tmp_path)) == 0


def test_case_55_a_url_in_alembic_ini_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(scenario.ENV, "")
    other = scenario.make_database(tmp_path / "production.db")
    env = scenario.ENV_PY.replace(f'os.environ["{scenario.ENV}"]', 'context.config.get_main_option("sqlalchemy.url")')
    ini = f"{scenario.FILES['alembic.ini']}sqlalchemy.url = sqlite:///{other}\n"
    with approved(tmp_path / "work", files={**scenario.FILES, "migrations/env.py": env, "alembic.ini": ini}) as found:
        assert found.apply()["status"] == "applied"
        assert (found.stand.revision, ask(other, "SELECT * FROM alembic_version")) == ("0002", [("0001",)])
        naively(found.tree, found.database, tmp_path)
    assert ask(other, "SELECT * FROM alembic_version") == [("0002",)]


def test_case_56_imported_model_edited_after_approval(run: Approved, tmp_path: Path) -> None:
    folder = {path.name: path.read_bytes() for path in (run.tree / "migrations").rglob("*.py")}
    append(run.tree / "app/models.py", WIPE_ANYWHERE)
    refused(run)
    # whoever hashes the migrations folder alone sees no change, and the rows are gone
    assert {path.name: path.read_bytes() for path in (run.tree / "migrations").rglob("*.py")} == folder
    assert notes(naively(run.tree, run.database, tmp_path)) == 0


def test_case_60_database_replaced_by_a_rename_after_approval(run: Approved, tmp_path: Path) -> None:
    kept = run.database.rename(run.database.with_name("kept.db"))
    try:
        scenario.make_database(run.database)
        refused(run)
        # The path is the same, and so is the revision.
        assert ask(naively(run.tree, run.database, tmp_path), "SELECT * FROM alembic_version") == [("0002",)]
    finally:
        kept.replace(run.database)


OTHER_SCHEMA = "CREATE TABLE payments (id INTEGER PRIMARY KEY, cents INTEGER); INSERT INTO payments VALUES (1, 900);"


def _renamed(run: Approved) -> None:
    run.database.rename(run.database.with_name("kept.db"))
    scenario.make_database(run.database)


def _copied_over(run: Approved) -> None:
    other = scenario.make_database(run.database.with_name("other.db"))
    change(other, OTHER_SCHEMA)
    run.database.write_bytes(other.read_bytes())  # the same inode


@pytest.mark.parametrize(
    ("replace", "said"), [(_renamed, "is another file than the one"), (_copied_over, "made another schema")]
)
def test_case_60_database_replaced_at_the_last_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replace: Callable[[Approved], None], said: str
) -> None:
    monkeypatch.setenv(scenario.ENV, "")
    with approved(tmp_path / "work") as found:
        when_compared(monkeypatch, functools.partial(replace, found))
        done = found.apply()
        assert (done["status"], said in done["reason"]) == ("failed", True), done
        assert found.stand.revision == "0001"
        assert ask(naively(found.tree, found.database, tmp_path), "SELECT * FROM alembic_version") == [("0002",)]


STAMP = "UPDATE alembic_version SET version_num = '0002'"


def test_case_61_version_stamped_by_hand_after_approval(run: Approved, tmp_path: Path) -> None:
    change(run.database, STAMP)
    try:
        done = run.apply()
        assert (done["status"], CHANGED in done["reason"]) == ("refused", True), done
        # The weak way trusts the version: Alembic ends well, and the column is not there.
        weak = naively(run.tree, run.database, tmp_path)
        assert ask(weak, "SELECT * FROM alembic_version") == [("0002",)]
        assert "archived" not in ask(weak, "SELECT sql FROM sqlite_master WHERE name = 'notes'")[0][0]
    finally:
        change(run.database, STAMP.replace("0002", "0001"))


def test_case_61_version_stamped_by_hand_after_an_interruption_is_not_taken_for_applied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(scenario.ENV, "")
    with approved(tmp_path / "work") as found:

        def die(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(apply, "apply_sqlite", die)
            with pytest.raises(KeyboardInterrupt):
                found.apply()
        change(found.database, STAMP)
        done = found.apply()
        assert (done["status"], CHANGED in done["reason"]) == ("refused", True), done
        assert found.stand.revision == "0002"  # what a check of the version alone would have called applied


def test_stopping_before_the_swap_uses_no_approval_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with approved(tmp_path) as case:
        before = case.database.read_bytes()
        keep = apply._keep

        def interrupted(*given: Any) -> Path:
            case.session.stop.set(Stop(Status.INTERRUPTED, "Ctrl-C"))
            return keep(*given)

        monkeypatch.setattr(apply, "_keep", interrupted)
        case.apply()
        (decision,) = [one for one in case.session.journal.decisions(case.session.id) if one.gate == "migrations"]
        begun = case.session.journal.intent(case.session.id, "apply", decision.hash)
        assert begun is not None and begun[0] == "begun", "whoever resumes the run takes it up"
        assert case.database.read_bytes() == before
