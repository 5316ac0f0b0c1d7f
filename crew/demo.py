"""The bundled demo: a real service, really written files, a really applied migration, and a recorded model."""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console

from backend_crew.crew import approvers, runner, settings, yamlfile
from backend_crew.crew.errors import RecordingError, UsageError
from backend_crew.crew.journal import GateRow, Journal, Run
from backend_crew.crew.progress import Progress
from backend_crew.crew.recording import Recorder, Recording, Replay, Reply, Turn
from backend_crew.crew.settings import Caps, Options
from backend_crew.crew.terminal import Terminal, line_of_person
from backend_crew.tools import process

DATABASE = "SHOP_DATABASE_URL"
_NEEDED = ("alembic", "fastapi", "httpx", "pytest")


def examples() -> Path:
    """The folder of the bundled examples."""
    return Path(str(files("backend_crew.examples").joinpath("shop-feature.md"))).parent


def feature() -> str:
    """The feature text of the demo."""
    return (examples() / "shop-feature.md").read_text(encoding="utf-8")


def recording() -> Path:
    """The recorded model."""
    return examples() / "shop-recording.jsonl"


def model() -> Replay:
    """The recorded model, for what it was recorded with."""
    return Replay(Recording.load(recording()))


def decisions() -> dict[str, Any]:
    """What the person decided while the recording was made."""
    return yamlfile.read_mapping(
        (examples() / "shop-decisions.yaml").read_text(encoding="utf-8"), "shop-decisions.yaml"
    )


def lay_out(folder: Path) -> None:
    """Make the sample service a git repository with a migrated, seeded SQLite database beside it."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise UsageError(f"the sample service needs {', '.join(missing)}; pip install 'backend-crew[demo]'")
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty; name a new folder")
    shutil.copytree(
        examples() / "shop", folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
    )
    env = {"PATH": os.defpath, DATABASE: url(folder), "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(folder)}
    _git(folder, env)
    for module in (["alembic", "upgrade", "head"], ["shop.seed"]):
        _do([sys.executable, "-m", *module], folder, env)


def url(folder: Path) -> str:
    """The URL of the sample's database."""
    return f"sqlite:///{folder / 'shop.db'}"


def _git(folder: Path, env: dict[str, str]) -> None:
    who = ["-c", "user.name=Shop team", "-c", "user.email=shop@example.com", "-c", "commit.gpgsign=false"]
    _do(["git", "init", "--quiet", "--initial-branch=main"], folder, env)
    _do(["git", "add", "--all"], folder, env)
    _do(["git", *who, "commit", "--quiet", "--message", "The shop as it is"], folder, env)


def _do(argv: list[str], folder: Path, env: dict[str, str]) -> None:
    found = shutil.which(argv[0], path=process.SEARCH_PATH) or argv[0]
    done = process.run([found, *argv[1:]], cwd=folder, env=env, timeout_s=120)
    if not done.ok:
        raise UsageError(
            f"{' '.join(argv[:4])} failed while the sample was laid out: {(done.stderr or done.stdout)[-500:]}"
        )


