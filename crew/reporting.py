"""A run's summary as text: every word and number comes from its recorded facts."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from backend_crew.tools.honesty.examine import Bounds
from backend_crew.tools.literal_difference import parted

NO_COMMAND = "no command is known for these files; run them with the program that ran the earlier ones"
#: Outcome of a test that ran with others, where only the exit code of all is known.
UNKNOWN = "outcome not known"
_MUTANTS = Bounds().mutants


def in_words(argv: Sequence[str]) -> str:
    """A command in words: an interpreter by its name, a shell by what it is given."""
    if tuple(argv[:2]) == ("sh", "-c"):
        return argv[2]
    return " ".join((Path(argv[0]).name, *argv[1:]))


def moved(start: str | None, goal: str | None) -> str:
    """From where to where; of a tool that counts by app (Django) only the apps that moved."""
    old, new = (dict.fromkeys((text or "").split(", ")) for text in (start, goal))
    names = [name for name in (*old, *new) if name and (name in old) != (name in new)]
    if not names or not all(re.fullmatch(r"\w+\.\w+", name) for name in names):
        return f"{start or 'nothing'} → {goal or 'nothing'}"
    apps = dict.fromkeys(name.split(".")[0] for name in names)
    return "; ".join(f"{app}: {_of_app(app, names, old)} → {_of_app(app, names, new)}" for app in apps)


def _of_app(app: str, names: Sequence[str], there: Collection[str]) -> str:
    return ", ".join(name.split(".")[1] for name in names if name.split(".")[0] == app and name in there) or "nothing"


def report(facts: Mapping[str, Any]) -> str:
    """What was asked, decided, built, migrated, tested and not."""
    parts = [f"# Report: {facts['title']}\n", f"**{facts['status']}**{': ' + facts['why'] if facts['why'] else ''}\n"]
    parts.append(
        "## Endpoints (new and changed)\n\n"
        + f"As the approved contract has them. The code: {contract_words(facts['checks'], facts['findings'])}\n\n"
        + _lines(f"`{one['method']} {one['path']}` {one['summary']}" for one in facts["endpoints"])
    )
    parts.append("## Models\n\n" + _lines(facts["entities"]))
    parts.append("## Services\n\n" + _lines(f"`{path}`" for path in facts["services"]))
    parts.append(
        "## Files\n\n"
        + _lines(f"`{one['path']}` {one['status']} (+{one['added']} -{one['removed']})" for one in facts["files"])
    )
    if packages := facts["dependencies"].get("packages"):
        status = f"{facts['dependencies']['status']} {facts['dependencies']['reason']}".strip()
        parts.append(f"## New dependencies\n\n- {', '.join(packages)}: {status}\n")
    parts.append("## Migrations\n\n" + _lines(migration_lines(facts["migrations"])))
    parts.append("## Tests\n\n" + _lines(test_lines(facts["tests"])))
    parts.append(
        "## Checks beside the tests\n\n"
        + _lines([*check_lines(facts["checks"], facts["findings"]), *_unchecked(facts)])
    )
    rows = [f"{_shown(one)} **{one['id']}** {one['text']}" + _tests_of(one) for one in facts["criteria"]]
    parts.append("## Acceptance criteria\n\n" + _lines(rows))
    parts.append(
        "## Existing definitions that changed\n\n"
        + _lines(f"{definition(one)}: {one['what']} - {one['reason']}" for one in facts["altered"])
    )
    parts.append(
        "## Existing tests that changed\n\n"
        + _lines(f"{definition(one)}: {one['what']}" for one in facts.get("tests_changed", ()))
    )
    parts.append(
        "## Security findings\n\n"
        + _since(facts)
        + _lines(
            f"{one['severity']}: {one['problem']} ({one['evidence']['path']}:{one['evidence']['line']}). Fix: {one['fix']}"
            for one in facts["security"]
        )
    )
    parts.append("## What the checks found\n\n" + _accepted(facts) + _lines(map(finding_line, facts["findings"])))
    if facts["repair"]:
        parts.append(f"## Repaired after red tests\n\n{facts['repair']}\n")
    parts.append(
        "## Decisions\n\n"
        + _lines(f"{one['title']}: {one['choice']} ({one['trade_off']})" for one in facts["decisions"])
    )
    parts.append(
        "## Gates\n\n"
        + _lines(
            f"{one['gate']} round {one['round']}: {one['verdict']} by {one['by']} ({one['channel']}), {one['at']}"
            + (f": {one['reason']}" if one.get("reason") else "")
            for one in facts["gates"]
        )
    )
    usage = facts["usage"]
    parts.append(
        f"## Spent\n\n{usage['calls']} model calls, {usage['prompt_tokens']} prompt and {usage['completion_tokens']} completion tokens, {usage['cost_words']}\n"
    )
    parts.append("## Records\n\nWhat each part above was read from.\n\n" + _lines(map(_record, facts["records"])))
    parts.append("## Next steps\n\n" + _lines(facts["next"]))
    return "\n".join(parts)


def contract_words(checks: Mapping[str, Any], found: Sequence[Mapping[str, Any]] = ()) -> str:
    """How the interface of the code stands to the approved contract; `found` are the findings about the change."""
    one = checks.get("contract") or {"status": "not compared", "reason": "no check was made"}
    source = f", read from {one['source']} ({one['framework']})" if one.get("framework") else ""
    words = f"{one['status']}: {one['reason']}"
    if one["status"] == "same" and any(_unsaid(finding) for finding in found):
        words = "same, as far as the built interface states it"
    return f"{words}{source}"


def _unsaid(one: Mapping[str, Any]) -> bool:
    return one["check"] == "contract" and "the built API does not say what the contract promises" in one["text"]


def check_lines(checks: Mapping[str, Any], found: Sequence[Mapping[str, Any]] = ()) -> list[str]:
    """What each check did, or why it did nothing."""
    if not checks:
        return ["none was made"]
    seen = checks["security"]
    lines = [f"mutation: {_mutation_words(checks['mutation'])}", f"contract: {contract_words(checks, found)}"]
    lines += _application_lines(checks["application"])
    lines.append(
        f"security rules: {seen['files']} changed files looked at; {seen['already_there']} findings were there before"
    )
    return [*lines, *(f"not looked at: {one}" for one in seen["unseen"])]


def _unchecked(facts: Mapping[str, Any]) -> list[str]:
    """Checks that the repository has and that nobody named for this run; of a command that runs others it is not known."""
    check = facts["tests"].get("check")
    word = f"not named in the check `{check['command']}`" if check else "not run"
    return [
        f"{word}: {one['name']} ({one['path']}:{one['line']}); name it with --check-command"
        for one in facts.get("unchecked", ())
    ]


def _mutation_words(facts: Mapping[str, Any]) -> str:
    tried = facts["killed"] + facts["survived"] + facts["unknown"]
    reason = facts["reason"]
    if not tried:
        return f"not run{f'; {reason}' if reason else ''}"
    unknown = f", {facts['unknown']} not known" if facts["unknown"] else ""
    if reason == f"{tried} of {facts['possible']} mutants were tried":
        why = "" if tried >= _MUTANTS else " (time was up)"
    else:
        why = f"; {reason}" if reason else ""
    left = "".join(f"\n  - not noticed: {one['path']}:{one['line']} {_fault(one)}" for one in facts["survivors"][:10])
    return (
        f"{tried} of {facts['possible']} possible small faults in the changed lines were tried: {facts['killed']} noticed "
        f"by a test, {facts['survived']} not{unknown}{why}{left}"
    )


def _fault(one: Mapping[str, Any]) -> str:
    """What was put in place of what, on one line."""
    was, arrow, now = one["change"].rpartition(" → ")
    return f"{arrow}".join(parted(was, now)) if arrow else one["change"]


def _application_lines(facts: Mapping[str, Any]) -> list[str]:
    if facts["status"] == "not run":
        return [f"application: not run: {facts['reason']}"]
    calls = f"{facts['called']} protected operations called without credentials, {facts['generated']} generated calls"
    why = [f"generated calls: not made: {facts['fuzz_reason']}"] if facts["fuzz_reason"] else []
    return [f"application: {facts['status']}: {facts['reason']}; {calls}", *why]


def _record(one: Mapping[str, Any]) -> str:
    return f"{one['part']}: record `{one['task']}`, round {one['round']}, sha256 {one['sha256'][:16]}"


def finding_line(one: Mapping[str, Any]) -> str:
    """A finding with its place and what would settle it."""
    place = f" ({one['path']}:{one['line']})" if one["line"] else f" ({one['path']})" if one["path"] else ""
    settle = f". To settle it: {one['fix']}" if one["fix"] else ""
    return f"**{one['severity']}** {one['check']}, {one['rule']}: {one['text']}{place}{settle}"


def _accepted(facts: Mapping[str, Any]) -> str:
    """What a person decided about the errors among the findings."""
    decided = facts["accepted"]
    if not decided:
        return ""
    word = "Accepted" if decided["verdict"] == "approve" else "Not accepted"
    return f"{word} by {decided['by']}, {decided['at']}: {decided['reason']}\n\n"


def _since(facts: Mapping[str, Any]) -> str:
    """Which files nobody has reviewed as they are now; a repair changes the product itself."""
    lines = [
        f"Changed after {what}: {', '.join(f'`{path}`' for path in paths)}"
        for what, paths in facts["changed_since"].items()
    ]
    if facts["repair"]:
        lines.append("The repair below came later; nobody reviewed the repaired code.")
    return "".join(f"{line}\n\n" for line in lines)


def definition(one: Mapping[str, Any]) -> str:
    """An altered definition's name and place; a file that is not read by its syntax stands as a whole."""
    if one["kind"] == "file":
        return f"`{one['path']}`:{one['line']} (the file as a whole)"
    return f"`{one['name']}` in {one['path']}:{one['line']}"


