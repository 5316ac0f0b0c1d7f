"""Reports as the real tools wrote them (`-m tool` runs the same samples), and reports that no tool writes."""

import json
from pathlib import Path

import pytest
import runner_samples as samples

from backend_crew.tools.errors import ToolRetry
from backend_crew.tools.junit import read_report, written
from backend_crew.tools.runners.find import RUNNERS, runner_of
from backend_crew.tools.runners.protocol import Place, Report, Runner
from backend_crew.tools.testcommand import propose_commands

DATA = Path(__file__).parent / "data" / "runners"
RECORDED = sorted(path.stem for path in DATA.glob("*.report"))


def runner(name: str) -> Runner:
    return next(one for one in RUNNERS if one.name == name)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, Path("/srv/shop"))


def put(tree: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_report_is_read_as_the_sample_says(place: Place, name: str) -> None:
    put(place.tree, samples.FILES[name])
    report = runner(name).read((DATA / f"{name}.report").read_bytes(), place)
    assert {case.id: case.outcome for case in report.cases} == samples.OUTCOMES[name]
    assert not report.problem and report.counted
    red = next(case for case in report.cases if case.id.endswith(samples.SINGLE[name][1]))
    assert red.message
    assert {(one.id, one.outcome) for one in read_report(written(report.cases), _id)[0]} == {
        (one.id, one.outcome) for one in report.cases
    }


def _id(attributes: dict[str, str], suites: tuple[str, ...]) -> str:
    file, name = attributes["classname"], attributes["name"]
    return file if file == name else f"{file}::{name}"


def test_every_runner_but_those_that_run_in_the_default_suite_has_a_recorded_report() -> None:
    assert {one.name for one in RUNNERS} == {"pytest", "unittest", "django", *RECORDED}
    assert set(RECORDED) == set(samples.FILES)


JEST_CASE = {"ancestorTitles": ["a"], "title": "b", "status": "passed", "failureMessages": []}


def jest(case: object = JEST_CASE, **more: object) -> bytes:
    return json.dumps({"testResults": [{"name": "/srv/shop/a.js", "assertionResults": [case]}], **more}).encode()


@pytest.mark.parametrize("name", sorted(one.name for one in RUNNERS if one.name not in ("go", "maven", "gradle")))
@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\0\xff", b"[" * 100_000, b'{"testResults": 1, "passes": {}}'])
def test_what_is_no_report_is_never_a_good_one(place: Place, name: str, data: bytes) -> None:
    try:
        report = runner(name).read(data, place)
    except ToolRetry:
        return
    assert report.problem and not report.cases


def test_go_reads_nothing_but_events(place: Place) -> None:
    report = runner("go").read(
        b'garbage\n[1]\n{"Action": 1}\n{"Action": "pass", "Package": "x"}\n' + b"[" * 9_000, place
    )
    assert report == Report(())
    cut = runner("go").read(b'{"Action": "run", "Package": "x", "Test": "TestA"}\n', place)
    assert [(one.id, one.outcome) for one in cut.cases] == [("x::TestA", "error")], "what did not end did not pass"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (jest({**JEST_CASE, "status": "good"}), "outcome that is not known"),
        (jest(7), "list of objects"),
        (b'{"id": "a", "outcome": "splendid"}\n{"end": true}\n', "no known outcome"),
        (b'{"id": "a", "outcome": "passed"}\n', "no end"),
    ],
)
def test_a_report_with_something_else_in_it_says_so(place: Place, data: bytes, says: str) -> None:
    name = "jest" if data.startswith(b'{"testResults') else "node"
    try:
        said = runner(name).read(data, place).problem
    except ToolRetry as error:
        said = str(error)
    assert says in said


def test_totals_that_claim_failures_and_an_interrupted_run_count(place: Place) -> None:
    assert runner("jest").read(jest(numFailedTests=2), place).claimed == 2
    assert "interrupted" in runner("vitest").read(jest(wasInterrupted=True), place).problem


