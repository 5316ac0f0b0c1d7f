"""The application started in the sandbox on a scratch database, and called: without credentials, and by schemathesis."""

import contextlib
import json
import re
import secrets
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from backend_crew.tools import unset
from backend_crew.tools.change_finding import ChangeFinding
from backend_crew.tools.contract.applications import Application, find_applications
from backend_crew.tools.contract.operations import Operation, operations_of
from backend_crew.tools.contract.reported import Report, read_report
from backend_crew.tools.contract.samples import sample_body, sample_path
from backend_crew.tools.documents import read_document
from backend_crew.tools.errors import ToolError, ToolRetry
from backend_crew.tools.excerpt import tail
from backend_crew.tools.migrators.protocol import POSTGRESQL, SQLITE, Led, Migrator, Move, Pointing, Scratch
from backend_crew.tools.only_sources import only_sources
from backend_crew.tools.runtime import Runtime, find_runtime
from backend_crew.tools.sandbox import NoSandbox
from backend_crew.tools.scratches import Place, scratch_of

_FOLDER = ".contract"  # of the box; the repository never has it
_SIZE = 20_000_000
_HERE = Path(__file__).parent
_CHECKS = (
    "not_a_server_error,response_schema_conformance,status_code_conformance,content_type_conformance,"
    "negative_data_rejection"
)
# What code says that did not reach a database of the shape that it expects: nothing of the change is shown by it.
_NO_DATABASE = re.compile(
    r"(no such table|relation \"[^\"]*\" does not exist|UndefinedTable|could not connect|Connection refused"
    r"|unable to open database file|doesn't exist|OperationalError[^\n]{0,200})"
)
_MADE_UP = "Bearer made-up-by-the-contract-check"


@dataclass(frozen=True)
class Bounds:
    """How much is tried: examples an operation, seconds in all, and the seed of what is drawn."""

    examples: int = 20
    seconds: int = 60
    seed: int = 1


@dataclass(frozen=True)
class Exercise:
    """The outcome; "not run" has its reason and is never a pass. `called` counts operations called without credentials.

    `generated` counts the cases that schemathesis made; `fuzz_reason` says why it made none.
    """

    status: Literal["passed", "failed", "not run"]
    reason: str
    findings: tuple[ChangeFinding, ...] = ()
    called: int = 0
    generated: int = 0
    fuzz_reason: str = ""
    log_tail: str = field(default="", repr=False)


@dataclass(frozen=True)
class Subject:
    """What is started: a tree, how its database is made, and what it is given.

    `tools` is the folder of a virtual environment that has schemathesis; `headers` are sent with its calls.
    """

    place: Place
    migrator: Migrator | None = None
    pointing: Pointing = field(default_factory=Pointing)
    tools: Path | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


def find_tools(folder: Path | None) -> tuple[Runtime | None, str]:
    """The environment with schemathesis in `folder`, or why it cannot be used and what to do."""
    how = "make one: python3 -m venv DIR && DIR/bin/pip install 'schemathesis>=4.30,<5'"
    if folder is None:
        return None, f"no environment with schemathesis was named; {how}"
    found = [*folder.glob("lib/python3.*/site-packages/schemathesis/__init__.py")]
    if not found:
        return None, f"{folder} has no schemathesis; {how}"
    try:
        return find_runtime(folder, virtual_env=folder), ""
    except ToolError as error:
        return None, str(error)


def exercise(
    document: str,
    subject: Subject | NoSandbox,
    *,
    only: Sequence[tuple[str, str]] | None = None,
    bounds: Bounds | None = None,
) -> Exercise:
    """Starts the application of a tree and calls the operations of the approved document, or `only` these keys of it.

    Raises ToolRetry for a document that cannot be read.
    """
    approved = read_document(document)
    if not isinstance(approved, Mapping):
        raise ToolRetry("The approved contract is no OpenAPI document.")
    if isinstance(subject, NoSandbox):
        return Exercise("not run", f"no sandbox works here: {subject.reason}")
    if not subject.place.sandbox.loopback:
        return Exercise("not run", f"{subject.place.sandbox.title} gives commands no network of their own")
    applications = [
        one for one in find_applications(subject.place.tree) if one.framework in ("FastAPI", "Flask", "Django")
    ]
    wanted = [one for one in operations_of(approved) if only is None or one.key in only]
    if not applications or not wanted:
        what = "no application was found that can be started" if not applications else "no operation is to be called"
        return Exercise("not run", what)
    tools, why = find_tools(subject.tools)
    run = _Run(approved, wanted, subject, applications[0], tools, bounds or Bounds())
    try:
        with tempfile.TemporaryDirectory(prefix="contract-") as private:
            return run.outcome(Path(private), why)
    except ToolError as error:
        return Exercise("not run", str(error))


