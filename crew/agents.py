"""The three kinds of agents: one with a model, one that is a person, one that is trusted code."""

import asyncio
import json
from typing import Any

from crewai import Agent, Task
from pydantic import PrivateAttr

from backend_crew.crew import checks, findings, gates, packets, permissions, prompts, reporting, stages, steps, toolbox
from backend_crew.crew.artifacts import Analysis, Answers, Questions, Requirements
from backend_crew.crew.journal import PARTIAL, canonical
from backend_crew.crew.llm import ModelDoor, Stopped
from backend_crew.crew.model import Status, Stop
from backend_crew.crew.roles import TaskSpec
from backend_crew.crew.rows import Decision
from backend_crew.crew.session import Session
from backend_crew.tools import git


class _RunAgent(Agent):
    """What the three have in common: the session, and the task's spec by its name."""

    _session: Session = PrivateAttr()

    def bind(self, session: Session) -> "_RunAgent":
        """Give the agent its run."""
        self._session = session
        return self

    def _spec(self, task: Task) -> TaskSpec:
        return self._session.spec.task(str(task.name))

    def _recorded(self, spec: TaskSpec) -> str | None:
        payload = self._session.payload(spec.name)
        return None if payload is None else canonical(payload)

    def _stop_if_asked(self) -> None:
        if self._session.stop.stop:
            raise Stopped(self._session.stop.stop)

    async def aexecute_task(self, task: Task, context: str | None = None, tools: Any = None) -> Any:
        """The same from an event loop."""
        return await asyncio.to_thread(self.execute_task, task, context, tools)


class RoleAgent(_RunAgent):
    """A role with a model; a task that the journal holds is not paid for again."""

    def execute_task(self, task: Task, context: str | None = None, tools: Any = None) -> Any:
        """Do a task, or return what was recorded of it."""
        session, spec = self._session, self._spec(task)
        self._stop_if_asked()
        recorded = self._recorded(spec)
        if recorded is not None and not _must_redo(session, spec):
            return recorded
        if reason := _needless(session, spec):
            session.journal.record(session.id, spec.name, "Skipped", {"reason": reason}, None)
            session.note("skipped", task=spec.name, reason=reason)
            return reason
        self._work(task, spec)
        _after(session, spec)
        return self._recorded(spec)

    def _work(self, task: Task, spec: TaskSpec) -> None:
        session = self._session
        session.begin(spec)
        session.note("task started", task=spec.name, stage=spec.stage, role=spec.agent)
        assert isinstance(self.llm, ModelDoor)
        self.llm.begin(spec.name, session.journal.round(session.id, spec.name))
        try:
            with session.clock.at_work(spec.stage):
                super().execute_task(task, prompts.context(session, spec), toolbox.build(session, spec))
        except Stopped as stopped:
            if stopped.stop.gate == gates.SCOPE.name:
                _keep_partial(session, spec)
            raise
        finally:
            session.permissions.leave()
        self._stop_if_asked()
        if self._recorded(spec) is None:
            raise Stopped(Stop(Status.FAILED, f"task {spec.name!r} ended without an accepted hand-in", task=spec.name))


def _keep_partial(session: Session, spec: TaskSpec) -> None:
    """Commit what a task has so far, so that waiting for a person costs no work."""
    commit = git.commit(session.clone, f"{spec.name}: work so far")
    session.journal.record(session.id, f"{spec.name}.partial", PARTIAL, {}, commit)


def _must_redo(session: Session, spec: TaskSpec) -> bool:
    """After a fix-up commit a later layer runs again only where its checks fail."""
    if spec.layer not in stages.LAYERS[1:]:
        return False
    data = session.journal.output(session.id, session.spec.producing("ChangeSet").name)
    mine = session.journal.output(session.id, spec.name)
    if data is None or mine is None or mine.seq > data.seq or mine.artifact == "Skipped":
        return False
    git.reset(session.clone, session.head())
    problems = checks.layer_problems(session, spec)
    if problems:
        session.note("layer reopened", task=spec.name, problems=problems[:10])
        session.journal.invalidate(session.id, (spec.name,))
    return bool(problems)


