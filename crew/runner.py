"""The main path: start a run, take passes over its crew, ask at its gates, and stop truthfully."""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from backend_crew.crew import choosing, roles, settings
from backend_crew.crew.approvers import Approver
from backend_crew.crew.errors import BackendCrewError, UsageError
from backend_crew.crew.journal import Journal, Run, canonical, now, sha256
from backend_crew.crew.model import ENDED, STATUS_OF_EXIT, Status, Stop
from backend_crew.crew.recording import Inputs, Model, Recorder, Replay
from backend_crew.crew.roles import RoleSpec
from backend_crew.crew.session import Session, open_session
from backend_crew.crew.stopping import StopFlag
from backend_crew.tools import deny, git, stack
from backend_crew.tools.secrets import redactor

FEATURE_LIMIT = 50_000
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069]")


def start(
    journal: Journal,
    repo: Path,
    feature: str,
    *,
    brief: str = "",
    options: settings.Options,
    assume_backend: bool = False,
) -> Run:
    """Record a new run and make its private clone; nothing is spent and nothing is written to the repository."""
    feature, brief = _text("feature", feature), _text("brief", brief) if brief else ""
    spec = roles.load(options.config)
    repository = git.inspect(repo)
    if journal.home.resolve().is_relative_to(repository.root):
        raise UsageError(f"{journal.home} lies in the repository; name a folder elsewhere with BACKEND_CREW_HOME")
    journal.redact = redactor(repository.root, settings.environment())
    choosing.check_variables(options.sandbox_env, journal.redact)
    feature, brief = journal.redact(feature), journal.redact(brief)
    if not assume_backend and not stack.has_backend(stack.detect(repository.root)):
        raise UsageError(f"no backend was found in {repository.root}; name another folder, or pass --assume-backend")
    name = f"{_slug(feature)[:32].strip('-')}-{secrets.token_hex(2)}"
    clone = git.clone(repository, journal.folder(name), include_dirty=options.include_dirty, denied=_denied)
    run = Run(
        id=name,
        created=now(),
        repo=str(repository.root),
        feature=feature,
        brief=brief,
        options=asdict(options),
        profile={
            "spec": spec.digest,
            "head": repository.head,
            "dirty": list(repository.dirty),
            "sample": git.tree_id(clone, clone.base),
        },
        base=clone.base,
        branch=f"backend-crew/{name}",
        inputs=sha256(canonical([feature, brief, spec.digest])),
        status=Status.RUNNING,
        reason="",
        epoch=0,
    )
    journal.create(run)
    journal.event(name, "run created", repo=run.repo, base=run.base)
    return run


def _denied(path: str) -> bool:
    return deny.is_read_denied(path) is not None


def _text(what: str, text: str) -> str:
    if len(text) > FEATURE_LIMIT:
        raise UsageError(f"the {what} text has {len(text)} characters; up to {FEATURE_LIMIT} are read")
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise UsageError(f"the {what} text is not valid UTF-8")
    text = _CONTROL.sub("", text)
    if not text.strip():
        raise UsageError(f"the {what} text is empty")
    return text


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.strip().splitlines()[0].lower()).strip("-") or "feature"


class Models:
    """Opens each role's model once: per-role llm, then --model, then MODEL, then the default; no other fallback."""

    def __init__(self, run: Run, *, record: Path | None = None, only: Model | None = None) -> None:
        self._run, self._record, self.only = run, record, only
        self._open: dict[str, Model] = {}
        self._checked: set[str] = set()
        if isinstance(only, Replay):
            only.check(inputs_of(run))

    def __call__(self, role: RoleSpec) -> Model:
        """The model of a role."""
        if self.only is not None:
            return self.only
        # each role has a client of its own: CrewAI counts a shared client's tokens once per agent
        if role.name not in self._open:
            self._open[role.name] = self._opened(role)
        return self._open[role.name]

    def _opened(self, role: RoleSpec) -> Model:
        from backend_crew.crew.llm import ProviderModel

        name = role.llm or self._run.options.get("model") or settings.get("MODEL") or settings.DEFAULT_MODEL
        model = ProviderModel(name)
        if name not in self._checked:  # before anything is spent, and once for all roles that share it
            model.check()
            self._checked.add(name)
        if self._record is None:
            return model
        head = {"recording": 1, "made": now()[:10], "source": name, "inputs": vars(inputs_of(self._run))}
        return Recorder(model, self._record, head)


def inputs_of(run: Run) -> Inputs:
    """What a recording of this run depends on."""
    return Inputs(sha256(canonical([run.feature, run.brief])), str(run.profile["spec"]), str(run.profile["sample"]))


def advance(journal: Journal, name: str, models: Models, approver: Approver | None, stop: StopFlag) -> Stop:
    """Take passes over a run until it ends or waits for somebody who is not here."""
    run = journal.run(name)
    if run.status in ENDED:
        return Stop(run.status, run.reason)
    with journal.lease(run.id):
        session = open_session(journal, run.id, stop)
        journal.set_status(run.id, Status.RUNNING)
        while True:
            ended = _one_pass(session, models)
            if not goes_on(session, ended, approver):
                ended = replace(ended, reason=session.redact(ended.reason))
                record_stop(session, ended)
                return ended


def goes_on(session: Session, stop: Stop, approver: Approver | None) -> bool:
    """Whether another pass follows: work was sent back, or somebody here decided at the gate."""
    if stop.status is Status.RUNNING:
        return True
    if stop.status is not Status.WAITING or approver is None or stop.gate is None:
        return False
    row = session.journal.gate(session.id, stop.gate)
    if row is None or not approver.ask(session.journal, session.id, row):
        return False
    session.stop.clear_waiting()
    return True


def record_stop(session: Session, stop: Stop) -> None:
    """Keep how the run stands."""
    session.journal.set_status(session.id, stop.status, stop.reason)
    session.note("run stopped", status=stop.status.value, reason=stop.reason, gate=stop.gate)


def _one_pass(session: Session, models: Models) -> Stop:
    from backend_crew.crew.crew import run_pass

    with _timed(session):
        try:
            return run_pass(session, models)
        except BackendCrewError as error:
            if error.exit_code not in STATUS_OF_EXIT:
                raise
            return Stop(STATUS_OF_EXIT[error.exit_code], str(error))


@contextmanager
def _timed(session: Session) -> Iterator[None]:
    session.clock.begin()
    try:
        yield
    finally:
        session.note("pass ended", **session.clock.ended())
        session.clock.begin()
