"""The agents' tools over an open run with an approved design: what they refuse, and what they leave out."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import generic_scenarios as generic
import pytest
import scenario
from opened import implementing
from pydantic import ValidationError

from backend_crew.crew import checks, toolbox, verdict
from backend_crew.crew.artifacts import ChangeSet, TestReport
from backend_crew.crew.session import Session
from backend_crew.tools.errors import ToolRetry
from backend_crew.tools.testrun import TestCommand

SHOP_MAKO = Path(__file__).parent / "data/alembic_shop/migrations/script.py.mako"
LEGACY = scenario.FIRST.replace(
    "\n\n\ndef downgrade",
    '\n    op.create_table("legacy", sa.Column("id", sa.Integer, primary_key=True))\n\n\ndef downgrade',
)
FILES: Mapping[str, str] = {
    **scenario.FILES,
    "migrations/script.py.mako": SHOP_MAKO.read_text(),
    "migrations/versions/0001_notes.py": LEGACY,
}
MODELS = scenario.MODELS.replace("    text: Mapped[str]", scenario.COLUMN + "    text: Mapped[str]")
Open = Callable[..., Session]


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    monkeypatch.setenv(scenario.ENV, "")
    with ExitStack() as stack:
        yield lambda files=FILES, **more: stack.enter_context(implementing(tmp_path, files, **more))


def use(session: Session, name: str, **given: object) -> str:
    return toolbox.CrewTool.of(session, name)._run(**given)


def test_a_drafted_migration_is_without_what_differed_before_the_change(opened: Open) -> None:
    session = opened()
    (session.clone.tree / "app/models.py").write_text(MODELS)
    said = use(session, "make_migration", message="archived")
    (written,) = session.clone.tree.glob("migrations/versions/*_archived.py")
    assert "archived" in written.read_text()
    assert "legacy" not in written.read_text()
    assert "Left out, because models and migrations differed so before the change: op.drop_table('legacy')" in said
    known = session.drift
    assert known is not None and any("legacy" in one for one in known.upgrade)
    with pytest.raises(ToolRetry, match=r"nothing but what differed before the change already: op\.drop_table"):
        (session.clone.tree / "app/models.py").write_text(scenario.MODELS)
        written.unlink()
        use(session, "make_migration", message="legacy")
    assert session.drift is known, "asked once"


def test_without_drift_nothing_is_said_about_it(opened: Open) -> None:
    session = opened({**FILES, "migrations/versions/0001_notes.py": scenario.FIRST})
    (session.clone.tree / "app/models.py").write_text(MODELS)
    assert "Left out" not in use(session, "make_migration", message="archived")


def test_a_base_on_which_alembic_fails_subtracts_nothing(opened: Open) -> None:
    session = opened({**FILES, "app/models.py": "import gone_module\n"})
    (session.clone.tree / "app/models.py").write_text(MODELS)
    use(session, "make_migration", message="archived")
    (written,) = session.clone.tree.glob("migrations/versions/*_archived.py")
    assert "legacy" in written.read_text()
    (event,) = session.journal.events(session.id, "drift not known")
    assert "gone_module" in event["reason"]


def test_a_variable_that_nobody_named_is_named(opened: Open) -> None:
    session = opened(database_env=None)
    (session.clone.tree / "app/models.py").write_text(MODELS)
    with pytest.raises(ToolRetry) as caught:
        use(session, "make_migration", message="archived")
    assert f"the environment variable {scenario.ENV}, which is not set here" in str(caught.value)
    assert f"--database-url-env {scenario.ENV}" in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_a_failure_is_told_once_and_what_did_not_pass_is_not_listed(opened: Open) -> None:
    session = opened()
    (session.clone.tree / "tests/test_notes.py").write_text(
        "def test_red():\n    assert 'milk' == 'beer', 'seen once'\n"
    )
    said = use(session, "run_tests", paths=["tests/test_notes.py"])
    assert "1 failed" in said and "seen once" in said
    assert said.count("short test summary") == 0 and "passed:" not in said


OLD = "import pytest\n\n\n@pytest.mark.parametrize('n', range(13))\ndef test_old(n):\n    raise OSError('no broker here')\n"
REPORT = {"overview": "One test.", "shown": [], "no_test_setup": False, "recommendation": None}


def test_failures_from_before_the_change_neither_hide_a_new_one_nor_ask_for_a_repair(opened: Open) -> None:
    session = opened({**FILES, "tests/test_a_broker.py": OLD})
    before = verdict.summarised(verdict.run_tests(session))
    assert before["counts"] == {"passed": 1, "failed": 13, "error": 0, "skipped": 0}
    session.journal.record(session.id, "baseline", "Baseline", before, None)
    written = session.clone.tree / "tests/test_archive.py"
    green = "from app.models import Note\n\n\ndef test_new() -> None:\n    assert Note(text='milk').text == 'milk'\n"
    written.write_text(green.replace("== 'milk'", "== 'beer', 'the new one'"))
    said = use(session, "run_tests", paths=[])
    assert "14 failed" in said and "the new one" in said and "no broker here" not in said
    assert "13 tests that failed before the change fail as they did" in said
    report, fixed = TestReport.model_validate(REPORT), session.spec.task("test")
    with pytest.raises(ToolRetry, match="the new one") as caught:
        checks.check(session, fixed, report)
    assert "no broker here" not in str(caught.value)
    assert checks.check(session, fixed, report)[1]["tests"]["counts"]["failed"] == 14, "as it is: the product is wrong"
    (session.clone.tree / "app/service.py").write_text(scenario.SERVICE + "\n\nMILK = 1\n")
    built, repair = ChangeSet.model_validate({"summary": "Mended.", "altered": []}), session.spec.task("repair")
    with pytest.raises(ToolRetry, match=r"still red, round 1 of 3:\n.*test_new"):
        checks.check(session, repair, built)
    written.write_text(green)
    checks.check(session, repair, built)


def test_checks_say_whether_ruff_looked(opened: Open) -> None:
    session = opened()
    (session.clone.tree / "notes.txt").write_text("new\n")
    assert "not linted: ruff did not run" in use(session, "run_checks")
    (session.clone.tree / "app/models.py").write_text(MODELS)
    assert "lint: ruff" in use(session, "run_checks")


def test_reasons_for_what_was_only_added_to_are_taken_and_not_kept(opened: Open) -> None:
    session = opened()
    (session.clone.tree / "app/models.py").write_text(MODELS)
    (session.clone.tree / scenario.MIGRATION).write_text(scenario.SECOND)
    named = {"path": "app/models.py", "name": "Note", "reason": "It got a column."}
    task = session.spec.task("implement_data_access")
    value, facts = checks.check(session, task, ChangeSet.model_validate({"summary": "Built.", "altered": [named]}))
    assert isinstance(value, ChangeSet) and (value.altered, facts["altered"]) == ((), [])
    elsewhere = ChangeSet.model_validate({"summary": "Built.", "altered": [{**named, "path": "app/service.py"}]})
    with pytest.raises(ToolRetry, match=r"'altered' names 'Note' in app/service.py, which did not change"):
        checks.check(session, task, elsewhere)


def test_a_file_outside_the_plan_is_refused_for_that_before_it_is_to_be_read(opened: Open) -> None:
    session = opened()
    with pytest.raises(ToolRetry, match="not in the approved plan"):
        use(session, "write_file", path="app/__init__.py", text="x = 1\n")
    with pytest.raises(ToolRetry, match="read it first"):
        use(session, "write_file", path="app/models.py", text="x = 1\n")


def test_labels_are_the_paths_that_they_stand_for_and_what_is_neither_is_refused_at_the_door(opened: Open) -> None:
    cases = "from unittest import TestCase\n\n\nclass Labels(TestCase):\n    def test_one(self):\n        pass\n"
    python = {path: text for path, text in FILES.items() if not path.startswith("tests/")}
    files = {**python, "app/tests/__init__.py": "", "app/tests/test_labels.py": cases}
    session = opened(files)
    session.tests = TestCommand((scenario.PYTHON, "-m", "unittest", "discover"), "unittest", "x:1")
    for label in ("app.tests", "app", "app.tests.test_labels.Labels.test_one", "app/tests/test_labels.py::Labels"):
        assert "1 passed" in use(session, "run_tests", paths=[label]), label
    for wrong in ("app.nothing", "app/nothing.py", "app.tests.nothing.Labels"):
        with pytest.raises(ToolRetry, match=r"Give paths, such as tests/test_x\.py or app/tests"):
            use(session, "run_tests", paths=[wrong])


def test_ids_of_parametrized_tests_can_be_handed_in_as_they_are_printed() -> None:
    shown = [{"criterion": "AC1", "tests": [f"tests/test_a.py::test_b[{'x' * 1_900}]"]}]
    assert TestReport.model_validate({**REPORT, "shown": shown}).shown[0].tests[0].endswith("x]")
    with pytest.raises(ValidationError):
        TestReport.model_validate({**REPORT, "shown": [{"criterion": "AC1", "tests": ["x" * 2_001]}]})
    assert len(json.dumps(TestReport.model_json_schema())) < 1_500


@pytest.mark.parametrize(
    ("files", "newest"),
    [(generic.DJANGO, "notes/migrations/0001_initial.py"), (scenario.FILES, "")],
    ids=["django", "alembic"],
)
def test_no_tool_is_offered_that_cannot_write_a_migration_and_the_refusal_says_what_to_do(
    opened: Open, files: Mapping[str, str], newest: str
) -> None:
    session = opened(files)
    task = session.spec.task("implement_data_access")
    names = [tool.name for tool in toolbox.build(session, task)]
    assert ("make_migration" in names) is not bool(newest)
    if newest:
        with pytest.raises(ToolRetry, match=rf"by hand with write_file, in the style of its .*newest is {newest}"):
            use(session, "make_migration", message="archived")


def test_what_a_later_layer_brings_is_refused_with_what_to_do_instead(opened: Open) -> None:
    session = opened()
    with pytest.raises(ToolRetry, match=r"Layers are built in the order .*leave that file to its own task"):
        use(session, "write_file", path="app/service.py", text="x = 1\n")
    models = session.clone.tree / "app/models.py"
    (session.clone.tree / "app/service.py").write_text("")  # it would import the models in its turn
    models.write_text(f"from app.service import archived\n{MODELS}")
    said = use(session, "run_checks")
    assert "app/service.py is planned for the layer 'business_logic'. Layers are built in the order" in said
    models.write_text(f"from app.nothing import archived\n{MODELS}")
    said = use(session, "run_checks")
    assert "cannot be imported" in said and "Layers are built" not in said
