"""A whole run under a test's hand: repository, database, home, scripted model and person in one place."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import quiet  # noqa: F401  # first: it quiets the import of crewai
import scenario
from places import sqlite_revision

from backend_crew.crew.approvers import Verdict
from backend_crew.crew.embed import BackendCrew, Result
from backend_crew.crew.gates import Packet
from backend_crew.crew.journal import Journal
from backend_crew.crew.settings import Caps, Options

Decide = Callable[[Packet], Verdict | None]


@dataclass
class Person:
    """Decides at the gates from lists by gate, the default when a list is used up; keeps the packets it saw."""

    decisions: dict[str, list[Verdict | None]] = field(default_factory=dict)
    default: Decide = scenario.approve_all
    seen: list[Packet] = field(default_factory=list)

    def __call__(self, packet: Packet) -> Verdict | None:
        """The next decision of that gate."""
        self.seen.append(packet)
        listed = self.decisions.get(packet.gate)
        return listed.pop(0) if listed else self.default(packet)

    def packets(self, gate: str) -> list[Packet]:
        """What was shown at a gate, in order."""
        return [packet for packet in self.seen if packet.gate == gate]


@dataclass
class Stand:
    """One repository with its database, and one home for the runs over it."""

    repo: Path
    database: Path
    home: Path
    script: scenario.Script = field(default_factory=scenario.Script)
    person: Person = field(default_factory=Person)
    run: str = ""

    def crew(self, *, feature: str = scenario.FEATURE, **options: Any) -> BackendCrew:
        """A new run; options are those of the command line."""
        given = {"database_env": scenario.ENV, "python": scenario.PYTHON, "checks": "quick", **options}
        crew = BackendCrew(
            self.repo, feature, approver=self.person, model=self.script, home=self.home, options=Options(**given)
        )
        self.run = crew.run.id
        return crew

    def again(self, script: scenario.Script | None = None) -> BackendCrew:
        """The same run as a new program would open it."""
        return BackendCrew(run=self.run, approver=self.person, model=script or self.script, home=self.home)

    def kickoff(self, **options: Any) -> Result:
        """A whole run, as far as it goes."""
        return self.crew(**options).kickoff()

    @contextmanager
    def journal(self) -> Iterator[Journal]:
        """The history, read from outside the run."""
        journal = Journal(self.home)
        try:
            yield journal
        finally:
            journal.close()

    def events(self, kind: str | None = None) -> list[Mapping[str, Any]]:
        """The run's events."""
        with self.journal() as journal:
            return list(journal.events(self.run, kind))

    def payload(self, task: str) -> dict[str, Any]:
        """What a task recorded, as it counts now."""
        with self.journal() as journal:
            output = journal.output(self.run, task)
        assert output is not None, f"{task} recorded nothing"
        return dict(output.payload)

    @property
    def folder(self) -> Path:
        """The run's private folder."""
        return self.home / "runs" / self.run

    @property
    def tree(self) -> Path:
        """The run's private tree."""
        return self.folder / "tree"

    @property
    def branch(self) -> str:
        """The branch that the run publishes."""
        with self.journal() as journal:
            return journal.run(self.run).branch

    def branches(self) -> set[str]:
        """The branches of the person's repository."""
        return set(scenario.git(self.repo, "branch", "--format=%(refname:short)").split())

    def on_branch(self, path: str) -> str:
        """A file as the published branch holds it."""
        return scenario.git(self.repo, "show", f"{self.branch}:{path}")

    @property
    def revision(self) -> str | None:
        """The revision of the person's database."""
        return sqlite_revision(self.database)

    def fingerprint(self) -> dict[str, Any]:
        """What must not change in the person's repository: files with times, index, HEAD and settings."""
        files = {
            path.relative_to(self.repo).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
            for path in sorted(self.repo.rglob("*"))
            if path.is_file() and ".git" not in path.relative_to(self.repo).parts and path != self.database
        }
        kept = {name: (self.repo / ".git" / name).read_bytes() for name in ("HEAD", "index", "config")}
        return {"files": files, **kept, "head": scenario.git(self.repo, "rev-parse", "HEAD")}


def stand(folder: Path, files: Mapping[str, str] = scenario.FILES, notes: int = 3) -> Stand:
    """Lay out repository and database, and name the database in the environment, as a person's shell would."""
    repo = scenario.make_repository(folder / "notes", files)
    database = scenario.make_database(repo / "notes.db", notes)
    os.environ[scenario.ENV] = f"sqlite:///{database}"
    return Stand(repo, database, folder / "home")


def without_migration() -> dict[str, list[scenario.Step]]:
    """The steps of a good model for a feature that needs no migration and no data access: quick runs."""
    steps = scenario.happy()
    design = json.loads(json.dumps(scenario.DESIGN))
    design["migration"] = {**design["migration"], "needed": False, "steps": [], "reason": "Nothing is stored."}
    design["data_model"] = {"entities": []}
    design["files"] = [
        {"path": "app/service.py", "action": "modify", "layer": "business_logic", "purpose": "count"},
        {"path": "tests/test_archive.py", "action": "create", "layer": "tests", "purpose": "tests"},
    ]
    steps["design"] = [scenario.submit(**design)]
    del steps["implement_data_access"], steps["review_migrations"]
    steps["implement_business_logic"] = [
        scenario.use(scenario.call("read_file", path="app/service.py")),
        scenario.use(scenario.call("write_file", path="app/service.py", text=scenario.SERVICE + COUNT)),
        scenario.submit(summary="count()"),
    ]
    steps["test"] = [
        scenario.use(scenario.call("write_file", path="tests/test_archive.py", text=COUNT_TESTS)),
        scenario.submit(**COUNT_REPORT),
    ]
    return steps


COUNT = """\


def count(session: Session) -> int:
    return len(listed(session))
"""
COUNT_TESTS = """\
from app import service


class Nothing:
    def scalars(self, query: object) -> list[object]:
        return []


def test_nothing_counts_as_zero() -> None:
    assert service.count(Nothing()) == 0
"""
COUNT_REPORT: dict[str, Any] = {
    "overview": "One test.",
    "shown": [
        {"criterion": name, "tests": ["tests/test_archive.py::test_nothing_counts_as_zero"]} for name in ("AC1", "AC2")
    ],
}


def caps(**given: Any) -> Caps:
    """The default caps with some put in place."""
    return Caps(**{**vars(Caps()), **given})
