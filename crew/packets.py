"""What each gate shows: built by code from the records, with everything that a decision would let happen."""

import shlex
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from backend_crew.crew import choosing, established, gates, render, reporting, stages
from backend_crew.crew.artifacts import Design, MigrationReview, Questions, Requirements, SecurityReview
from backend_crew.crew.gates import Packet
from backend_crew.crew.plaintext import visible
from backend_crew.crew.rows import Decision, GateRow, canonical, sha256
from backend_crew.crew.session import Session
from backend_crew.tools import git, migrations
from backend_crew.tools.sandbox import NoSandbox

DIFF_LIMIT = 20_000
"""Characters of what changed between two rounds of a gate."""
EXECUTED_LINES = 400
"""Lines of one file beside the migrations that applying executes; what is left out is said, with the command that shows it."""


def build(session: Session, gate: str) -> Packet:
    """The packet of a gate as the records stand now."""
    made = {"answers": _answers, "design": _design, "migrations": _migrations, gates.FINDINGS: _findings}
    return made[gate](session)


def _packet(
    session: Session, gate: str, text: str, bound: dict[str, Any], data: dict[str, Any], question: str = ""
) -> Packet:
    # every channel shows this text, so what nobody would see on a screen is made visible before it is hashed
    text, data = visible(session.redact(text)), session.redact.deep(data)
    return Packet(session.id, gate, question or stages.GATE_BY_NAME[gate].question, text, bound, data)


def _digest(session: Session, artifact: str) -> str | None:
    output = session.journal.output(session.id, session.spec.producing(artifact).name)
    return output.digest if output else None


def _round(session: Session, artifact: str) -> int:
    """Which hand-in this is: the same content handed in again is another packet, or its old decision would count."""
    output = session.journal.output(session.id, session.spec.producing(artifact).name)
    return output.round if output else 0


def _answers(session: Session) -> Packet:
    questions = session.only(Questions)
    assert questions is not None
    text = "# Questions before the design\n\n" + render.questions(questions)
    bound = {"questions": _digest(session, "Questions"), "round": _round(session, "Questions")}
    return _packet(session, "answers", text, bound, questions.model_dump(mode="json"))


def _design(session: Session) -> Packet:
    design, requirements = session.only(Design), session.only(Requirements)
    assert design is not None
    body = f"# Design\n\n{render.design(design, diagram=False)}"  # a screen shows a diagram's source alone
    if requirements:
        body += f"\n## Requirements\n\n{render.requirements(requirements)}"
    number = _round(session, "Design")
    earlier = [row for row in session.journal.gates(session.id, "design") if row.packet["bound"]["round"] != number]
    shown = body
    if earlier:
        difference = render.changed(str(earlier[-1].packet["data"].get("body", "")), body)
        shown = f"# Changed since version {len(earlier)}\n{_since(session, earlier[-1], difference)}\n{body}"
    shown = f"{shown}\n## How it will be checked\n\n{_how(session)}"
    bound = {"design": _digest(session, "Design"), "requirements": _digest(session, "Requirements"), "round": number}
    data = {"body": body, "version": len(earlier) + 1, "facts": established.about_design(session, design)}
    return _packet(session, "design", shown, bound, data)


def _since(session: Session, row: GateRow, difference: str) -> str:
    """What a person asked for at an earlier round of a gate, and what differs since then."""
    asked = session.journal.decision(session.id, row.gate, row.digest)
    request = f"\nYou asked for: {asked.reason}\n" if asked and asked.verdict == gates.CHANGES else ""
    return f"{request}\n{render.fenced('diff', difference or 'nothing changed')}"


def _how(session: Session) -> str:
    """What this run can find out on this machine, said before anything is built."""
    tests, tool, check = session.tests, session.migrations, session.run.options.get("check_command")
    if isinstance(session.sandbox, NoSandbox):
        return f"- Nothing can be run here: {session.sandbox.reason}\n"
    lines = [f"Tests: `{reporting.in_words(tests.argv)}` ({tests.evidence})"] if tests else []
    lines += [] if tests else [f"Tests: none will be run; {choosing.unconfirmed(session.clone.tree)}"]
    lines += [f"After each layer: `{reporting.in_words(check)}`"] if check else []
    if env := session.sandbox_env:
        given = ", ".join(f"`{name}={value}`" for name, value in env.items())
        lines.append(f"Given to the repository's commands in the sandbox: {given}")
    if tool is not None:
        how = "tried on a copy before you are asked" if tool.can_rehearse else migrations.why_not_rehearsed(tool)
        lines.append(f"Migrations ({tool.name}, {tool.evidence}): {how}")
    return "".join(f"- {line}\n" for line in lines)


