"""A report read as text, each claim of it held against the branch, the database and the journal that it speaks of."""

import re
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

from scenario import git

from backend_crew.crew.journal import Journal
from backend_crew.tools.contract.static_routes import scan_routes
from backend_crew.tools.tables.find import find_tables

_ENDPOINT = re.compile(r"- `([A-Z]+) (\S+)`")
_FILE = re.compile(r"- `(\S+)` (added|modified|deleted) \(\+(\d+) -(\d+)\)")
_TEST = re.compile(r"  - (\S.*?): (passed|failed|skipped|not run)$")
_ALTERED = re.compile(r"- `([\w.<>]+)` in (\S+):(\d+): ")
_STATUS = {"A": "added", "M": "modified", "D": "deleted"}


def sections(text: str) -> dict[str, list[str]]:
    """The lines of each section by its title, as they are displayed: without the escapes of Markdown."""
    found: dict[str, list[str]] = {}
    for part in re.sub(r"\\([^a-zA-Z0-9\s])", r"\1", text).split("\n## ")[1:]:
        title, _, body = part.partition("\n")
        found[title] = [line for line in body.splitlines() if line.strip()]
    return found


def endpoints(report: dict[str, list[str]], before: Path, after: Path) -> None:
    """Exactly the operations that the branch serves and the base does not."""
    said = {match.groups() for line in report["Endpoints (new and changed)"] if (match := _ENDPOINT.match(line))}
    routes = [{(one.method, one.template) for one in scan_routes(tree).endpoints} for tree in (before, after)]
    assert said and said == routes[1] - routes[0]


def models(report: dict[str, list[str]], before: Path, after: Path, database: Path) -> None:
    """Exactly the new tables, in the source and in the database."""
    said = {line.removeprefix("- ").removesuffix(" (new)") for line in report["Models"]}
    tables = [{one.model: one.name for one in find_tables(_sources(tree)).tables} for tree in (before, after)]
    new = {model: name for model, name in tables[1].items() if model not in tables[0]}
    assert said and said == set(new)
    with sqlite3.connect(database) as connection:
        held = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    connection.close()
    assert set(new.values()) <= held
    assert any(f"→ {revision}" in line for line in report["Migrations"]), "the database stands where it says"


def _sources(tree: Path) -> dict[str, bytes]:
    return {path.relative_to(tree).as_posix(): path.read_bytes() for path in tree.rglob("*.py")}


def files(report: dict[str, list[str]], repo: Path, branch: str, after: Path) -> None:
    """Exactly the changed files with their lines, as git counts them; services and altered definitions are there."""
    said = {match.groups() for line in report["Files"] if (match := _FILE.match(line))}
    counted = [line.split("\t") for line in git(repo, "diff", "--numstat", f"main...{branch}").splitlines()]
    named = git(repo, "diff", "--name-status", "--no-renames", f"main...{branch}").splitlines()
    status = {path: letter for letter, _, path in (line.partition("\t") for line in named)}
    known = {(path, _STATUS[status[path]], added, removed) for added, removed, path in counted}
    assert said and said == {one for one in known if not one[0].startswith("specs/")}
    for line in report["Services"]:
        assert (after / line.removeprefix("- ").strip("`")).is_file()
    for match in filter(None, map(_ALTERED.match, report["Existing definitions that changed"])):
        name, path, number = match.groups()
        stands = (after / path).read_text().splitlines()[int(number) - 1]
        assert name.rpartition(".")[2] in stands or stands.lstrip().startswith("@"), (name, stands)


def tests(report: dict[str, list[str]], before: Path, after: Path) -> None:
    """The counts of a run of our own, how many tests are new, and that those that show criteria pass."""
    outcomes = _run(after)
    counts = Counter(outcomes.values())
    said = {
        word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|error|skipped)", report["Tests"][1])
    }
    assert said == {word: counts.get(word, 0) for word in said} and sum(said.values()) == len(outcomes)
    (new,) = (line for line in report["Tests"] if line.startswith("- new tests: "))
    assert int(new.removeprefix("- new tests: ")) == len(outcomes.keys() - _run(before).keys())
    shown = [match.groups() for line in report["Acceptance criteria"] if (match := _TEST.match(line))]
    assert shown
    assert {(test, outcome) for test, outcome in shown} <= set(outcomes.items())


def _run(tree: Path) -> dict[str, str]:
    """Outcomes by test id, from a plain run."""
    report = tree / "plain.xml"
    argv = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", "-o", "junit_family=xunit1"]
    subprocess.run(argv, cwd=tree, capture_output=True, check=True, timeout=300)
    found = {}
    for case in ElementTree.parse(report).iter("testcase"):  # written by the line above
        kinds = {child.tag for child in case} & {"failure", "error", "skipped"}
        outcome = {"failure": "failed"}.get(kinds.pop(), "error") if kinds else "passed"
        path = str(case.get("classname")).replace(".", "/") + ".py"
        found[f"{path}::{case.get('name')}"] = outcome
    return found


def records(report: dict[str, list[str]], journal: Journal, run: str) -> None:
    """What was spent, what people decided, and the digests of the records."""
    spent = report["Spent"][0]
    totals = journal.totals(run)
    words = (
        f"{totals.calls} model calls, {totals.prompt_tokens} prompt and {totals.completion_tokens} completion tokens"
    )
    assert spent.startswith(words)
    decided = journal.decisions(run)
    assert [line.split(":")[0] for line in report["Gates"]] == [f"- {one.gate} round {one.round}" for one in decided]
    for line in report["Records"][1:]:
        found = re.search(r"record `(\w+)`, round (\d+), sha256 (\w+)", line)
        assert found is not None, line
        output = journal.output(run, found[1])
        assert output is not None and (output.round, output.digest[:16]) == (int(found[2]), found[3])
