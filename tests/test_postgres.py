"""PostgreSQL's programs: found, told apart by version, and mounted where a box needs them."""

from pathlib import Path

import pytest

from backend_crew.tools import postgres
from backend_crew.tools.errors import ToolFault
from backend_crew.tools.postgres import Installation, find_postgres, installations
from backend_crew.tools.runtime import Runtime
from backend_crew.tools.sandbox import Sandbox

OLD, NEW = (
    Installation(Path("/usr/lib/postgresql/15/bin"), "15.18"),
    Installation(Path("/x/bin"), "18.4", (Path("/x"),)),
)


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "installations", lambda: (OLD, NEW))


@pytest.mark.parametrize(
    ("major", "found"), [(None, OLD), (14, OLD), (15, OLD), (16, NEW), (18, NEW)], ids=["any", "14", "15", "16", "18"]
)
def test_the_nearest_version_that_is_not_older_stands_in(two: None, major: int | None, found: Installation) -> None:
    assert find_postgres(major) == found


def test_without_one_a_fault_says_what_to_install(two: None) -> None:
    with pytest.raises(ToolFault, match=r"PostgreSQL 19 or newer is needed .* 15\.18, 18\.4 was found\. Install"):
        find_postgres(19)


def test_a_difference_is_told_between_major_versions_only() -> None:
    assert NEW.difference("15.3") == "rehearsed on PostgreSQL 18.4, your server is 15.3"
    assert NEW.difference("18.1") == ""


def test_what_is_found_runs_in_a_box(sandbox: Sandbox, tmp_path: Path) -> None:
    found = installations()
    if not found:
        pytest.skip("no PostgreSQL here")
    for one in found:
        assert one.major in postgres.SUPPORTED
        with sandbox.box(tmp_path, tmp_path, one.mounted(Runtime(kind="other"), tmp_path)) as box:
            done = box.run([one.program("psql"), "--version"])
        assert one.version in done.stdout, done.stderr


def test_programs_are_mounted_once_and_over_the_copy_of_a_repository_that_holds_them() -> None:
    root = Path("/srv/repo")
    apart = NEW.mounted(Runtime(kind="other", mounts=(Path("/opt/p"),)), root)
    assert apart.mounts == (Path("/opt/p"), Path("/x"))
    assert NEW.mounted(apart, root) == apart
    inside = Installation(root / ".venv/pg/bin", "18.4", (root / ".venv/pg",))
    assert inside.mounted(Runtime(kind="other"), root).overlays == (".venv/pg",)
    assert inside.mounted(Runtime(kind="python", overlays=(".venv",)), root).overlays == (".venv",)
    assert OLD.mounted(Runtime(kind="other"), root) == Runtime(kind="other")
