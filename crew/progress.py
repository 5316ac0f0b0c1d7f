"""Progress on standard error: a todo list that code ticks on a terminal, plain lines elsewhere."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from backend_crew.crew import budget, stages
from backend_crew.crew.journal import Journal
from backend_crew.crew.plaintext import safe
from backend_crew.crew.roles import CrewSpec

_LINES = {
    "task started": "{role}: {task}",
    "recorded": "done: {task} ({artifact})",
    "skipped": "skipped: {task} - {reason}",
    "hand-in refused": "sent back ({attempt}): {task} - {reason}",
    "unusable call": "unusable call: {tool} - {reason}",
    "tool refused": "refused: {tool} - {reason}",
    "model error": "model error, attempt {attempt}: {error}",
    "tests": "tests: {status} - {reason}",
    "trial": "trial: {what}",
    "gate opened": "gate {gate}, round {round}",
    "gate passed": "gate {gate}: {verdict} by {by}",
    "policy decided": "policy: gate {gate} decided by rule {rule}",
    "policy waits": "policy: gate {gate} waits - {why}",
    "outcome": "{words}",
    "routed back": "sent back to {to}",
    "layer reopened": "reopened: {task}",
}
_PART, _OUTCOME = 200, 1_000
"""Characters of one value in a line; an outcome names files and commands, which are of use only whole."""


class Progress:
    """Follows a run through its journal's events."""

    def __init__(self, console: Console, journal: Journal, spec: CrewSpec) -> None:
        self._console, self._journal, self._spec = console, journal, spec
        self._started = time.monotonic()
        self._now: dict[str, str] = {}
        self._live: Live | None = None
        self._lock = threading.Lock()
        self._run = ""

    def event(self, run: str, kind: str, data: Mapping[str, Any]) -> None:
        """One event happened."""
        with self._lock:
            self._run = run
            if kind == "task started":
                self._now = {"task": str(data["task"]), "role": str(data["role"]), "tool": ""}
            elif kind == "tool":
                self._now["tool"] = (
                    f"{data['tool']} {data.get('path') or data.get('pattern') or data.get('name') or ''}".strip()
                )
            if self._live:
                self._live.update(self._view())
                if kind == "outcome":  # stands above the view, and stays
                    self._console.print(Text(_line(kind, data)), soft_wrap=True)
            elif kind in _LINES:
                self._console.print(Text(_line(kind, data)), soft_wrap=True)

    @contextmanager
    def watching(self, run: str) -> Iterator[None]:
        """Show the live view while a pass runs, on a terminal."""
        self._run = run
        if not self._console.is_terminal:
            yield
            return
        self._show()
        try:
            yield
        finally:
            self._hide()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Give the terminal to a person, then show the view again below what they saw."""
        if self._live is None:
            yield
            return
        self._hide()
        try:
            yield
        finally:
            self._show()

    def _show(self) -> None:
        # a new one each time: a Live that is started again would first wipe as many lines as it once had
        self._live = Live(self._view(), console=self._console, refresh_per_second=4, transient=True)
        self._live.start()

    def _hide(self) -> None:
        live, self._live = self._live, None
        if live:
            live.stop()

    def _view(self) -> Group:
        done = {output.task for output in self._journal.outputs(self._run)} if self._run else set()
        table = Table.grid(padding=(0, 1))
        for stage in stages.STAGES:
            tasks = [task for task in self._spec.tasks if task.stage == stage.name]
            ready = sum(task.name in done for task in tasks)
            here = any(task.name == self._now.get("task") for task in tasks)
            mark, style = ("✓", "green") if ready == len(tasks) else ("▸", "bold") if here else ("·", "dim")
            detail = self._now.get("task", "") if here and ready < len(tasks) else ""
            table.add_row(
                Text(mark, style),
                Text(f"{stage.number}/8 {stage.title}", style),
                Text(f"{ready}/{len(tasks)}", "dim"),
                detail,
            )
        return Group(table, Text(self._status(), "dim"))

    def _status(self) -> str:
        totals = self._journal.totals(self._run)
        elapsed = int(time.monotonic() - self._started)
        words = [
            self._now.get("role", ""),
            self._now.get("tool", ""),
            f"{totals.calls} calls",
            f"{totals.tokens:,} tokens",
        ]
        return " · ".join(
            safe(word) for word in [*words, budget.cost_words(totals), f"{elapsed // 60}:{elapsed % 60:02}"] if word
        )


def _line(kind: str, data: Mapping[str, Any]) -> str:
    most = _OUTCOME if kind == "outcome" else _PART
    values = {name: safe(" ".join(str(value).split())[:most]) for name, value in data.items()}
    return _LINES[kind].format_map(_Blank(values)).rstrip()


class _Blank(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return ""
