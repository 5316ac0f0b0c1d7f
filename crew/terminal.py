"""The terminal as a channel: shows a gate, asks, and accepts nothing but the exact words."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import click
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from backend_crew.crew import approvers, editing, gates
from backend_crew.crew.answers import OWN_WORDS_LIMIT
from backend_crew.crew.artifacts import Question, Questions
from backend_crew.crew.errors import DecisionRefused, UsageError
from backend_crew.crew.journal import GateRow, Journal
from backend_crew.crew.markdown import shown
from backend_crew.crew.plaintext import safe
from backend_crew.crew.progress import Progress

_KEYS = {"a": gates.APPROVE, "c": gates.CHANGES, "r": gates.REJECT}


class Terminal:
    """A person at this terminal."""

    def __init__(self, console: Console, progress: Progress | None = None) -> None:
        self._console, self._progress = console, progress

    def ask(self, journal: Journal, run: str, row: GateRow) -> bool:
        """Show the gate and take a decision; False when the person leaves it for later."""
        try:
            with self._progress.paused() if self._progress else nullcontext():
                return self._questions(journal, run, row) if row.gate == "answers" else self._gate(journal, run, row)
        except (EOFError, click.Abort):
            self._console.print("\nNothing was decided; the run waits.")
            return False

    def show(self, row: GateRow) -> None:
        """Print what a gate shows."""
        self._console.rule(f"[bold]gate: {row.gate}[/bold]  round {row.round}")
        self._console.print(shown(str(row.packet["text"]), self._console.width))
        self._console.print(
            Panel(Text(str(row.packet["question"]), style="bold"), subtitle=f"digest {row.digest[:16]}")
        )

    def _gate(self, journal: Journal, run: str, row: GateRow) -> bool:
        self.show(row)
        edits = "  [e]dit" if row.gate == "design" else ""
        changes = "" if row.gate == gates.SCOPE.name else "  [c]hanges"
        while True:
            prompt = f"[a]pprove{changes}{edits}  [r]eject  [s]how again  [q]uit, decide later"
            word = self._line(f"{prompt}\n> ")
            if word in ("q", "quit"):
                return False
            if word in ("s", "show"):
                self.show(row)
                continue
            if word in ("e", "edit") and edits:
                return self._edit(journal, run, row)
            verdict = _KEYS.get(word) or gates.parse(word)
            if verdict is None or (verdict == gates.CHANGES and not changes):
                self._console.print(Text(f"{safe(word)!r} decides nothing. Type one of the letters or words."))
                continue
            try:
                return self._record(journal, run, row, verdict)
            except DecisionRefused as error:
                self._console.print(Text(str(error), style="yellow"))

    def _record(self, journal: Journal, run: str, row: GateRow, verdict: str) -> bool:
        reason, target = "", ""
        if verdict in (gates.CHANGES, gates.REJECT) or row.gate == gates.FINDINGS:
            reason = self._line("Reason: ")
        routes = gates.gate_named(row.gate).routes
        if verdict == gates.CHANGES and len(routes) > 1:
            target = self._line(f"Back to which stage? {', '.join(routes)} [{routes[0]}] ") or routes[0]
        approvers.decide(journal, run, row, approvers.Ruling(verdict, reason, target), approvers.By.here("terminal"))
        return True

    def _edit(self, journal: Journal, run: str, row: GateRow) -> bool:
        before = editing.text_of(journal, run)
        after = click.edit(before, extension=".json", require_save=True)
        if after is None or after == before:
            self._console.print("Nothing was changed.")
            return self._gate(journal, run, row)
        try:
            editing.apply(journal, run, after)
        except UsageError as error:
            self._console.print(Text(str(error), style="yellow"))
            return self._gate(journal, run, row)
        return True

    def _questions(self, journal: Journal, run: str, row: GateRow) -> bool:
        questions = Questions.model_validate(row.packet["data"])
        self._console.rule(f"[bold]questions[/bold]  {len(questions.items)}, one at a time")
        given = {
            question.id: self._one(question, number, len(questions.items))
            for number, question in enumerate(questions.items, 1)
        }
        reading = approvers.answer(journal, run, row, given, approvers.By.here("terminal"))
        if not reading.delegated:
            return True
        self._console.print("\nYou left these to us. We would take:")
        asked = {question.id: question.question for question in questions.items}
        for answer in reading.answers.items:
            if answer.id in reading.delegated:
                self._console.print(Text(f"  {answer.id} {safe(asked[answer.id])}\n     {safe(answer.answer)}"))
        while True:
            word = self._line("Type 'confirm' to take them, or 'again' to answer once more\n> ")
            if word == "confirm":
                approvers.confirm(journal, run, row, approvers.By.here("terminal"))
                return True
            if word == "again":
                return self._questions(journal, run, row)

    def _one(self, question: Question, number: int, total: int) -> str | int:
        self._console.print(
            shown(f"\n**{number} of {total}** · {question.area}\n\n{question.question}", self._console.width)
        )
        self._console.print(Text(f"Why it matters: {safe(question.why)}", style="dim"))
        ordered = sorted(question.options, key=lambda option: option != question.recommended)
        for position, option in enumerate(ordered, start=1):
            mark = f"  (recommended: {safe(question.reason)})" if option == question.recommended else ""
            self._console.print(Text(f"  {position}. {safe(option)}{mark}"))
        while True:
            word = self._line("Number, your own words, or 'you decide'\n> ")
            if word.isdecimal() and 1 <= int(word) <= len(ordered):
                # the option's own number: its text could be a number itself
                return question.options.index(ordered[int(word) - 1]) + 1
            if word.isdecimal():
                self._console.print(f"There are {len(ordered)} options.")
            elif len(word) > OWN_WORDS_LIMIT:
                self._console.print(f"That has {len(word)} characters; an answer holds up to {OWN_WORDS_LIMIT}.")
            elif word:
                return word

    def _line(self, prompt: str) -> str:
        self._console.print(Text(prompt), end="")
        line = line_of_person()
        if not line:
            raise EOFError
        return line.strip()


def line_of_person() -> str:
    """A line of standard input, '' at its end; Ctrl-C raises EOFError: a read would go on after the run's own handler."""
    with _interruptible():
        return sys.stdin.readline()


