"""What each gate shows: built by code from the records, with everything that a decision would let happen."""

from typing import Any

from backend_crew.crew import gates, render, stages
from backend_crew.crew.artifacts import Design, MigrationReview, Questions, Requirements, SecurityReview
from backend_crew.crew.gates import Packet
from backend_crew.crew.session import Session
from backend_crew.tools import git


def build(session: Session, gate: str) -> Packet:
    """The packet of a gate as the records stand now."""
    return {"answers": _answers, "design": _design, "migrations": _migrations}[gate](session)


def _packet(session: Session, gate: str, text: str, bound: dict[str, Any], data: dict[str, Any]) -> Packet:
    return Packet(session.id, gate, stages.GATE_BY_NAME[gate].question, session.redact(text), bound, data)


def _digest(session: Session, artifact: str) -> str | None:
    output = session.journal.output(session.id, session.spec.producing(artifact).name)
    return output.digest if output else None


def _answers(session: Session) -> Packet:
    questions = session.only(Questions)
    assert questions is not None
    text = "# Questions before the design\n\n" + render.questions(questions)
    return _packet(
        session, "answers", text, {"questions": _digest(session, "Questions")}, questions.model_dump(mode="json")
    )


def _design(session: Session) -> Packet:
    design, requirements = session.only(Design), session.only(Requirements)
    assert design is not None
    body = f"# Design\n\n{render.design(design)}"
    if requirements:
        body += f"\n## Requirements\n\n{render.requirements(requirements)}"
    earlier = [row for row in session.journal.gates(session.id, "design") if row.packet["data"].get("body") != body]
    if earlier:
        difference = render.changed(str(earlier[-1].packet["data"].get("body", "")), body)
        asked = session.journal.decision(session.id, "design", earlier[-1].digest)
        request = f"\nYou asked for: {asked.reason}\n" if asked and asked.verdict == gates.CHANGES else ""
        shown = f"# Changed since version {len(earlier)}\n{request}\n```diff\n{difference}\n```\n\n{body}"
    else:
        shown = body
    bound = {"design": _digest(session, "Design"), "requirements": _digest(session, "Requirements")}
    return _packet(session, "design", shown, bound, {"body": body, "version": len(earlier) + 1})


def _migrations(session: Session) -> Packet:
    facts = session.payload("rehearse") or {}
    review = session.only(MigrationReview)
    target = facts.get("target", {})
    where = target.get("path") or target.get("reason")
    parts = ["# Migrations\n", f"Database: {where}\n"]
    parts += [
        f"**{one['path']}** (sha256 {one['sha256'][:16]})\n\n```\n{one['text'].rstrip()}\n```\n"
        for one in facts["files"]
    ]
    parts.append(render.sql("SQL up", facts["sql_up"], "Not available offline; the file above is what runs."))
    parts.append(render.sql("SQL down", facts["sql_down"], "Not available offline; the file above is what runs."))
    parts.append("## Rehearsal\n\n" + render.rehearsal(facts))
    parts.append("## Impact, risks, rollback\n\n" + (render.migration_review(review) if review else "no review\n"))
    parts.append(_altered(session))
    parts.append(_security(session))
    parts.append(f"\nBy hand: `{facts['apply_command']}`\n" if facts.get("apply_command") else "")
    if target.get("kind") != "sqlite" or not all(step["ok"] for step in facts["steps"]):
        parts.append("\nApproving records your approval; nothing is applied by this run, see above for why.\n")
    bound = {
        "manifest": facts.get("manifest"),
        "target": target,
        "rehearsal": facts["status"],
        "to": facts.get("to_revision"),
        "commit": git.head(session.clone),
    }
    return _packet(
        session,
        "migrations",
        "\n".join(part for part in parts if part),
        bound,
        {"files": [one["path"] for one in facts["files"]]},
    )


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
    for task in session.spec.tasks:
        if task.artifact == "SecurityReview" and (review := session.typed(task.name, SecurityReview)):
            return "\n## Security review\n\n" + render.security_review(review)
    return ""