@pytest.mark.parametrize(
    ("line", "name", "before", "argv"),
    [
        ("FLAG=1 pytest -q", "pytest", ("env", "FLAG=1"), ("pytest", "-q")),
        ("npx --no-install jest --coverage", "jest", (), ("jest", "--coverage")),
        ("tsc && cross-env A=b vitest", "vitest", ("sh", "-c", 'tsc && "$@"', "sh", "env", "A=b"), ("vitest",)),
        ("npm test", "mocha", ("sh", "-c", 'lint && "$@"', "sh"), ("mocha", "--exit")),
        ("npm run unit -- --bail", "jest", (), ("jest", "-i", "--bail")),
        ("uv run --frozen pytest", "pytest", (), ("pytest",)),
        ("cd api && pytest", None, (), ()),
        ("pytest | tee log", None, (), ()),
        ("pytest; true", None, (), ()),
        ("pytest || true", None, (), ()),
        ("pytest & true", None, (), ()),
        ("pytest\ntrue", None, (), ()),
        ("npm run loop", None, (), ()),
        ("npm run posted", None, (), ()),
        ("make test", None, (), ()),
    ],
)
def test_a_command_is_unfolded_where_it_is_plain(
    tmp_path: Path, line: str, name: str | None, before: tuple[str, ...], argv: tuple[str, ...]
) -> None:
    scripts = {
        "test": "mocha --exit",
        "pretest": "lint",
        "unit": "jest -i",
        "loop": "npm run loop",
        "posted": "jest",
        "postposted": "x",
    }
    put(tmp_path, {"package.json": json.dumps({"scripts": scripts})})
    found = runner_of(("sh", "-c", line), tmp_path)
    assert (found and (found.runner.name, found.before, found.argv)) == (name and (name, before, argv))


@pytest.mark.parametrize(
    ("files", "argv", "name"),
    [
        ({"package.json": '{"scripts": {"test": "jest"}}'}, ("jest",), "jest"),
        ({"package.json": '{"scripts": {"test": "lint && vitest run"}}'}, ("npm", "test", "--silent"), "vitest"),
        ({"package.json": '{"scripts": {"test": "a | b"}}'}, ("npm", "test", "--silent"), "generic"),
        ({"package.json": '{"devDependencies": {"mocha": "11"}}'}, ("mocha",), "mocha"),
        ({"package.json": "{}", "vitest.config.ts": "export default {}\n"}, ("vitest",), "vitest"),
        ({"go.mod": "module x\n"}, ("go", "test", "./..."), "go"),
        ({"pom.xml": "<project>\n", "mvnw": ""}, ("./mvnw", "-q", "-o", "test"), "maven"),
        ({"build.gradle": "x\n"}, ("gradle", "--offline", "test"), "gradle"),
    ],
)
def test_a_command_is_found_from_the_repositorys_own_configuration(
    tmp_path: Path, files: dict[str, str], argv: tuple[str, ...], name: str
) -> None:
    put(tmp_path, files)
    (found,) = propose_commands(tmp_path)
    assert (found.argv, found.runner) == (argv, name)
    path, line = found.evidence.split(":")
    assert 1 <= int(line) <= len((tmp_path / path).read_text().split("\n"))


@pytest.mark.parametrize("one", RUNNERS, ids=lambda one: str(one.name))
def test_a_plan_names_its_report_and_hides_ours_from_people(one: Runner) -> None:
    argv = {
        "pytest": ("pytest",), "unittest": ("python3", "-m", "unittest"), "django": ("python3", "manage.py", "test"),
        "node": ("node", "--test"), "go": ("go", "test", "./..."), "maven": ("./mvnw", "test"), "gradle": ("gradle", "test"),
    }.get(one.name, (one.name,))  # fmt: skip
    assert one.owns(argv)
    plan = one.plan(argv, ("a/b::c (d)",), "the-report")
    assert plan.report in (None, "the-report") and (plan.report is None) == (one.name == "go")
    assert any("the-report" in word for word in plan.argv) or plan.report is None
    assert len(" ".join(plan.shown)) < 200
