"""`backend-crew scan`: the facts without a model, the cache behind them, and what stage 1 is handed."""

import json
import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from test_index import SHOP, write

from backend_crew.crew.cli import cli
from backend_crew.crew.errors import UsageError
from backend_crew.tools import scan as scanning
from backend_crew.tools.index import build as building
from backend_crew.tools.index import store as storing
from backend_crew.tools.index.facts import CHARACTERS
from backend_crew.tools.index.store import Store
from backend_crew.tools.revive import revive
from backend_crew.tools.scan import Scan, as_json, brief, scan

ROUTES = """from fastapi import FastAPI

app = FastAPI()


@app.post("/orders/{order_id}/refunds")
def refund_order(order_id: int) -> dict[str, int]:
    return {}


@app.get("/health")
def health() -> dict[str, int]:
    return {}
"""
TABLES = """from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class RefundRow(Base):
    __tablename__ = "refunds"
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))
"""
FILES = {**SHOP, "requirements.txt": "fastapi\nsqlalchemy\n", "shop/main.py": ROUTES, "shop/rows.py": TABLES}


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small service; no git repository, which a scan does not need."""
    monkeypatch.setenv("BACKEND_CREW_HOME", str(tmp_path / "home"))
    return write(tmp_path / "repo", FILES)


def said(repo: Path, *flags: str) -> Any:
    """What the command printed, as an object."""
    done = CliRunner().invoke(cli, ["scan", str(repo), "--json", *flags])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_one_object_with_facts_layers_and_the_map(repo: Path) -> None:
    found = said(repo, "--feature", "refunds")
    assert list(found) == [
        "schema", "complete", "files", "languages", "skipped", "facts", "traps", "services", "endpoints", "tables",
        "unresolved", "definitions", "layering", "map",
    ]  # fmt: skip
    assert found["schema"] == 1
    assert found["languages"]["Python"] == 9
    framework = next(one for one in found["facts"] if one["kind"] == "framework")
    assert (framework["value"], framework["path"], framework["line"]) == ("FastAPI", "shop/main.py", 1)
    assert {
        "path": "shop/models.py",
        "line": 9,
        "kind": "class",
        "name": "Refund",
        "signature": "class Refund",
    } in found["map"]
    assert found["layering"]["layers"][-1] == ["models.py"]
    endpoint = found["endpoints"][0]
    assert (endpoint["method"], endpoint["path"]) == ("POST", "/orders/{order_id}/refunds")
    assert (endpoint["file"], endpoint["handler"]) == ("shop/main.py", "refund_order")
    (table,) = found["tables"]
    assert (table["name"], [one["name"] for one in table["columns"]]) == ("refunds", ["id", "order_id"])


def test_what_a_person_reads_names_files_with_lines(repo: Path) -> None:
    text = CliRunner().invoke(cli, ["scan", str(repo)]).stdout
    assert "Built with" in text
    assert "shop/main.py:1" in text
    assert "    4 class Order" in text
    assert "shop/: api > services > models.py" in text
    assert "POST /orders/{order_id}/refunds refund_order shop/main.py:6" in text
    assert "order_id" in text.partition("Tables (1)")[2]


def test_no_folder_is_a_usage_error(tmp_path: Path) -> None:
    for folder in (tmp_path / "missing", write(tmp_path, {"file": ""}) / "file"):
        with pytest.raises(UsageError, match="is not a folder"):
            CliRunner().invoke(cli, ["scan", str(folder)], catch_exceptions=False)


def test_it_starts_without_crewai_and_runs_nothing_of_the_repository(repo: Path) -> None:
    evil = "open('ran', 'w').close()\n"
    write(
        repo,
        {"setup.py": evil, "conftest.py": evil, "shop/__init__.py": evil, "click.py": evil, "rich/__init__.py": evil},
    )
    probe = (
        "import sys\nfrom backend_crew.crew.main import main\ntry:\n    main(sys.argv[1:])\nexcept SystemExit as end:\n"
        "    print(end.code, 'crewai' in sys.modules, 'rich' in sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", probe, "scan", ".", "--json"], cwd=repo, capture_output=True, text=True, check=True
    )
    assert done.stderr.split() == ["0", "False", "False"]
    assert json.loads(done.stdout)["facts"]
    assert not list(repo.rglob("ran"))


def test_hostile_names_and_texts_do_not_reach_the_screen(repo: Path) -> None:
    write(repo, {"shop/odd.py": "from shop.models import Order\n\n\ndef shown(a='\x1b[31m[bold]red'): pass\n"})
    write(repo, {"shop/uses.py": "from shop.odd import shown\nshown()\n"})
    text = CliRunner().invoke(cli, ["scan", str(repo)]).stdout
    assert "\x1b" not in text
    assert "‹U+001B›[31m[bold]red" in text


class TestCache:
    """What is kept between scans, and what makes it be read again."""

    @pytest.fixture
    def made(self, repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path, Scan]:
        """A repository, a cache that knows it, and what was found."""
        monkeypatch.setattr(scanning, "_SETTLED_NS", -10_000_000_000)  # as if the files had been written long ago
        return repo, tmp_path / "cache", scan(repo, cache=tmp_path / "cache")

    def test_a_second_scan_reads_no_source(
        self, made: tuple[Path, Path, Scan], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        repo, cache, found = made
        monkeypatch.setattr(building, "build", lambda *_: pytest.fail("it was read again"))
        assert scan(repo, cache=cache) == found
        with pytest.raises(BaseException, match="read again"):
            scan(repo, feature="another", cache=cache)

    def test_a_change_is_seen_also_with_the_same_size_and_time(self, made: tuple[Path, Path, Scan]) -> None:
        repo, cache, _ = made
        path = repo / "shop/models.py"
        before = path.stat()
        path.write_text(path.read_text().replace("Refund", "Redeem"))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        after = scan(repo, cache=cache)
        assert after == scan(repo)
        assert "Redeem" in {one.name for one in after.index.places}

    @pytest.mark.parametrize("damage", ["torn", "noise", "empty", "value", "other"])
    def test_a_damaged_cache_is_made_again(self, made: tuple[Path, Path, Scan], damage: str) -> None:
        repo, cache, found = made
        (path,) = cache.glob("index-*.db")
        match damage:
            case "torn":
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            case "noise":
                path.write_bytes(os.urandom(20_000))
            case "empty":
                path.write_bytes(b"")
            case "value":
                with closing(sqlite3.connect(path)) as database, database:
                    database.execute("UPDATE kept SET value = CAST(replace(value, 'Order', 'Owner') AS BLOB)")
            case "other":
                with closing(sqlite3.connect(path)) as database, database:
                    database.execute("DROP TABLE kept")
                    database.execute("CREATE TABLE kept (something TEXT)")
        assert scan(repo, cache=cache) == found
        assert scan(repo, cache=cache) == found

    def test_another_edition_sees_nothing_of_it_and_clears_it(
        self, made: tuple[Path, Path, Scan], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        repo, cache, found = made
        (old,) = cache.glob("index-*.db")
        monkeypatch.setattr(storing, "edition", lambda: "newer")
        assert Store(cache).one(b"anything") is None
        assert scan(repo, cache=cache) == found
        assert [path.name for path in cache.glob("index-*.db")] == ["index-newer.db"]
        assert not old.exists()

    def test_several_writers_do_not_disturb_each_other(self, repo: Path, tmp_path: Path) -> None:
        results: list[Scan] = []
        threads = [
            threading.Thread(target=lambda: results.append(scan(repo, cache=tmp_path / "cache"))) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(results) == 4
        assert all(one == results[0] for one in results)

    def test_a_cache_that_cannot_be_made_is_none(self, repo: Path, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        assert scan(repo, cache=tmp_path / "file" / "cache") == scan(repo)

    def test_the_folder_is_nobody_elses(self, made: tuple[Path, Path, Scan]) -> None:
        assert made[1].stat().st_mode & 0o077 == 0


def test_json_comes_back_as_the_same_objects(repo: Path) -> None:
    found = scan(repo)
    plain = json.loads(json.dumps(asdict(found)))
    assert revive(Scan, plain) == found
    plain["survey"]["facts"][0]["line"] = "one"
    with pytest.raises(TypeError):
        revive(Scan, plain)


@pytest.mark.parametrize("budget", [200, 400, 4_000])
def test_what_the_analysis_is_handed_fits_and_says_what_is_missing(repo: Path, budget: int) -> None:
    write(repo, {f"shop/part{n}.py": f"from shop.models import Order\nclass Part{n}: pass\n" for n in range(150)})
    text = brief(scan(repo, feature="refunds"), "refunds", budget)
    assert len(text) <= budget * CHARACTERS
    assert "FastAPI" in text
    assert "/orders/{order_id}/refunds" in text
    assert "/health" not in text or text.index("/orders/") < text.index("/health")
    assert (budget == 4_000) or "more lines" in text


def test_json_is_stable(repo: Path) -> None:
    assert as_json(scan(repo)) == as_json(scan(repo))
