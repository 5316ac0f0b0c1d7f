"""The revision graph, what applying would execute, and drafts made in the sandbox."""

import shutil
import sys
from pathlib import Path

import pytest
from places import scratch

from backend_crew.tools.alembic import graph, manifest
from backend_crew.tools.alembic_draft import find_drift, make_migration
from backend_crew.tools.errors import ToolRefused, ToolRetry
from backend_crew.tools.migrations import MigrationTool, detect
from backend_crew.tools.runtime import Runtime, find_runtime
from backend_crew.tools.sandbox import NoSandbox, Sandbox, find_sandbox

SHOP = Path(__file__).parent / "data" / "alembic_shop"
VERSIONS = "migrations/versions"
REVISION = 'revision = "{id}"\ndown_revision = {down}\ndef upgrade():\n    {up}\ndef downgrade():\n    {back}\n'
NAME = "    name: Mapped[str | None] = mapped_column(String(80))\n"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHOP, tmp_path / "shop"))


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    found = find_sandbox()
    if isinstance(found, NoSandbox):
        pytest.skip(found.reason)
    return found


@pytest.fixture
def runtime(shop: Path) -> Runtime:
    return find_runtime(shop, python=Path(sys.executable))


def tool_of(root: Path) -> MigrationTool:
    return detect(root)[0]


def add(root: Path, name: str, down: str | None, *, up: str = "op.x()", back: str = "op.y()") -> str:
    """A revision file whose body never runs; returns its path."""
    path = f"{VERSIONS}/{name}.py"
    (root / path).write_text(REVISION.format(id=name, down=repr(down), up=up, back=back))
    return path


def test_the_graph_is_read_in_order_without_running_it(shop: Path) -> None:
    add(shop, "a003", "a002", back="pass")
    add(shop, "a004", "a003", back='raise NotImplementedError("no way back")')
    (shop / VERSIONS / "a004.py").write_text(
        (shop / VERSIONS / "a004.py").read_text() + f"\nopen({str(shop / 'ran')!r}, 'w')\n"
    )
    found = graph(shop, tool_of(shop))
    assert [file.revision for file in found.files] == ["a001", "a002", "a003", "a004"]
    assert (found.heads, found.empty_downgrades, found.irreversible) == (
        ("a004",),
        frozenset({"a003"}),
        frozenset({"a004"}),
    )
    assert [file.revision for file in found.ahead_of(("a002",))] == ["a003", "a004"]
    assert found.before([f"{VERSIONS}/a003.py", f"{VERSIONS}/a004.py"]) == ("a002",)
    assert not (shop / "ran").exists()


def test_a_merge_revision_has_two_parents(shop: Path) -> None:
    add(shop, "b003", "a002")
    add(shop, "c003", "a002")
    (shop / VERSIONS / "d004.py").write_text(
        REVISION.format(id="d004", down='("b003", "c003")', up="pass", back="pass")
    )
    found = graph(shop, tool_of(shop))
    assert (found.heads, found.files[-1].parents) == (("d004",), ("b003", "c003"))
    assert found.empty_downgrades == frozenset()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('revision = "z" + "1"\ndown_revision = "a002"\ndef upgrade(): ...', "computes revision"),
        ('revision = "z"\nif True:\n    down_revision = "a002"\ndef upgrade(): ...', "not set exactly once"),
        ('revision = "z"\nrevision = "y"\ndown_revision = "a002"\ndef upgrade(): ...', "not set exactly once"),
        ('revision = "z"\ndef upgrade(): ...', "down_revision is not set"),
        ('revision = "z"\ndown_revision = "gone"\ndef upgrade(): ...', "'gone'"),
        ('revision = "a001"\ndown_revision = "a002"\ndef upgrade(): ...', "both have revision"),
        ('revision = "z"\ndown_revision = "a001"\ndef upgrade(): ...', "2 heads"),
        ('revision = "z"\ndown_revision = "z"\ndef upgrade(): ...', "follows itself"),
        ('revision = "z"\ndown_revision = "a002"\n', "no upgrade()"),
        ("def upgrade(:", "does not parse"),
        ("x = 1", "down_revision is not set"),
    ],
)
def test_what_cannot_be_read_is_named(shop: Path, text: str, said: str) -> None:
    (shop / VERSIONS / "z.py").write_text(text)
    with pytest.raises(ToolRetry) as caught:
        graph(shop, tool_of(shop))
    assert said in str(caught.value)
    assert "z.py" in str(caught.value)


def test_the_manifest_covers_what_env_imports(shop: Path) -> None:
    tool = tool_of(shop)
    before = dict(manifest(shop, tool))
    assert set(before) == {
        "alembic.ini", "migrations/env.py", "migrations/script.py.mako", "shop/__init__.py", "shop/models.py",
        f"{VERSIONS}/a001_users.py", f"{VERSIONS}/a002_orders.py",
    }  # fmt: skip
    (shop / "shop/models.py").write_text((shop / "shop/models.py").read_text() + "\nimport shop.prices\n")
    (shop / "shop/prices.py").write_text("from .rates import RATE\n")
    (shop / "shop/rates.py").write_text("RATE = 1\n")
    (shop / "unused").mkdir()
    (shop / "unused/far.py").write_text("")
    after = dict(manifest(shop, tool))
    assert set(after) - set(before) == {"shop/prices.py", "shop/rates.py"}
    changed = {path for path in before if before[path] != after[path]}
    assert changed == {"shop/models.py"}
    # The weak way, hashing the migrations folder, does not see it.
    assert not any(path.startswith("migrations/") for path in changed)