def _lines(items: Any) -> str:
    return "".join(f"- {one}\n" for one in items) or "- none\n"


def _shown(row: Mapping[str, Any]) -> str:
    return "shown" if row["shown"] else "NOT KNOWN" if _unknown(row) else "NOT SHOWN"


def _unknown(row: Mapping[str, Any]) -> bool:
    return bool(row["tests"]) and all(test["outcome"] == UNKNOWN for test in row["tests"])


def still_open(row: Mapping[str, Any]) -> str:
    """What is left to do about a criterion that no passing test is known to show."""
    if _unknown(row):
        return f"{row['id']}: its tests ran with all others; look at {', '.join(test['id'] for test in row['tests'])}"
    return f"{row['id']} is not shown by a passing test"


def _tests_of(row: Mapping[str, Any]) -> str:
    lines = [f"\n  - {test['id']}: {test['outcome']}" for test in row["tests"]]
    lines += [f"\n  - done in {', '.join(row['lines'])}"] if row.get("lines") else []
    return "".join(lines) + (f"\n  - {row['reason']}" if row.get("reason") else "")


def migration_lines(facts: Mapping[str, Any]) -> list[str]:
    """Which migrations there are, how the rehearsal went, and whether they ran."""
    if not facts["files"]:
        return []
    tried = facts["rehearsal"] if facts["rehearsal"] == "not rehearsed" else f"rehearsal {facts['rehearsal']}"
    lines = [f"{', '.join(facts['files'])}: {tried}; {facts.get('status')}"]
    if facts.get("status") == "applied":
        lines.append(
            moved(facts["from"], facts["to"]) + (f", backup: {facts['backup']}" if facts.get("backup") else "")
        )
    elif "command" in facts:
        by_hand = f"`{facts['command']}`" if facts["command"] else NO_COMMAND
        lines.append(f"{facts.get('reason', 'pending')}; by hand: {by_hand}")
    return lines


