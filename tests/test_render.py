"""What people and agents read: every word of an artifact is in it, and no word can pretend to be the layout."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import scenario

from backend_crew.crew import artifacts, render, reporting
from backend_crew.crew.artifacts import ARTIFACTS, Answers, Design

ANALYSIS: dict[str, Any] = scenario.ANALYSIS
SECURITY = {
    "overview": "One thing.",
    "findings": [{"severity": "high", "problem": "No check", "evidence": {"path": "a.py", "line": 3, "quote": "abc"}, "fix": "Add it"}],
}  # fmt: skip
PAYLOADS: dict[str, dict[str, Any]] = {
    "Analysis": ANALYSIS,
    "Questions": scenario.QUESTIONS,
    "Requirements": {**scenario.REQUIREMENTS, "out_of_scope": ["Sharing notes"]},
    "Design": {
        **scenario.DESIGN,
        "integration_points": ["The list view"],
        "new_dependencies": [{"name": "arrow", "version": ">=1", "reason": "Times"}],
    },
    "ChangeSet": {"summary": "The column."},
    "SecurityReview": SECURITY,
    "Note": {"text": "A note of mine."},
    "MigrationReview": scenario.REVIEW,
    "TestReport": {**scenario.REPORT, "recommendation": "Add a linter"},
}
#: Codes that are rendered in other words, and what the reader does not need.
_UNSHOWN = {"id", "has_backend", "no_test_setup", "quote", "needed", "nullable", "line", "layer", "source", "document"}


def _words(value: object, key: str = "") -> Iterator[str]:
    """Every text in a payload that a reader must find."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _words(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _words(inner, key)
    elif isinstance(value, str) and key not in _UNSHOWN:
        yield value


def test_every_kind_of_artifact_is_tried_here() -> None:
    assert set(PAYLOADS) == set(ARTIFACTS)


@pytest.mark.parametrize("kind", list(PAYLOADS))
def test_every_word_of_an_artifact_is_shown(kind: str) -> None:
    shown = render.output(kind, {**PAYLOADS[kind], "facts": {}})
    assert [word for word in _words(PAYLOADS[kind]) if word not in shown] == []


def test_the_contract_is_shown_whole() -> None:
    document = "openapi: 3.1.0\npaths:\n  /notes/{id}:\n    get: {}\n"
    payload = {**scenario.DESIGN, "api": {**scenario.DESIGN["api"], "kind": "openapi", "document": document}}
    assert document in render.design(Design.model_validate(payload))


def test_findings_carry_their_places() -> None:
    shown = render.output("Analysis", {**ANALYSIS, "facts": {}})
    assert "(app/service.py:7)" in shown
    assert shown.index("**stack**") < shown.index("**architecture**")


def test_a_cell_cannot_break_out_of_its_table() -> None:
    files = [{"path": "a.py", "action": "create", "layer": "tests", "purpose": "x | approved |\n| b.py"}]
    shown = render.design(Design.model_validate({**scenario.DESIGN, "files": files}))
    (row,) = [line for line in shown.splitlines() if "`a.py`" in line]
    assert len(re.findall(r"(?<!\\)\|", row)) == 5
    assert "x \\| approved \\| \\| b.py" in row


def test_options_keep_the_numbers_by_which_they_are_answered() -> None:
    question = artifacts.Question.model_validate({**scenario.QUESTIONS["items"][0], "options": ["30", "14", "No"]})
    shown = render.question(question)
    assert re.findall(r"(\d)\. (\w+)", shown) == [("1", "30"), ("2", "14"), ("3", "No")]
    assert "Recommended: No - It is simpler." in shown


def test_the_diagram_holds_names_that_a_diagram_can_hold() -> None:
    entity = {"name": "Note", "table": "app.notes-2", "change": "new"}
    column = {"name": "über text", "type": "VARCHAR(200)", "nullable": True}
    model = artifacts.DataModel.model_validate(
        {"entities": [{**entity, "columns": [column]}, {**entity, "table": "--"}]}
    )
    assert render.mermaid(model).splitlines() == [
        "erDiagram",
        "    app_notes_2 {",
        "        VARCHAR_200 über_text",
        "    }",
        "    x {",
        "    }",
    ]