@pytest.mark.parametrize("line", ["import importlib, os\nimportlib.import_module(os.environ['M'])",
                                  "import pkgutil", "exec('import far')", "import sys\nsys.path.append('unused')",
                                  "from pathlib import Path\nPath('unused/far.py').read_text()"])  # fmt: skip
def test_code_that_hides_what_it_uses_puts_the_whole_repository_in_the_manifest(shop: Path, line: str) -> None:
    (shop / "unused").mkdir()
    (shop / "unused/far.py").write_text("")
    assert "unused/far.py" not in dict(manifest(shop, tool_of(shop)))
    with (shop / "migrations/env.py").open("a") as file:
        file.write(f"\n{line}\n")
    assert "unused/far.py" in dict(manifest(shop, tool_of(shop)))


def test_a_module_that_shadows_a_library_is_in_the_manifest(shop: Path) -> None:
    (shop / "mako.py").write_text("")
    assert "mako.py" in dict(manifest(shop, tool_of(shop)))


def test_a_linked_revision_is_refused(shop: Path) -> None:
    outside = shop.parent / "outside.py"
    shutil.move(shop / VERSIONS / "a002_orders.py", outside)
    (shop / VERSIONS / "a002_orders.py").symlink_to(outside)
    for ask in (graph, manifest):
        with pytest.raises(ToolRefused, match=r"a002_orders\.py is a link"):
            ask(shop, tool_of(shop))


def test_a_draft_is_made_without_the_drift_that_was_there(shop: Path, sandbox: Sandbox, tmp_path: Path) -> None:
    models = shop / "shop/models.py"
    old = models.read_text().replace(NAME, NAME + "    nick: Mapped[str | None]\n")  # no migration ever made nick
    models.write_text(old)
    tool, env = tool_of(shop), {"DATABASE_URL": ""}
    with scratch(sandbox, shop, tmp_path / "a") as made_up:
        drift = find_drift(made_up, tool, database_env=env)
    assert any("nick" in one for one in drift.upgrade)
    models.write_text(old.replace(NAME, NAME + "    phone: Mapped[str | None] = mapped_column(String(30))\n"))
    with scratch(sandbox, shop, tmp_path / "b") as made_up:
        made = make_migration(
            made_up, tool, message='phone"""\nimport os', rev_id="feed01", database_env=env, baseline=drift
        )
    assert made.path == f"{VERSIONS}/feed01_phone_import_os.py"
    assert len(made.operations) == 1
    assert "phone" in made.operations[0]
    assert "nick" not in made.text
    (shop / made.path).write_text(made.text)
    assert graph(shop, tool).heads == ("feed01",)


def test_a_draft_that_fails_on_its_way_is_shown(shop: Path, sandbox: Sandbox, tmp_path: Path) -> None:
    mako = shop / "migrations/script.py.mako"
    mako.write_text(mako.read_text().replace("import sqlalchemy as sa\n", ""))
    models = shop / "shop/models.py"
    models.write_text(models.read_text().replace(NAME, NAME + "    age: Mapped[int | None]\n"))
    with (
        scratch(sandbox, shop, tmp_path / "a") as made_up,
        pytest.raises(ToolRetry, match=r"name 'sa' is not defined(.|\n)*add_column"),
    ):
        make_migration(made_up, tool_of(shop), message="age", rev_id="feed02", database_env={"DATABASE_URL": ""})


def test_no_difference_is_said(shop: Path, sandbox: Sandbox, tmp_path: Path) -> None:
    # The URL comes from alembic.ini here: no variable is named. And the folder has the name of the library.
    shutil.move(shop / "migrations", shop / "alembic")
    (shop / "alembic/__init__.py").touch()
    ini = shop / "alembic.ini"
    ini.write_text(ini.read_text().replace("/migrations", "/alembic"))
    with scratch(sandbox, shop, tmp_path / "a") as made_up, pytest.raises(ToolRetry, match="no difference"):
        make_migration(made_up, tool_of(shop), message="nothing", rev_id="feed03", database_env={})
    assert not (shop / "shop.db").exists()


def test_a_draft_for_another_engine_is_refused(shop: Path, sandbox: Sandbox, tmp_path: Path) -> None:
    env = {"DATABASE_URL": "postgresql+psycopg://db/shop"}
    with scratch(sandbox, shop, tmp_path / "a") as made_up, pytest.raises(ToolRefused, match="postgresql"):
        make_migration(made_up, tool_of(shop), message="x", rev_id="feed04", database_env=env)