def outcome_words(step: str, payload: Mapping[str, Any]) -> str:
    """What a person has to know at once of a step of code that ended; "" where there is nothing."""
    status = payload.get("status")
    if step == "baseline" and status == "failed":
        return f"before the change: tests failed - {payload['reason']}"
    if step != "apply" or status == "no migrations":
        return ""
    if status == "applied":
        backup = f", backup: {payload['backup']}" if payload.get("backup") else ""
        return f"applied: {moved(payload['from'], payload['to'])}{backup}"
    why = f" - {payload['reason']}" if payload.get("reason") else ""
    return f"migrations {status}{why}; by hand: {payload.get('command') or NO_COMMAND}"


def test_lines(facts: Mapping[str, Any]) -> list[str]:
    """The verdict and the counts, or why there are none."""
    lines = [f"{facts.get('verdict')}: {facts.get('why')}"]
    if facts.get("counts_known"):
        lines.append(", ".join(f"{number} {word}" for word, number in facts["counts"].items()))
    elif facts.get("status") != "not run":
        lines.append(f"`{in_words(facts['command'])}`: counts unknown")
    if check := facts.get("check"):
        lines.append(f"check `{check['command']}`: {check['status']}, {check['reason']}")
    for name, ids in (facts.get("against") or {}).items():
        if ids:
            lines.append(
                f"{name}: {len(ids)}"
                + (f" ({', '.join(ids[:5])}{', …' if len(ids) > 5 else ''})" if name != "new tests" else "")
            )
    for name, words in (("flaky before", "sometimes passed before the change"), ("flaky", "sometimes passes now")):
        lines += [f"flaky: {test}: {words}" for test in facts.get(name) or ()]
    return lines


def recorded(folder: Path) -> dict[str, Any]:
    """The summary that a run left in its folder, or nothing."""
    path = folder / "summary.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
