"""New tests, mutants and criteria, with the real sandbox, pytest and Node: what only a run can tell."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from corpus import Case, read_cases

from backend_crew.tools.honesty import mutation, newly
from backend_crew.tools.honesty.examine import Bounds, Change, Examined, examine
from backend_crew.tools.honesty.mutants import mutants_of
from backend_crew.tools.honesty.mutation import Mutation
from backend_crew.tools.honesty.newly import Trees
from backend_crew.tools.runtime import find_runtime
from backend_crew.tools.sandbox import Limits, Sandbox
from backend_crew.tools.testrun import TestCase, TestCommand, TestRun, not_run, run_tests

PYTEST = TestCommand((sys.executable, "-m", "pytest"), "pytest", "")
NODE = TestCommand(("node", "--test"), "node", "")
FEATURE = "a feature with its own tests"
REFUND = "tests/test_refunds.py::test_a_placed_order_is_refunded"


def case_of(service: str, name: str, **tests: str) -> Case:
    """A case of the corpus, with other texts for some of its files."""
    case = next(one for one in read_cases(service) if one.name == name)
    return replace(
        case, after={**case.after, **{path.replace("__", "/") + ".py": text for path, text in tests.items()}}
    )


def put(tree: Path, files: dict[str, str]) -> Path:
    for path, text in files.items():
        place = tree / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return tree


@pytest.fixture
def tried(sandbox: Sandbox, tmp_path: Path) -> Callable[..., Examined]:
    """Writes both trees of a case and examines the change with real runs; `fresh` are the tests that it added."""

    def do(case: Case, fresh: Sequence[str], mutants: int, **named: Sequence[str]) -> Examined:
        base, tree = put(tmp_path / "base", case.before), put(tmp_path / "tree", case.after)
        command = NODE if case.service == "node" else PYTEST
        runtime = find_runtime(tree, python=Path(sys.executable) if command is PYTEST else None)

        def run(at: Path, paths: Sequence[str], seconds: float) -> TestRun:
            env = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
            return run_tests(
                sandbox, at, tree, runtime, command, paths=paths, env=env, limits=Limits(timeout_s=seconds)
            )

        old = {"tests/test_api.py::test_health": "passed"}
        after = {**old, **dict.fromkeys(fresh, "passed")}
        change = Change(base, tree, changed(case), old, after, tuple(named), named)
        return examine(change, run, Bounds(mutants, 600))

    return do


def changed(case: Case) -> list[str]:
    return sorted({one for one in (*case.before, *case.after) if case.before.get(one) != case.after.get(one)})


def told(case: Case, tmp_path: Path, before: Sequence[str], after: dict[str, str]) -> Examined:
    """What recorded runs alone tell."""
    base, tree = put(tmp_path / "base", case.before), put(tmp_path / "tree", case.after)
    return examine(Change(base, tree, changed(case), dict.fromkeys(before, "passed"), after), None)


def rules(found: Examined, severity: str = "error") -> list[str]:
    return [one.rule for one in found.findings if one.severity == severity]


IDLE = """
from shop.orders import discount


def test_small_amounts_have_no_discount():
    assert discount(10) == 10
