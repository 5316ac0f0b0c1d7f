"""`go test`: its event stream, which is what the command prints.

There is no report file: what a test prints is read by Go for its own marks, so a test can name outcomes that it did not
have. Go's exit code, which a test of another package cannot reach, has to agree.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from backend_crew.tools.errors import ToolError, ToolRetry
from backend_crew.tools.junit import CASE_LIMIT, TestCase
from backend_crew.tools.runners import lines
from backend_crew.tools.runners.protocol import Argv, Place, Plan, Report, Runner, program, split_id
from backend_crew.tools.workspace import read_file

_ENDS = {"pass": "passed", "fail": "failed", "skip": "skipped"}
_KEPT = 4_000
# Go before 1.24 says in plain text that a package could not be built.
_NOT_BUILT = re.compile(rb"^FAIL\t(\S+) \[(?:build|setup) failed\]")


@dataclass
class _Events:
    """What was said of one test, or of a package as a whole (test "")."""

    outcome: str = ""
    seconds: float = 0.0
    said: list[str] = field(default_factory=list)
    size: int = 0

    def say(self, text: str) -> None:
        if self.size < _KEPT:
            self.said.append(text)
            self.size += len(text)


def _owns(argv: Argv) -> bool:
    return program(argv) == "go" and argv[1:2] == ("test",)


def _plan(argv: Argv, paths: Sequence[str], report: str) -> Plan:
    words = tuple(word for word in argv if word != "-json")
    whole = (*words[:2], "-json", *words[2:])
    if not paths:
        return Plan(whole, None, argv)
    parts = [split_id(path) for path in paths]
    folders = dict.fromkeys(_folder(path) for path, _ in parts)
    names = [rest for _, rest in parts if rest]
    # Of several tests each level is a choice of its own, so more may be run than was asked for.
    levels = [dict.fromkeys(name.split("/")[depth] for name in names if name.count("/") >= depth) for depth in range(2)]
    pattern = "/".join(f"^({'|'.join(map(re.escape, level))})$" for level in levels if level)
    only = ("-run", pattern) if names and len(names) == len(parts) else ()
    kept = tuple(word for word in words[2:] if word.startswith("-"))
    return Plan((*words[:2], "-json", *kept, *only, *folders), None, (*argv, *paths))


def _folder(path: str) -> str:
    return f"./{PurePosixPath(path).parent if path.endswith('.go') else path}"


def _read(data: bytes, place: Place) -> Report:
    events: dict[tuple[str, str], _Events] = {}
    for line in data.splitlines():
        if built := _NOT_BUILT.match(line):
            events.setdefault((built[1].decode(errors="replace"), ""), _Events("failed")).say(
                line.decode(errors="replace")
            )
            continue
        entry = _entry(line)
        action, package, test = (entry.get(key, "") for key in ("Action", "Package", "Test"))
        if not all(isinstance(one, str) for one in (action, package, test)) or not package:
            continue
        one = events.setdefault((package, test), _Events())
        if action == "output":
            one.say(str(entry.get("Output", "")))
        elif action in _ENDS:
            one.outcome, one.seconds = _ENDS[action], lines.seconds(entry.get("Elapsed"))
        if len(events) > CASE_LIMIT:
            raise ToolRetry(f"the report has more than {CASE_LIMIT} cases; run fewer tests at a time")
    module = _module(place)
    return Report(
        tuple(
            _case(module, package, test, one, events)
            for (package, test), one in events.items()
            if _counts(test, package, events)
        )
    )


def _counts(test: str, package: str, events: dict[tuple[str, str], _Events]) -> bool:
    """Whether it is a case: a package is one where it failed and none of its tests did."""
    if test:
        return True
    red = any(name and one.outcome == "failed" for (of, name), one in events.items() if of == package)
    return events[package, ""].outcome == "failed" and not red


def _case(module: str, package: str, test: str, one: _Events, events: dict[tuple[str, str], _Events]) -> TestCase:
    inside = package[len(module) :].strip("/") if package == module or package.startswith(f"{module}/") else package
    message = lines.message("".join(one.said)) if one.outcome != "passed" else ""
    if not test:
        return TestCase(inside or ".", "error", one.seconds, message)
    # A test that began and did not end was cut off with its process.
    return TestCase(f"{inside or '.'}::{test}", one.outcome or "error", one.seconds, message)


def _entry(line: bytes) -> dict[str, Any]:
    """One event; what is none, as a warning of the linker, says nothing."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) else {}


def _module(place: Place) -> str:
    try:
        data, _ = read_file(place.tree, "go.mod")
    except (ToolError, OSError):
        return ""
    found = re.search(r"^module\s+\"?([^\s\"]+)", data.decode("utf-8", errors="replace"), re.MULTILINE)
    return found[1] if found else ""


GO = Runner(name="go", owns=_owns, plan=_plan, read=_read, red=None, names_files=False)