def _needless(session: Session, spec: TaskSpec) -> str | None:
    """Why a task has nothing to do, shown by the records; None when it has."""
    if spec.layer in stages.LAYERS:
        design = permissions.approved_design(session.journal, session.id, session.spec).design
        if not any(file.layer == spec.layer for file in design.files):
            return f"the approved plan has no file in the layer {spec.layer}"
    if spec.artifact == "MigrationReview":
        facts = session.payload("rehearse") or {}
        return str(facts.get("reason")) if not facts.get("files") else None
    if spec.layer == stages.REPAIR:
        payload = session.payload("verify") or {}
        if payload.get("verdict") != "red" and not findings.blocking(payload):
            return f"nothing to repair: the tests are {payload.get('verdict')}"
    return None


def _after(session: Session, spec: TaskSpec) -> None:
    """What an accepted hand-in can mean for the run's way."""
    if spec.artifact == "Analysis":
        analysis = session.typed(spec.name, Analysis)
        if analysis and not analysis.has_backend:
            session.journal.invalidate(session.id, (spec.name,))
            raise Stopped(Stop(Status.FAILED, f"no backend to extend: {analysis.overview[:300]}", task=spec.name))
    if spec.artifact == "Requirements":
        requirements = session.typed(spec.name, Requirements)
        if requirements and requirements.follow_up:
            _ask_again(session, spec, requirements)


def _ask_again(session: Session, spec: TaskSpec, requirements: Requirements) -> None:
    """Follow-up questions open the clarification gate once more."""
    asked = session.spec.producing("Questions").name
    taken = {item["id"] for one in session.journal.outputs(session.id, asked) for item in one.payload["items"]}
    count = sum(name.startswith("F") for name in taken)
    # numbered on from round to round: an answer must never be taken for that of another question
    items = tuple(one.model_copy(update={"id": f"F{count + n}"}) for n, one in enumerate(requirements.follow_up, 1))
    questions = Questions(items=items)
    session.journal.record(session.id, asked, "Questions", {**questions.model_dump(mode="json"), "facts": {}}, None)
    session.journal.invalidate(session.id, (spec.name, session.spec.at_gate("answers").name))
    raise Stopped(Stop(Status.RUNNING, "follow-up questions"))


class HumanAgent(_RunAgent):
    """A person: no model; without a decision about exactly what is shown, the run waits."""

    def execute_task(self, task: Task, context: str | None = None, tools: Any = None) -> Any:
        """Pass the gate on a person's decision, or stop at it."""
        session, spec = self._session, self._spec(task)
        self._stop_if_asked()
        recorded = self._recorded(spec)
        if recorded is not None and not _out_of_date(session, spec):
            return recorded
        assert spec.gate is not None
        if reason := _nothing_to_decide(session, spec.gate):
            session.journal.record(session.id, spec.name, "Skipped", {"reason": reason}, None)
            return reason
        git.reset(session.clone, session.head())
        packet = packets.build(session, spec.gate)
        decision = session.journal.decision(session.id, spec.gate, packet.digest)
        while decision is not None and spec.gate == "migrations" and _lapsed(session, decision):
            packet = packets.asked_again(packet, decision)
            decision = session.journal.decision(session.id, spec.gate, packet.digest)
        row = session.journal.open_gate(session.id, spec.gate, packet.as_json(), packet.digest)
        if decision is None:
            session.note("gate opened", gate=spec.gate, round=row.round, digest=row.digest)
            raise Stopped(Stop(Status.WAITING, packet.question, gate=spec.gate, task=spec.name))
        return _follow(session, spec, decision)


def _nothing_to_decide(session: Session, gate: str) -> str:
    """Why a gate does not open, shown by the records; empty where it does."""
    if gate == "migrations":
        facts = session.payload("rehearse") or {}
        return "" if facts.get("files") else str(facts.get("reason"))
    if gate == gates.FINDINGS:
        return findings.nothing_to_accept(session.payload("recheck") or {})
    return ""


