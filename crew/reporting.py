"""A run's summary as text: every word and number comes from its recorded facts."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def report(facts: Mapping[str, Any]) -> str:
    """What was asked, decided, built, migrated, tested and not."""
    parts = [f"# Report: {facts['title']}\n", f"**{facts['status']}**{': ' + facts['why'] if facts['why'] else ''}\n"]
    parts.append(
        "## Endpoints\n\n" + _lines(f"`{one['method']} {one['path']}` {one['summary']}" for one in facts["endpoints"])
    )
    parts.append(
        "## Files\n\n"
        + _lines(f"`{one['path']}` {one['status']} (+{one['added']} -{one['removed']})" for one in facts["files"])
    )
    parts.append("## Migrations\n\n" + _lines(migration_lines(facts["migrations"])))
    parts.append("## Tests\n\n" + _lines(test_lines(facts["tests"])))
    rows = [
        f"{'shown' if one['shown'] else 'NOT SHOWN'} **{one['id']}** {one['text']}" + _tests_of(one)
        for one in facts["criteria"]
    ]
    parts.append("## Acceptance criteria\n\n" + _lines(rows))
    parts.append(
        "## Existing definitions that changed\n\n"
        + _lines(f"`{one['name']}` in {one['path']}: {one['what']} - {one['reason']}" for one in facts["altered"])
    )
    parts.append(
        "## Decisions\n\n"
        + _lines(f"{one['title']}: {one['choice']} ({one['trade_off']})" for one in facts["decisions"])
    )
    parts.append(
        "## Gates\n\n"
        + _lines(
            f"{one['gate']} round {one['round']}: {one['verdict']} by {one['by']} ({one['channel']}), {one['at']}"
            for one in facts["gates"]
        )
    )
    usage = facts["usage"]
    parts.append(
        f"## Spent\n\n{usage['calls']} model calls, {usage['prompt_tokens']} prompt and {usage['completion_tokens']} completion tokens, {usage['cost_words']}\n"
    )
    parts.append("## Next steps\n\n" + _lines(facts["next"]))
    return "\n".join(parts)


def _lines(items: Any) -> str:
    return "".join(f"- {one}\n" for one in items) or "- none\n"


def _tests_of(row: Mapping[str, Any]) -> str:
    return "".join(f"\n  - {test['id']}: {test['outcome']}" for test in row["tests"])


def migration_lines(facts: Mapping[str, Any]) -> list[str]:
    """Which migrations there are, how the rehearsal went, and whether they ran."""
    if not facts["files"]:
        return []
    lines = [f"{', '.join(facts['files'])}: rehearsal {facts['rehearsal']}; {facts.get('status')}"]
    if facts.get("status") == "applied":
        lines.append(
            f"{facts['from']} → {facts['to']}" + (f", backup: {facts['backup']}" if facts.get("backup") else "")
        )
    elif facts.get("command"):
        lines.append(f"{facts.get('reason', 'pending')}; by hand: `{facts['command']}`")
    return lines


def test_lines(facts: Mapping[str, Any]) -> list[str]:
    """The verdict and the counts, or why there are none."""
    lines = [f"{facts.get('verdict')}: {facts.get('why')}"]
    if facts.get("counts_known"):
        lines.append(", ".join(f"{number} {word}" for word, number in facts["counts"].items()))
    else:
        lines.append("counts unknown")
    for name, ids in (facts.get("against") or {}).items():
        if ids:
            lines.append(
                f"{name}: {len(ids)}"
                + (f" ({', '.join(ids[:5])}{', …' if len(ids) > 5 else ''})" if name != "new tests" else "")
            )
    return lines


def recorded(folder: Path) -> dict[str, Any]:
    """The summary that a run left in its folder, or nothing."""
    path = folder / "summary.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