class Played:
    """The decisions of the recording, played at the gates in the order in which they were made."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.progress: Progress | None = None
        self._decisions = decisions()

    def ask(self, journal: Journal, run: str, row: GateRow) -> bool:
        """Play the next recorded decision of this gate, and say so."""
        ruling = self._next(journal, run, row)
        self._console.print(
            f"gate {row.gate}, round {row.round}: playing the recorded decision: {_words(ruling)}", markup=False
        )
        _play(journal, run, row, ruling)
        return True

    def _next(self, journal: Journal, run: str, row: GateRow) -> Mapping[str, Any]:
        taken = sum(one.gate == row.gate for one in journal.decisions(run))
        played = self._decisions.get(row.gate) or []
        if taken >= len(played):
            raise RecordingError(f"the recording has no decision for gate {row.gate!r}, round {row.round}")
        return dict(played[taken])


class AtTerminal(Played):
    """A person who sees each gate as in a real run; the recorded model can only go on as it once did."""

    def ask(self, journal: Journal, run: str, row: GateRow) -> bool:
        """Show the gate; play the recorded decision when the person says so, and wait otherwise."""
        ruling = self._next(journal, run, row)
        with self.progress.paused() if self.progress else nullcontext():
            Terminal(self._console).show(row)
            self._console.print(f"The recording goes on with: {_words(ruling)}", markup=False)
            while True:
                self._console.print("[p]lay it  [q]uit, decide later\n> ", markup=False, end="")
                try:
                    word = line_of_person()
                except EOFError:
                    return False
                if word.strip() == "p":
                    _play(journal, run, row, ruling)
                    return True
                if not word or word.strip() == "q":
                    return False


def _words(ruling: Mapping[str, Any]) -> str:
    if "answers" in ruling:
        return "; ".join(f"{name}: {text}" for name, text in ruling["answers"].items())
    return f"{ruling['verdict']} {ruling.get('reason', '')}".strip()


def _play(journal: Journal, run: str, row: GateRow, ruling: Mapping[str, Any]) -> None:
    by = approvers.By("demo", "recorded person")
    if "answers" not in ruling:
        approvers.decide(journal, run, row, approvers.Ruling(**ruling), by)
    elif approvers.answer(journal, run, row, ruling["answers"], by).delegated:
        approvers.confirm(journal, run, row, by)


def prepare(
    journal: Journal, console: Console, *, keep: Path | None, yes: bool, record: Path | None = None
) -> tuple[Run, Any, Any]:
    """Lay out the sample, start a run on it, and give the recorded model and whoever sits at the gates.

    With `record`, the replies are written down once more, beside the requests as this version makes them.
    """
    if not recording().is_file():
        raise RecordingError("the bundled recording is missing; install backend-crew again")
    folder = (keep or Path(tempfile.mkdtemp(prefix="backend-crew-demo-"))).absolute() / "shop"
    lay_out(folder)
    settings.put(DATABASE, url(folder))
    options = Options(database_env=DATABASE, python=sys.executable, replay="shop", caps=Caps())
    run = runner.start(journal, folder, feature(), options=options)
    loaded = Recording.load(recording())
    console.print(f"The model is recorded ({loaded.source}, {loaded.made}); everything else is real.", markup=False)
    console.print(f"repository: {folder}\nrun: {run.id}\n", markup=False)
    person = Played(console) if yes else AtTerminal(console)
    if record is None:
        return run, replaying(run), person
    head = {"recording": 1, "made": loaded.made, "source": loaded.source, "inputs": vars(runner.inputs_of(run))}
    return run, runner.Models(run, only=Recorder(_Recounted(model()), record, head)), person


class _Recounted:
    """The recorded model, counting the prompt as it is now: characters / 4, as when it was first recorded."""

    def __init__(self, model: Replay) -> None:
        self.name, self._model = model.name, model

    def ask(self, turn: Turn) -> Reply:
        """The recorded reply with the tokens of this request."""
        texts = [part for one in turn.messages for part in (one.get("content"), one.get("tool_calls")) if part]
        return replace(self._model.ask(turn), prompt_tokens=sum(map(_tokens, [*texts, turn.tools])))


def _tokens(value: object) -> int:
    return len(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)) // 4


def drift(models: runner.Models) -> str:
    """How far this version's requests are from the recorded ones, in words."""
    replay = models.only
    if not isinstance(replay, Replay):
        return "The replies were written down once more."
    differing = ", ".join(f"{task} {ordinal}" for task, _, ordinal in replay.drift)
    return f"{len(replay.drift)} of {replay.asked} requests differed from the recorded ones" + (
        f": {differing}" if differing else ""
    )


def replaying(run: Run) -> runner.Models:
    """The recorded model for a run of the demo; raises RecordingError when its inputs changed."""
    if settings.get(DATABASE) is None:
        settings.put(DATABASE, url(Path(run.repo)))
    return runner.Models(run, only=model())