def _lapsed(session: Session, decision: Decision) -> bool:
    """Whether an approval that would let a database be changed is too old for it."""
    changes = (session.payload("rehearse") or {}).get("target", {}).get("kind") in ("sqlite", "postgresql")
    old = decision.expired(session.run.options.get("decision_hours"))
    return changes and decision.verdict == gates.APPROVE and old


def _out_of_date(session: Session, spec: TaskSpec) -> bool:
    """Whether the approval of migrations grew old before it was used; then the gate asks again."""
    row = session.journal.gate(session.id, "migrations") if spec.gate == "migrations" else None
    decision = session.journal.decision(session.id, "migrations", row.digest) if row else None
    if decision is None or not _lapsed(session, decision):
        return False
    if session.payload("apply") is not None or session.journal.intent(session.id, "apply", decision.hash):
        return False
    session.journal.invalidate(session.id, (spec.name,))
    return True


def _follow(session: Session, spec: TaskSpec, decision: Any) -> str:
    """Do what a decision says: go on, go back, or end."""
    if decision.verdict == gates.CHANGES:
        route(session, spec, decision.to_stage)
        raise Stopped(Stop(Status.RUNNING, f"changes requested in {decision.to_stage}"))
    if decision.verdict == gates.REJECT and spec.gate not in ("migrations", gates.FINDINGS):
        raise Stopped(Stop(Status.REJECTED, decision.reason, gate=spec.gate))
    kind, payload = (
        "Decision",
        {"verdict": decision.verdict, "by": decision.actor, "at": decision.at, "reason": decision.reason},
    )
    if spec.gate == "answers":
        kind, payload = "Answers", _all_answers(session, decision)
    session.journal.record(session.id, spec.name, kind, payload, None)
    session.note("gate passed", gate=spec.gate, verdict=decision.verdict, by=decision.actor)
    return canonical(payload)


def _all_answers(session: Session, decision: Any) -> dict[str, Any]:
    """This round's answers together with those of earlier rounds, from the last full set of questions on."""
    from backend_crew.crew.answers import merge

    earlier = None
    for one in session.journal.decisions(session.id):
        if one.gate == "answers" and one.verdict == gates.ANSWERED:
            new = Answers.model_validate(one.payload["answers"])
            earlier = new if any(item.id.startswith("Q") for item in new.items) else merge(earlier, new)
    assert earlier is not None
    asked = session.journal.outputs(session.id, session.spec.producing("Questions").name)
    texts = {item["id"]: item["question"] for one in asked for item in one.payload["items"]}
    return {**earlier.model_dump(mode="json"), "facts": {"questions": texts}}


def route(session: Session, gate: TaskSpec, to_stage: str) -> None:
    """Take out of force what lies downstream of the stage that a person sent the work back to."""
    tasks = session.spec.tasks
    start = tasks.index(session.spec.first_of(to_stage))
    downstream = [task.name for task in tasks[start:]]
    if to_stage == "implementation":
        # a fix-up: later layers stay, and are looked at again by _must_redo
        later = {task.name for task in tasks if task.layer in stages.LAYERS[1:]}
        downstream = [name for name in downstream if name not in later]
    session.journal.invalidate(session.id, tuple(downstream))
    session.note("routed back", gate=gate.gate, to=to_stage, tasks=downstream)


class CodeAgent(_RunAgent):
    """Trusted code as an agent, because CrewAI's sequential process gives every task one."""

    def execute_task(self, task: Task, context: str | None = None, tools: Any = None) -> Any:
        """Do a step of code, once."""
        session, spec = self._session, self._spec(task)
        self._stop_if_asked()
        recorded = self._recorded(spec)
        if recorded is not None:
            return recorded
        assert spec.code is not None
        git.reset(session.clone, session.head())
        session.note("task started", task=spec.name, stage=spec.stage, role="code")
        with session.clock.at_work(spec.stage):
            kind, payload = steps.STEPS[spec.code](session)
        self._stop_if_asked()
        session.journal.record(session.id, spec.name, kind, payload, None)
        if words := reporting.outcome_words(spec.code, payload):
            session.note("outcome", task=spec.name, words=words)
        return json.dumps(payload, default=str)
