"""SARIF as OASIS defines it: tests/data/sarif-schema-2.1.0.json is their schema (SARIF 2.1.0, errata 01, © OASIS Open,
which may be copied and furnished to others), unchanged."""

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # no stubs of its own
import pytest

from backend_crew.tools.lint_rules import RULES, LintFinding, finding
from backend_crew.tools.sarif import to_sarif
from backend_crew.tools.sql_lint import lint

SCHEMA = json.loads((Path(__file__).parent / "data" / "sarif-schema-2.1.0.json").read_text(encoding="utf-8"))
SQL = "DELETE FROM t;\nDROP TABLE u;\nALTER TABLE t ADD COLUMN c int;\nDELETE FROM t;\n"


def _validate(log: dict[str, Any]) -> None:
    jsonschema.Draft4Validator(SCHEMA, format_checker=jsonschema.FormatChecker()).validate(log)


def _prints(sql: str) -> dict[tuple[str, int], str]:
    found = lint(sql, "postgresql", path="m/1 é.sql")
    results = to_sarif(found, "0.1.0", {"m/1 é.sql": sql})["runs"][0]["results"]
    return {(one.rule, one.line): result["partialFingerprints"]["backendCrew/v1"]
            for one, result in zip(found, results, strict=True)}  # fmt: skip


def test_it_validates_against_the_schema() -> None:
    found = lint(SQL, "postgresql", path="m/1 é.sql")
    assert {one.severity for one in found} == {"error", "warning", "info"}
    log = to_sarif(found, "0.1.0", {"m/1 é.sql": SQL})
    _validate(log)
    _validate(to_sarif([], "0.1.0"))
    _validate(to_sarif([finding(rule, "a.sql", 1, "It") for rule in RULES], "0.1.0"))
    [run] = log["runs"]
    assert [run["tool"]["driver"]["rules"][one["ruleIndex"]]["id"] for one in run["results"]] == [
        one.rule for one in found
    ]
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "m/1%20%C3%A9.sql", "uriBaseId": "REPOSITORY"}
    assert {one["level"] for one in run["results"]} == {"error", "warning", "note"}


def test_the_schema_refuses_what_is_no_sarif() -> None:
    log = to_sarif([LintFinding("a", "error", "a.sql", 1, "Text.", "Advice.")], "0.1.0")
    log["runs"][0]["results"][0]["level"] = "fatal"
    with pytest.raises(jsonschema.ValidationError, match="fatal"):
        _validate(log)


def test_fingerprints_stay_when_lines_move() -> None:
    before, after = _prints(SQL), _prints("-- a comment\n\n" + SQL)
    kept = {key: value for key, value in before.items() if key[0] != "mixed-data-schema"}
    assert {(rule, line + 2): value for (rule, line), value in kept.items()}.items() <= after.items()
    assert len(set(before.values())) == len(before)


def test_a_fingerprint_by_line_number_would_not_stay() -> None:
    """The weak control."""
    assert not {f"{rule}:{line}" for rule, line in _prints(SQL)} & {
        f"{rule}:{line}" for rule, line in _prints("\n" * 9 + SQL)
    }
    changed = _prints(SQL.replace("DROP TABLE u", "DROP TABLE v"))
    assert changed["drop-table", 2] != _prints(SQL)["drop-table", 2]
