"""What schemathesis reported of a run, from its report files; its text says nothing that counts."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from backend_crew.tools.change_finding import ChangeFinding
from backend_crew.tools.errors import ToolError
from backend_crew.tools.excerpt import head
from backend_crew.tools.sandbox import Box

# Which of its checks is which rule of ours, and how much it weighs: what it makes of a vague schema is not always a fault.
_RULES = {
    "not_a_server_error": ("server-error", "error", "answer with a status of the contract"),
    "response_schema_conformance": ("answer-differs", "error", "answer as the contract has it"),
    "status_code_conformance": (
        "status-undocumented",
        "warning",
        "answer with a status of the contract, or add it there",
    ),
    "content_type_conformance": ("media-type", "error", "answer as the contract has it"),
    "negative_data_rejection": ("not-validated", "warning", "refuse what the contract does not allow"),
}
_FINDINGS = 40
_TEXT = 300


@dataclass(frozen=True)
class Report:
    """One run: whether it came to its end, how many cases it made, and what failed, each fault once an operation."""

    complete: bool
    generated: int
    findings: tuple[ChangeFinding, ...]


def read_report(box: Box, name: str, limit: int) -> Report | None:
    """The report files that begin with `name` in a box; None where there is none that can be read."""
    try:
        summary = json.loads(box.read(f"{name}.json", limit) or b"null")
        events = (box.read(f"{name}.ndjson", limit) or b"").decode("utf-8", errors="replace")
        if not isinstance(summary, dict):
            return None
        tested, total = summary["operations"]["tested"], summary["operations"]["selected"]
        complete = summary["complete"] is True and tested == total and total > 0 and not summary["errors"]
        generated = int(summary["test_cases"]["generated"])
        findings = tuple(_findings(events))
        # The two files are of one run: a failure that only the summary has is one all the same.
        if not findings and summary["failures"]:
            titles = ", ".join(str(one["title"]) for one in summary["failures"])
            text = f"schemathesis reported: {head(titles, _TEXT)}"
            findings = (ChangeFinding("contract", "run-failed", "error", "", 0, text, "run it by hand"),)
        return Report(complete, generated, findings)
    except (ToolError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _findings(events: str) -> Iterator[ChangeFinding]:
    seen: set[tuple[str, str]] = set()
    for line in events.splitlines():
        if len(seen) >= _FINDINGS:
            return
        if "ScenarioFinished" not in line:
            continue
        recorder = json.loads(line).get("ScenarioFinished", {}).get("recorder") or {}
        for case, checks in (recorder.get("checks") or {}).items():
            for check in checks:
                failure = ((check.get("failure_info") or {}).get("failure")) or {}
                name, operation = str(check.get("name")), str(failure.get("operation") or recorder.get("label"))
                if check.get("status") == "failure" and name in _RULES and (name, operation) not in seen:
                    seen.add((name, operation))
                    yield _finding(name, operation, failure, _request(recorder, case))


def _finding(check: str, operation: str, failure: dict[str, Any], request: str) -> ChangeFinding:
    rule, severity, fix = _RULES[check]
    said = " ".join(str(failure.get("message") or failure.get("title") or "").split())
    text = f"{operation}: {head(str(failure.get('title')), 100)}: {head(said, _TEXT)}; for {request}"
    level: Any = severity
    return ChangeFinding("contract", rule, level, "", 0, text, fix)


def _request(recorder: dict[str, Any], case: str) -> str:
    """The request that showed it, short."""
    one = (recorder.get("cases") or {}).get(case) or {}
    value = one.get("value") or {}
    shown = {key: value[key] for key in ("path_parameters", "query", "body") if key in value}
    return head(f"{value.get('method')} {value.get('path')} {json.dumps(shown, ensure_ascii=False)}", 200)