@dataclass(frozen=True)
class _Run:
    """One start of one application."""

    approved: Mapping[str, Any]
    wanted: Sequence[Operation]
    subject: Subject
    application: Application
    tools: Runtime | None
    bounds: Bounds

    def outcome(self, private: Path, no_tools: str) -> Exercise:
        """Makes the database, starts, calls, and reads what was reported."""
        with self._scratch(private) as scratch:
            led, problem = self._database(scratch)
            if problem:
                return Exercise("not run", problem)
            token = secrets.token_hex(16)
            found = self._called(scratch, token, led)
            report = read_report(scratch.box, f"{_FOLDER}/{token}", _SIZE) if self.tools else None
        log = str(found.get("log", ""))
        if found.get("started") is not True:
            lines = [line for line in log.splitlines() if line.strip()]
            said = unset.told(lines) or tail(log.strip(), 400) or "it ended without a word"
            return Exercise("not run", f"the application did not start: {said}", log_tail=log)
        return self._judged(found, report, no_tools, log)

    @contextlib.contextmanager
    def _scratch(self, private: Path) -> Iterator[Scratch]:
        place, migrator = self.subject.place, self.subject.migrator
        dialect = POSTGRESQL if migrator is not None and migrator.engine() == POSTGRESQL else SQLITE
        if self.tools is not None:
            mounts = tuple(dict.fromkeys((*place.runtime.mounts, *self.tools.mounts)))
            mounts += (Path(str(self.subject.tools)).absolute(),)
            inside = [one for one in mounts if not one.is_relative_to(place.at)]
            place = replace(place, runtime=replace(place.runtime, mounts=_outermost(inside)))
        with scratch_of(place, dialect, private, whole=True) as scratch:
            yield scratch

    def _database(self, scratch: Scratch) -> tuple[Led, str]:
        """Makes the scratch database and brings it to the newest migration: how it is met, and what went wrong or ""."""
        scratch.create()
        migrator, pointing = self.subject.migrator, self.subject.pointing
        if migrator is None:
            return Led({**pointing.env, **dict.fromkeys(pointing.url_names, scratch.url())}), ""
        led = migrator.lead(scratch)
        history = migrator.history()
        files = history.between((), history.heads)
        done = migrator.up(scratch, Move((), history.after((), files), files))
        said = f"the migrations did not run on a scratch database: {tail(done.stderr.strip(), 300)}"
        return led, "" if done.ok else said

    def _called(self, scratch: Scratch, token: str, led: Led) -> dict[str, Any]:
        box, at = scratch.box, scratch.box.layout.at
        python = str(box.runtime.python)
        names = {
            name: f"{_FOLDER}/{token}{end}"
            for name, end in (
                ("out", "-out.json"), ("log", ".log"), ("port_file", ".port"), ("serve", "-serve.json"),
                ("order", "-order.json"), ("contract", "-contract.json")
            )
        }  # fmt: skip
        box.put(names["out"], b"null")
        serve: dict[str, object] = {"application": asdict(self.application), "port_file": str(at / names["port_file"])}
        serve |= {"driver": led.driver, "database": led.database}
        box.put(names["serve"], json.dumps(serve).encode())
        box.put(names["contract"], json.dumps(self._only_wanted()).encode())
        program = only_sources(box, (_HERE / "serve_driver.py").read_text(encoding="utf-8"))
        order = {
            "server": [python, "-c", program, str(at / names["serve"])],
            "port_file": str(at / names["port_file"]),
            "log": str(at / names["log"]),
            "out": str(at / names["out"]),
            "calls": list(self._calls()),
            "tool": self._tool(str(at / names["contract"]), str(at / f"{_FOLDER}/{token}")),
            "prefix": "",
            "seconds": self.bounds.seconds,
        }
        box.put(names["order"], json.dumps(order).encode())
        driver = (_HERE / "exercise_driver.py").read_text(encoding="utf-8")
        scratch.run((python, "-I", "-c", driver, str(at / names["order"])), env=led.env)
        with contextlib.suppress(ToolError):
            found = read_document((box.read(names["out"], _SIZE) or b"").decode("utf-8", errors="replace"))
            return found if isinstance(found, dict) else {}
        return {}

    def _only_wanted(self) -> dict[str, Any]:
        """The document with the wanted operations alone, under the paths at which they are served."""
        keys = {one.title for one in self.wanted}
        paths: dict[str, dict[str, Any]] = {}
        for path, item in dict(self.approved.get("paths") or {}).items():
            for method, body in dict(item if isinstance(item, Mapping) else {}).items():
                full = next((one.path for one in self.wanted if one.path.endswith(str(path))), str(path))
                if f"{method.upper()} {full}" in keys or method == "parameters":
                    paths.setdefault(full, {})[method] = body
        return {**{key: value for key, value in self.approved.items() if key != "servers"}, "paths": paths}

    def _calls(self) -> Iterator[dict[str, Any]]:
        for one in self.wanted:
            if one.protected:
                for name, headers in (("without", {}), ("made up", {"Authorization": _MADE_UP})):
                    yield {
                        "name": f"{name} {one.title}",
                        "method": one.method,
                        "path": sample_path(self.approved, one),
                        "body": sample_body(self.approved, one),
                        "headers": headers,
                    }

    def _tool(self, contract: str, report: str) -> list[str]:
        if self.tools is None:
            return []
        argv = [str(self.tools.python), "-I", "-m", "schemathesis.cli", "run", contract, "-c", _CHECKS]
        argv += ["-n", str(self.bounds.examples), "--seed", str(self.bounds.seed), "--continue-on-failure"]
        argv += ["--phases", "examples,coverage,fuzzing", "--report", "json,ndjson", "--request-timeout", "10"]
        argv += ["--report-json-path", f"{report}.json", "--report-ndjson-path", f"{report}.ndjson"]
        for name, value in self.subject.headers.items():
            argv += ["-H", f"{name}: {value}"]
        return argv

    def _judged(self, found: Mapping[str, Any], report: Report | None, no_tools: str, log: str) -> Exercise:
        findings = list(self._unguarded(found.get("calls")))
        generated, reason = 0, no_tools
        if self.tools is not None:
            ended = found.get("ended") if isinstance(found.get("ended"), dict) else {}
            if report is None or not report.complete:
                reason = f"schemathesis did not run to the end: {tail(str((ended or {}).get('said', '')).strip(), 300)}"
            else:
                generated, reason = report.generated, ""
            findings += report.findings if report else ()
        broken = _NO_DATABASE.search(log)
        if broken and any(one.rule == "server-error" for one in findings):
            text = f"the application did not reach a database of its shape ({broken[1][:150]})"
            fix = "name the variable that it reads its URL from"
            return Exercise("not run", f"{text}: {fix}", log_tail=log)
        wrong = sum(one.severity == "error" for one in findings)
        called = sum(bool(one.protected) for one in self.wanted)
        if wrong:
            return Exercise("failed", f"{wrong} faults in a run of it", tuple(findings), called, generated, reason, log)
        if not generated and not called:
            return Exercise("not run", reason, tuple(findings), 0, 0, reason, log)
        return Exercise("passed", "no fault in a run of it", tuple(findings), called, generated, reason, log)

    def _unguarded(self, calls: object) -> Iterator[ChangeFinding]:
        for one in calls if isinstance(calls, list) else ():
            name, status = str(one.get("name")), one.get("status")
            if status in (401, 403):
                continue
            how, _, title = name.removeprefix("made ").partition(" ")
            words = "without credentials" if how == "without" else "with made-up credentials"
            said = f"{title}: called {words} it answered {status or 'not at all'}"
            if isinstance(status, int) and 200 <= status < 400:
                text, severity = f"{said}, and the contract wants credentials", "error"
            elif isinstance(status, int) and status >= 500:
                yield _finding("server-error", "error", said)
                continue
            else:
                text, severity = f"{said}: whether it asks for credentials first is not known", "warning"
            yield _finding("unauthenticated", severity, text)


def _finding(rule: str, severity: str, text: str) -> ChangeFinding:
    level: Literal["error", "warning"] = "error" if severity == "error" else "warning"
    fixes = {"unauthenticated": "refuse the call with 401 before anything else is done"}
    return ChangeFinding("contract", rule, level, "", 0, text, fixes.get(rule, "answer with a status of the contract"))


def _outermost(paths: Sequence[Path]) -> tuple[Path, ...]:
    unique = sorted(set(paths))
    return tuple(path for path in unique if not any(path != other and path.is_relative_to(other) for other in unique))