def _written(one: Mapping[str, Any]) -> str:
    """A migration file, whole."""
    if one.get("gone"):
        return f"**{one['path']}** is deleted\n"
    return f"**{one['path']}** (sha256 {one['sha256'][:16]})\n\n{render.fenced('', one['text'])}"


def _executed(session: Session, one: Mapping[str, Any]) -> str:
    """Another file that applying executes: what this run changed in it, or all of it where it is new; bounded aloud."""
    path, clone = one["path"], session.clone
    if one.get("gone"):
        return f"**{path}** is deleted\n"
    old = git.show(clone, clone.base, path)
    if old is None:
        kind, lines = "new", one["text"].splitlines()
    else:
        # the record holds its text without secrets, so the older one is compared without them too
        before = session.redact(old.decode("utf-8", "replace"))
        kind, lines = "changed", render.patch(before, one["text"])
    head = f"**{path}** ({kind}, sha256 {one['sha256'][:16]})"
    if not lines:
        return f"{head}: no difference but in values that are not shown\n"
    left = max(len(lines) - EXECUTED_LINES, 0)
    command = shlex.join(["git", f"--git-dir={clone.git_dir}", "show", f"{git.head(clone)}:{path}"])
    more = f"\n**{left} more lines are not shown here.** All of it: `{command}`\n" if left else ""
    return f"{head}\n\n{render.fenced('' if old is None else 'diff', chr(10).join(lines[:EXECUTED_LINES]))}{more}"


def _sql(facts: Mapping[str, Any]) -> list[str]:
    """The SQL that the tool would send; where nothing was tried there is none, and the files say all."""
    if not facts["steps"] and not facts["sql_up"]:
        return []
    missing = "Not available offline; the files below are what runs."
    return [render.sql("SQL up", facts["sql_up"], missing), render.sql("SQL down", facts["sql_down"], missing)]


def _names(facts: Mapping[str, Any]) -> str:
    """Every file that the decision covers, by name; the texts follow at the end."""
    kinds = {
        "files": "new migration",
        "pending": "older migration, not yet applied",
        "executed": "executed beside them",
    }
    lines = [
        f"`{one['path']}`: {words}{' (deleted)' if one.get('gone') else ''}"
        for kind, words in kinds.items()
        for one in facts[kind]
    ]
    return "".join(f"- {line}\n" for line in lines)


def _destination(session: Session, facts: Mapping[str, Any], why: str) -> list[str]:
    """Which database, what approving does to it, and the commands that do it by hand."""
    target = facts.get("target", {})
    where = target.get("path") or f"none is touched: {target.get('reason')}"
    parts = [f"Database: {where}\n"]
    if why:
        parts.append(f"Approving records your approval; nothing is applied by this run: {why}\n")
    elif (hours := session.run.options.get("decision_hours")) is not None:
        parts.append(f"An approval is good for one use within {hours:g} hours; after that this gate asks again.\n")
    if target.get("kind") == "postgresql" and not why:
        parts.append("No backup is made of a PostgreSQL database. Make one first: `pg_dump --format=custom`\n")
    by_hand = facts.get("apply_command")
    parts.append(f"By hand: `{by_hand}`\n" if by_hand else f"By hand: {reporting.NO_COMMAND}\n")
    if back := facts.get("rollback_command"):
        parts.append(f"Back by hand: `{back}`\n")
    parts.append(render.after_migrate(facts))
    return parts