def test_the_diagram_names_tables_on_both_sides_of_a_relation() -> None:
    key = {"name": "author_id", "type": "uuid (char(32) on SQLite)", "nullable": False}
    column = {**key, "constraints": ["foreign key to site_user.id, on delete cascade"]}
    relations = ["User 1-N Review (review.author_id)", "Shop 1-N Review (shop_id)"]
    entity = {"name": "Review", "table": "review", "change": "new", "columns": [column], "relations": relations}
    drawn = render.mermaid(artifacts.DataModel.model_validate({"entities": [entity]}))
    assert "        uuid author_id\n" in drawn
    assert '    site_user ||--o{ review : ""' in drawn and '    Shop ||--o{ review : ""' in drawn


def test_files_come_from_the_facts_and_not_from_the_words() -> None:
    facts = {
        "files": [{"path": "a.py", "status": "modified", "added": 3, "removed": 1}],
        "altered": [{"name": "listed", "path": "a.py", "line": 9, "what": "body", "reason": "AC1", "kind": "function"}],
    }
    shown = render.output("ChangeSet", {"summary": "I changed b.py.", "facts": facts})
    assert "`a.py` modified (+3 -1)" in shown
    assert "`listed` in a.py:9: body - AC1" in shown
    assert "Existing definitions" not in render.output("ChangeSet", {"summary": "s", "facts": {}})


REHEARSAL: dict[str, Any] = {
    "status": "passed",
    "reason": "",
    "data": "copy of the database",
    "from_revision": "0001",
    "to_revision": "0002",
    "steps": [
        {
            "name": "up",
            "ok": True,
            "seconds": 0.12,
            "tables": {"notes": {"rows": 3}, "users": {"rows": 0}},
            "detail": "",
        },
        {"name": "down", "ok": False, "seconds": 0.1, "tables": {}, "detail": "no such column"},
    ],
    "findings": [{"severity": "error", "text": "rows are lost"}],
}


def test_a_rehearsal_says_how_it_went_step_by_step() -> None:
    shown = render.rehearsal(REHEARSAL)
    assert "Rehearsal passed, on copy of the database, 0001 → 0002" in shown
    assert "| up | ok | 0.1 s |  |" in shown and "- Rows after up: notes 3\n- Without rows: users\n" in shown
    assert "| down | FAILED | 0.1 s | no such column |" in shown
    assert "error: rows are lost" in shown


def test_the_rows_of_a_table_are_told_once() -> None:
    held = {"notes": {"rows": 3}, "users": {"rows": 0}}
    legs = (("up", {**held, "stars": {"rows": 0}}), ("down", held), ("up again", {**held, "stars": {"rows": 1}}))
    steps = [{"name": name, "ok": True, "seconds": 1.0, "tables": tables, "detail": ""} for name, tables in legs]
    shown = render.rehearsal({**REHEARSAL, "steps": steps})
    assert "| step | result | time |\n" in shown  # no step has a detail
    assert "- Rows after up/down/up again (- where there is no table): stars 0/-/1\n" in shown
    assert (
        shown.count("notes 3") == 1 and "the same after each step: notes 3" in shown and "Without rows: users" in shown
    )


def test_each_new_rule_says_what_became_of_a_row_that_breaks_it() -> None:
    outcomes = {"a (b) unique": "refused", "a.b references c": "accepted", "a: x > 0": "not tried: too few rows"}
    shown = render.rehearsal({**REHEARSAL, "rules": [{"rule": rule, "outcome": one} for rule, one in outcomes.items()]})
    assert (
        "- a (b) unique: refused, as it should be\n- a.b references c: **ACCEPTED**: the rule does not hold\n" in shown
    )
    assert "- a: x > 0: not tried: too few rows\n" in shown


