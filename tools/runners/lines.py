"""Reports that our own reporters write: one JSON object a line, so that a run which is cut short has no end.

A case a line, last `{"end": true}`; with `"unknown": true` in it the tests ran in a way that the reporter cannot see. The
lines come out of a process that runs the repository's code: they are bounded and checked like any report.
"""

import json
from typing import Any

from backend_crew.tools.errors import ToolRetry
from backend_crew.tools.excerpt import head
from backend_crew.tools.junit import CASE_LIMIT, MESSAGE_LIMIT, OUTCOMES, TestCase, merged
from backend_crew.tools.runners.protocol import Place, Report

_ID_LIMIT = 2_000
_NO_END = "the report has no end: something in the tests ended the process that ran them"


def read(data: bytes, place: Place) -> Report:
    """The cases; a report without its last line says so as its problem. Raises ToolRetry for what is none."""
    cases: list[TestCase] = []
    last: dict[str, Any] = {}
    for line in data.splitlines():
        last = _entry(line)
        if "id" in last:
            cases.append(_case(last))
        if len(cases) > CASE_LIMIT:
            raise ToolRetry(f"the report has more than {CASE_LIMIT} cases; run fewer tests at a time")
    if last.get("end") is not True:
        return Report(tuple(merged(cases)), problem=_NO_END)
    return Report(tuple(merged(cases)), counted=last.get("unknown") is not True)


def _entry(line: bytes) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ToolRetry(f"the report is not the one that was asked for: {error}") from error
    if not isinstance(entry, dict):
        raise ToolRetry("the report is not the one that was asked for: a line is no object")
    return entry


def _case(entry: dict[str, Any]) -> TestCase:
    name, outcome = entry["id"], entry.get("outcome")
    if not isinstance(name, str) or outcome not in OUTCOMES:
        raise ToolRetry("the report is not the one that was asked for: a case has no id or no known outcome")
    return TestCase(head(name, _ID_LIMIT), outcome, seconds(entry.get("seconds")), message(entry.get("message")))


def seconds(value: object) -> float:
    """A duration out of JSON; 0 for what is none."""
    return float(value) if isinstance(value, int | float) and 0 <= value < 1e7 else 0.0


def message(value: object) -> str:
    """A failure's text out of JSON, bounded; "" for what is none."""
    return head(value, MESSAGE_LIMIT).strip() if isinstance(value, str) else ""


def number(value: object) -> int:
    """A count out of JSON; 0 for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
