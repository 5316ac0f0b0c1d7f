"""Tables read from source: every one found with its columns, none invented, and the same as the ORM itself has."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from analysis_archives import archive, archives, folder_files

from backend_crew.tools.tables.find import find_tables
from backend_crew.tools.tables.protocol import Column, Table, TableScan

ROOT = Path(__file__).parent.parent
# What the real ORM is asked of: the archive, and where its metadata is.
REAL = {"sqlalchemy_traps": "blog:Base.metadata", "django_traps": "site_.settings"}


def column_text(one: Column) -> str:
    """A column as the archives write it."""
    marks = [(one.primary_key, "pk"), (one.nullable is True, "null"), (one.nullable is None, "null?")]
    marks += [(one.unique, "unique"), (bool(one.default), "default"), (bool(one.references), f"-> {one.references}")]
    marks += [(bool(one.constraints), f"({'; '.join(one.constraints)})")]
    return " ".join([one.name, one.type, *(text for given, text in marks if given)])


def table_text(one: Table) -> str:
    """A table as the archives write it."""
    return f"{'' if one.certain else '? '}{one.name} {one.model or '-'}: {', '.join(map(column_text, one.columns))}"


def real_tables(target: str, folder: Path) -> dict[str, Any]:
    """What the ORM says, in a process of its own that has `folder` as its first place for modules."""
    env = {**os.environ, "PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "1"}
    argv = [sys.executable, "-W", "ignore", str(ROOT / "tests" / "real_tables.py"), target]
    done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def as_real(scan: TableScan) -> dict[str, Any]:
    """A scan in the same form: names of types without their arguments."""
    return {
        table.name: {
            "columns": {
                one.name: [
                    one.type.partition("(")[0],
                    one.nullable,
                    one.primary_key,
                    [one.references] if one.references else [],
                ]
                for one in table.columns
            },
            "indexes": sorted(sorted(index.strip("()").split(", ")) for index in table.indexes),
        }
        for table in scan.tables
    }


@pytest.mark.parametrize("name", archives("tables"))
def test_every_table_is_found_and_none_is_invented(name: str) -> None:
    sample = archive("tables", name)
    scan = find_tables(sample.files)
    assert sorted(map(table_text, scan.tables)) == sorted(sample.expected)
    assert [f"{one.file}:{one.line}" for one in scan.unresolved] == list(sample.unresolved)


@pytest.mark.parametrize("name", REAL)
def test_the_orm_itself_has_the_same_tables(name: str, tmp_path: Path) -> None:
    sample = archive("tables", name)
    found, real = as_real(find_tables(sample.files)), real_tables(REAL[name], sample.lay_out(tmp_path))
    if "indexes" not in next(iter(real.values())):
        found = {table: {"columns": facts["columns"]} for table, facts in found.items()}
    assert found == real


def test_the_sample_shop_has_what_its_metadata_has() -> None:
    shop = ROOT / "examples" / "shop"
    scan = find_tables(folder_files(shop))
    assert scan.unresolved == ()
    assert as_real(scan) == real_tables("shop.models:Base.metadata", shop)
    lines = next(one for one in scan.tables if one.model == "OrderLine")
    assert "UNIQUE (order_id, sku)" in lines.constraints
    assert [(one.name, one.target, one.kind) for one in scan.tables[1].relations] == [("lines", "OrderLine", "many")]


@pytest.mark.parametrize("name", archives("tables"))
def test_broken_files_never_raise(name: str) -> None:
    """Each file cut in the middle, one after the other, and all of them at once."""
    sample = archive("tables", name)
    for path in [*sample.files, None]:
        find_tables(
            {one: text[: len(text) // 2] if path in (one, None) else text for one, text in sample.files.items()}
        )