@contextmanager
def _interruptible() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)

    def leave(number: int, frame: Any) -> None:
        if callable(before):
            before(number, frame)  # the run's notes that it was interrupted; Python's own raises KeyboardInterrupt
        raise EOFError

    try:
        signal.signal(signal.SIGINT, leave)
    except ValueError:  # not the main thread: the host program handles signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def how_to_answer(run: str, row: GateRow, *, shown: bool = False) -> str:
    """The commands that decide at a gate from another shell; whoever was `shown` it needs no command for that."""
    show = (
        []
        if shown
        else [f"backend-crew show {run}{'                      # the questions' if row.gate == 'answers' else ''}"]
    )
    if row.gate == "answers" and row.draft:
        return f"backend-crew confirm {run}                   # or answer again\nbackend-crew resume {run}"
    if row.gate == "answers":
        answer = f"backend-crew answer {run} --file answers.yaml   # Q1: 2, Q2: own words, Q3: you decide"
        return "\n".join([*show, answer, f"backend-crew resume {run}"])
    digest = row.digest[:16]
    why = " --reason TEXT" if row.gate == gates.FINDINGS else ""
    lines = [*show, f"backend-crew approve {run} --digest {digest}{why}"]
    if row.gate != gates.SCOPE.name:
        lines.append(f"backend-crew request-changes {run} --digest {digest} --reason TEXT")
    if row.gate == "design":
        lines.append(f"backend-crew edit {run}   # change it yourself; the gate opens again on your version")
    lines.append(f"backend-crew reject {run} --digest {digest} --reason TEXT")
    lines.append(f"backend-crew resume {run}   # after one of these")
    return "\n".join(lines)