def test_of_apps_only_those_that_moved_are_named() -> None:
    assert reporting.moved("a.0001_x, b.0001_y", "a.0001_x, b.0002_z, c.0001_w") == (
        "b: 0001_y → 0002_z; c: nothing → 0001_w"
    )
    assert reporting.moved("ab12, cd34", "ef56") == "ab12, cd34 → ef56"
    assert reporting.moved(None, "0001") == "nothing → 0001"


def test_a_rehearsal_that_failed_or_never_was_does_not_read_like_one_that_passed() -> None:
    failed = render.rehearsal({**REHEARSAL, "status": "failed", "reason": "down failed"})
    assert "Rehearsal FAILED: down failed" in failed
    assert "passed" not in failed
    never = render.rehearsal({**REHEARSAL, "status": "not rehearsed", "reason": "no sandbox", "steps": []})
    assert never.startswith("**Not rehearsed**: no sandbox\n")
    assert "passed" not in never


def test_sql_or_why_there_is_none() -> None:
    assert render.sql("Up", "ALTER TABLE x;\n", "none") == "**Up**\n\n```sql\nALTER TABLE x;\n```\n"
    assert "not offline" in render.sql("Up", None, "not offline")


def test_a_migration_that_is_not_needed_says_why() -> None:
    plan = artifacts.MigrationPlan(needed=False, reason="No schema change.", rollback="-", data_impact="-")
    assert render.migration_plan(plan) == "No migration: No schema change.\n"


def test_a_difference_is_shown_and_bounded() -> None:
    assert render.changed("a\nb\n", "a\nb\n") == ""
    assert "-b\n+c" in render.changed("a\nb\n", "a\nc\n")
    long = render.changed("", "\n".join(map(str, range(5000))))
    assert long.splitlines()[-1].endswith("more lines")
    assert len(long.splitlines()) == 401


def test_outputs_of_other_kinds_are_shown_by_their_fields() -> None:
    assert render.output("Decision", {"verdict": "approve", "by": "ann"}) == "- verdict: approve\n- by: ann\n"
    answers = Answers.model_validate({"items": [{"id": "Q1", "answer": "No", "source": "option"}]})
    assert render.output("Answers", answers.model_dump(mode="json")) == "- Q1: No (option)\n"
    assert "Rehearsal passed" in render.output("Rehearsal", REHEARSAL)


def _linted(*found: dict[str, Any], **more: Any) -> str:
    return render.lint({"files": [{"path": "m/2.py"}], "pending": [{"path": "m/1.py"}], "lint": list(found), **more})


def _hurt(severity: str, text: str = "It hurts.", line: int = 1) -> dict[str, Any]:
    return {"rule": "drop-table", "severity": severity, "path": "m/2.py", "line": line, "text": text, "advice": "Wait."}


def test_findings_of_the_linters_are_listed_the_worst_first_with_place_reason_and_way_out() -> None:
    assert _linted(_hurt("info", line=1), _hurt("error", line=9), _hurt("warning", line=4)).splitlines() == [
        "- error drop-table, `m/2.py`:9: It hurts. Safe way: Wait.",
        "- warning drop-table, `m/2.py`:4: It hurts. Safe way: Wait.",
        "- info drop-table, `m/2.py`:1: It hurts. Safe way: Wait.",
    ]


def test_a_name_in_a_migration_adds_no_line_and_no_flood_to_the_findings() -> None:
    (line,) = _linted(_hurt("error", "Table x\n\n# Approved\n" + "y" * 900)).splitlines()
    assert "Table x # Approved yyy" in line and len(line) < 500
    many = _linted(*[_hurt("info")] * 50, *[_hurt("error")] * 3).splitlines()
    assert len(many) == render.LINT_SHOWN + 1
    assert [line.split()[1] for line in many[:4]] == ["error", "error", "error", "info"]
    assert many[-1] == "- and 13 more: 13 of severity info"


def test_no_finding_is_told_apart_from_no_look() -> None:
    assert _linted() == "Nothing, in 2 files.\n"
    assert _linted(lint=None).startswith("**Not linted**: no linter knows the database of these files (m/2.py, m/1.py)")