"""


def test_new_tests_show_a_feature_or_nothing(tried: Callable[..., Examined]) -> None:
    case = case_of("pytest", FEATURE, tests__test_idle=IDLE)
    idle = "tests/test_idle.py::test_small_amounts_have_no_discount"
    only = "tests/test_refunds.py::test_only_placed_orders_are_refunded"
    found = tried(case, [REFUND, only, idle], 2, AC1=[REFUND], AC2=[idle], AC3=["tests/test_refunds.py::test_x"])
    assert found.shown.reaches == {REFUND, only}
    assert [(one.rule, one.path) for one in found.findings] == [("new-test-shows-nothing", "tests/test_idle.py")]
    assert [(one.outcome, set(one.killers)) for one in found.mutation.tried] == [
        ("killed", {only}),
        ("killed", {REFUND, only}),
    ]
    assert [(one.id, one.status) for one in found.criteria] == [("AC1", "shown"), ("AC2", "red"), ("AC3", "red")]
    assert found.criteria[0].lines == ("shop/orders.py:19",)


@pytest.mark.tool
def test_node_is_tried_in_the_same_way(tried: Callable[..., Examined]) -> None:
    fresh = [f"test/add.test.js::{name}" for name in ("a coupon is added", "a rate out of range is refused")]
    found = tried(case_of("node", FEATURE), fresh, 1, AC1=fresh[:1])
    assert rules(found) == []
    assert found.shown.reaches == set(fresh)
    assert found.mutation.tried[0].killers == tuple(fresh[:1]), "every rate is refused with that fault"
    assert (found.criteria[0].status, found.criteria[0].lines) == ("shown", ("src/coupons.js:15",))


def trees(tmp_path: Path) -> Trees:
    case = case_of("pytest", FEATURE)
    paths = changed(case)
    sides = [{path: tree[path] for path in paths if path in tree} for tree in (case.before, case.after)]
    return Trees(put(tmp_path / "base", case.before), put(tmp_path / "tree", case.after), sides[0], sides[1])


def ran(*passed: str, failed: Sequence[str] = ()) -> TestRun:
    cases = [TestCase(one, "passed", 0.0, "") for one in passed] + [TestCase(one, "failed", 0.0, "") for one in failed]
    return TestRun("failed" if failed else "passed", "", True, tuple(cases), int(bool(failed)), seconds=0.01)


def test_faults_that_no_test_notices_are_named_and_none_noticed_is_an_error(tmp_path: Path) -> None:
    seen: list[str] = []

    def run(at: Path, paths: Sequence[str], seconds: float) -> TestRun:
        seen.append((at / "shop/orders.py").read_text())
        return ran("a", failed=["b"]) if "return None" in seen[-1] else ran("a", "b")

    found = mutation.mutate(trees(tmp_path), ["tests/test_refunds.py"], run, 10, 60)
    assert [(one.mutant.line, one.outcome, one.killers) for one in found.tried] == [
        (20, "survived", ()),
        (19, "survived", ()),
        (21, "killed", ("b",)),
    ]
    assert len(set(seen)) == 4, "the control, and each fault by itself"
    assert [(one.rule, one.line, one.severity) for one in mutation.judge(found)] == [
        ("fault-not-noticed", 20, "warning"),
        ("fault-not-noticed", 19, "warning"),
    ]
    nothing = Mutation(tuple(replace(one, outcome="survived") for one in found.tried * 2), 6)
    assert next(mutation.judge(nothing)).severity == "error"
    assert [one.severity for one in mutation.judge(replace(nothing, tried=nothing.tried[:4]))] == ["warning"] * 4


def test_faults_are_not_made_where_tests_do_not_pass_or_time_is_up(tmp_path: Path) -> None:
    there = trees(tmp_path)
    found = mutation.mutate(there, [], lambda *_: ran(failed=["a"]), 10, 60)
    assert (found.tried, "do not pass" in found.reason) == ((), True)
    found = mutation.mutate(there, [], lambda *_: replace(ran("a"), seconds=999.0), 10, 60)
    assert (found.tried, found.reason) == ((), "0 of 3 mutants were tried")


def test_a_run_that_its_time_limit_ended_notices_nothing(tmp_path: Path) -> None:
    runs = iter([ran("a", "b")])
    late = TestRun("failed", "the tests did not end within 10 s", seconds=10.0)
    found = mutation.mutate(trees(tmp_path), [], lambda *_: next(runs, late), 10, 60)
    assert {(one.outcome, one.killers) for one in found.tried} == {("unknown", ())}


def test_the_first_faults_are_of_every_file_and_none_is_of_a_migration() -> None:
    code = "def f(a):\n" + "".join(f"    a += {number}\n" for number in range(2, 12))
    after = {
        "shop/__init__.py": '"""The shop."""\n',
        "shop/a.py": code,
        "shop/b.py": code,
        "shop/migrations/0002_x.py": code,
        "tests/test_a.py": code,
    }
    chosen, possible = mutants_of({}, after, 4)
    assert [(one.path, one.line) for one in chosen] == [
        ("shop/a.py", 7), ("shop/b.py", 7), ("shop/a.py", 4), ("shop/b.py", 4)
    ]  # fmt: skip
    assert {one.path for one in mutants_of({}, after, possible)[0]} == {"shop/a.py", "shop/b.py"}


DECLARED = "\n\nLIMIT = 20\n"


@pytest.mark.parametrize("declared", ["", DECLARED], ids=["code alone", "and what is declared"])
def test_a_test_whose_file_needs_the_change_is_idle_only_where_all_of_it_could_be_reached(
    tmp_path: Path, declared: str
) -> None:
    there = trees(tmp_path)
    there = replace(there, after={path: text + declared for path, text in there.after.items()})
    before = ran(failed=["tests/test_refunds.py"])  # its file cannot be imported: pytest names the file alone
    runs = iter([before, ran(REFUND)])
    found = newly.show(there, [REFUND], ["tests/test_refunds.py"], lambda *_: next(runs), 60)
    told = [one.text for one in newly.judge(found, {}, ())]
    assert (found.idle, found.unknown) == ((frozenset(), frozenset()) if declared else ({REFUND}, {REFUND}))
    assert ["cannot be run on the code before the change" in one for one in told] == ([] if declared else [True])


def test_what_a_plugin_reports_beside_the_tests_is_no_new_test(tried: Callable[..., Examined]) -> None:
    found = tried(case_of("pytest", FEATURE), [REFUND, "tests/test_refunds.py::black"], 0)
    assert [one.text for one in found.findings if "black" in one.text] == []


def test_what_could_not_be_tried_is_unknown_and_not_idle(tmp_path: Path) -> None:
    found = newly.show(trees(tmp_path), [REFUND], ["tests/test_refunds.py"], lambda *_: not_run("no sandbox"), 60)
    assert (found.idle, "no sandbox" in found.reason) == (frozenset(), True)


API = [
    f"tests/test_api.py::test_{name}" for name in ("an_order_without_lines_is_refused", "out_of_stock_is_a_conflict")
]
MERGED = [f"tests/test_api.py::test_what_is_refused[{name}]" for name in ("a", "b")]


def test_tests_that_are_renamed_or_given_parameters_are_no_loss(tmp_path: Path) -> None:
    case = case_of("pytest", "tests become one with parameters")
    found = told(case, tmp_path, API, dict.fromkeys(MERGED, "passed"))
    assert (rules(found), found.accounted) == ([], frozenset(API))


def test_tests_that_no_longer_run_are_found_by_their_ids(tmp_path: Path) -> None:
    case = case_of("pytest", FEATURE)
    found = told(case, tmp_path, [*API, REFUND], {API[0]: "skipped", REFUND: "passed"})
    assert (rules(found), found.accounted) == (["test-skipped", "test-not-run"], frozenset())


def test_without_a_run_it_says_that_nothing_was_tried(tmp_path: Path) -> None:
    found = told(case_of("pytest", "a failing test is deleted"), tmp_path, [], {})
    assert rules(found) == ["test-deleted"]
    assert found.shown.reason == found.mutation.reason == "nothing was tried"