def _migrations(session: Session) -> Packet:
    facts = session.payload("rehearse") or {}
    review, question, number = session.only(MigrationReview), "", _round(session, "MigrationReview")
    if why := render.why_not_applied(facts):
        question = "Do you approve these migrations? This run does not apply them; they stay yours to run."
    parts = ["# Migrations\n", *_destination(session, facts, why)]
    rounds = session.journal.gates(session.id, "migrations")
    if earlier := [row for row in rounds if row.packet["bound"]["round"] != number]:
        difference = git.diff(session.clone, earlier[-1].packet["bound"]["commit"], limit=DIFF_LIMIT)
        parts.append(f"## Changed since round {earlier[-1].round}\n{_since(session, earlier[-1], difference)}")
    # what decides first; the files that it is about follow, the migrations whole
    parts += ["## Files and SQL\n", _names(facts), *_sql(facts)]
    parts.append("## Impact, risks, rollback\n\n" + (render.migration_review(review) if review else "no review\n"))
    parts.append("## Rehearsal\n\n" + render.rehearsal(facts))
    parts.append("## What the linters found\n\n" + render.lint(facts))
    parts += [_tests(session), _altered(session), _security(session)]
    parts += ["## The migrations, whole\n", *(_written(one) for one in facts["files"])]
    if facts["pending"]:
        parts.append("**Already in the repository, not yet applied to this database; applying runs these too:**\n")
        parts += [_written(one) for one in facts["pending"]]
    if facts["executed"]:
        parts.append("## Changed by this run and executed when applying\n")
        parts += [_executed(session, one) for one in facts["executed"]]
    bound = {
        "manifest": facts.get("manifest"),
        "target": facts.get("target", {}),
        "rehearsal": facts["status"],
        "to": facts.get("to_revision"),
        "record": sha256(canonical(facts)),
        "commit": git.head(session.clone),
        "round": number,
    }
    known = established.about_migrations(session, facts, len(all_altered(session)))
    data = {"files": [one["path"] for one in facts["files"]], "facts": known}
    return _packet(session, "migrations", "\n".join(part for part in parts if part), bound, data, question)


def _findings(session: Session) -> Packet:
    """Everything that the checks found in the finished change; the decision covers what blocks."""
    output = session.journal.output(session.id, "recheck")
    assert output is not None
    open_ones = [one for one in output.payload["findings"] if one["severity"] == "error"]
    others = [one for one in output.payload["findings"] if one["severity"] != "error"]
    parts = [f"# {len(open_ones)} findings in the finished change\n"]
    parts.append(
        "Accepting them, with a reason, makes this a finished run, and the report names them, the reason and you. "
        "Asking for changes sends them back to the tests. Rejecting them ends the run as unverified, branch kept.\n"
    )
    parts.append(render.findings(open_ones))
    parts.append("## Also found\n\n" + render.findings(others) if others else "")
    parts.append("## Tests\n\n" + "".join(f"- {line}\n" for line in reporting.test_lines(output.payload)))
    bound = {"record": output.digest, "round": output.round, "commit": git.head(session.clone)}
    return _packet(session, gates.FINDINGS, "\n".join(part for part in parts if part), bound, {"findings": open_ones})


def _tests(session: Session) -> str:
    """How the tests stand when migrations are decided about: they are written and run after that."""
    before = session.payload("baseline") or {}
    word = {"passed": "passed", "failed": "FAILED"}.get(str(before.get("status")), "not run")
    lines = [f"Before the change: {word}; {before.get('reason') or 'not known'}."]
    if before.get("status") == "failed" and not any((before.get("counts") or {}).values()):
        lines.append("**No test ran then, so this run cannot tell what the change breaks.**")
    check = before.get("check") or {}
    lines += (
        [f"`{check['command']}` failed before the change: {check['reason']}."]
        if check.get("status") == "failed"
        else []
    )
    text = "The whole suite has not run on this change yet: tests are written and run after this gate."
    return f"## Tests\n\n{text}\n\n" + "".join(f"- {line}\n" for line in lines)


def asked_again(packet: Packet, void: Decision) -> Packet:
    """The same packet after a decision about it went out of date: another digest, so that only a new one counts."""
    words = f"\n\nThe decision of {void.at} ({void.verdict}, {void.actor}) is out of date. Please decide again.\n"
    return replace(packet, text=packet.text + words, bound={**packet.bound, "out of date": void.hash})


def _altered(session: Session) -> str:
    items = all_altered(session)
    return "## Other effects of the change\n" + (render.altered(items) or "\nNo existing definition changed.\n")


def all_altered(session: Session) -> list[dict[str, Any]]:
    """Every existing definition that the change alters, each once, with its reason."""
    found = {}
    for output in session.journal.outputs(session.id):
        for one in output.payload.get("facts", {}).get("altered", ()):
            found[one["path"], one["name"]] = one
    return [found[key] for key in sorted(found)]


def _security(session: Session) -> str:
    tasks = [task.name for task in session.spec.tasks if task.artifact == "SecurityReview"]
    reviews = [review for name in tasks if (review := session.typed(name, SecurityReview))]
    return "".join(f"\n## Security review\n\n{render.security_review(review)}" for review in reviews)
