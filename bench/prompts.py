"""Prompt tokens of the whole demo against CrewAI's default context passing. Usage: python bench/prompts.py

Our side is the recorded demo, every request of it. The other side is a bare CrewAI crew with the same roles, the same
tasks and `output_pydantic`, the same tools, the same calls with the same results, and the same outputs. CrewAI gives each
task the output of all tasks before it, and what a person wants changed by its own `human_input`. What code established for
a task (facts, diffs, the rehearsal) stands in that task on both sides. Tokens are characters / 4.
"""

import re
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bare
import measure
from pydantic import BaseModel, ConfigDict
from rich.console import Console

from backend_crew.crew import demo, prompts, render, runner
from backend_crew.crew.artifacts import ARTIFACTS
from backend_crew.crew.journal import Journal
from backend_crew.crew.recording import Model, Reply, Turn
from backend_crew.crew.roles import CrewSpec, TaskSpec, load
from backend_crew.crew.stopping import StopFlag
from backend_crew.crew.toolbox import CATALOGUE
from backend_crew.tools.sandbox import NoSandbox, find_sandbox

GOAL = 0.5
CHARS_PER_TOKEN = 4
PARTS = ("prompt", "tools", "history", "total")
Exchange = tuple[Turn, Reply]


class Keeping:
    """A model that keeps what it was asked and what it answered."""

    def __init__(self, model: Model) -> None:
        self.name, self._model = model.name, model
        self.kept: dict[str, list[Exchange]] = {}

    def ask(self, turn: Turn) -> Reply:
        """Ask the model."""
        reply = self._model.ask(turn)
        # CrewAI goes on appending to its list
        turn = Turn(turn.task, turn.round, turn.ordinal, list(turn.messages), list(turn.tools))
        self.kept.setdefault(turn.task, []).append((turn, reply))
        return reply


class Draft(BaseModel):
    """Check a result before it is handed in."""

    model_config = ConfigDict(extra="allow")


def ours(folder: Path) -> tuple[dict[str, list[Exchange]], dict[str, str], list[str]]:
    """The demo: every exchange by task, what people answered by task, and what was wanted of the design."""
    journal = Journal(folder / "home")
    run, models, person = demo.prepare(journal, Console(quiet=True), keep=folder, yes=True)
    model = Keeping(models.only)
    stop = runner.advance(journal, run.id, runner.Models(run, only=model), person, StopFlag())
    if str(stop.status) != "finished":
        raise SystemExit(f"the demo is {stop.status}, not finished: {stop.reason}")
    answers = {
        one.task: render.output(one.artifact, one.payload)
        for one in journal.outputs(run.id)
        if one.artifact == "Answers"
    }
    wanted = [one.reason for one in journal.decisions(run.id) if one.verdict == "request-changes"]
    journal.close()
    return model.kept, answers, wanted


def theirs(
    kept: dict[str, list[Exchange]], answers: dict[str, str], wanted: list[str], spec: CrewSpec
) -> dict[str, list[bare.Size]]:
    """The bare crew at equal outputs: every request, by task."""
    roles = {name: bare.Role(one.role, one.goal, one.backstory) for name, one in spec.roles.items()}
    names = [task.name for task in spec.tasks if task.name in kept or task.name in answers]
    works: list[bare.Work] = []
    replies: list[list[bare.Answer]] = []
    for task in map(spec.task, names):
        if task.name in answers:
            works.append(bare.Work(task.agent, task.description, task.expected_output))
            replies.append([answers[task.name]])
            continue
        steps, results = _steps(kept[task.name])
        rounds = max(turn.round for turn, _ in kept[task.name])
        assert task.artifact is not None
        works.append(
            bare.Work(
                task.agent,
                task.description.replace("{feature}", demo.feature()) + _established(kept[task.name][0][0]),
                task.expected_output,
                list(_tools(task, spec, results)),
                ARTIFACTS[task.artifact],
                wanted[: rounds - 1],
            )
        )
        replies.append(steps)
    model = bare.InstantModel.of(replies)
    bare.crew(model, roles, works, cache=False).kickoff()
    found: dict[str, list[bare.Size]] = {name: [] for name in kept}
    for one in model.kept:
        if names[one.task] in found:  # a person did the others
            found[names[one.task]].append(one.sent)
    if {name: len(calls) for name, calls in found.items()} != {name: len(calls) for name, calls in kept.items()}:
        raise SystemExit("the bare crew made other calls than ours")
    return found


def _established(turn: Turn) -> str:
    """What code found out for a task, as it stands in our prompt."""
    text = str(turn.messages[1]["content"])
    parts = [one for one in re.split(r"\n\n(?=### )", text) if one.startswith(prompts.ESTABLISHED)]
    return "".join(f"\n\n{one}" for one in parts)


def _steps(kept: list[Exchange]) -> tuple[list[bare.Answer], dict[str, list[str]]]:
    """What our model answered in a task, its accepted hand-ins as final answers, and what each tool returned."""
    steps: list[bare.Answer] = []
    results: dict[str, list[str]] = {}
    for number, (turn, reply) in enumerate(kept):
        after = kept[number + 1][0] if number + 1 < len(kept) else None
        if after is None or after.round != turn.round:
            steps.append(reply.tool_calls[-1].arguments)
            continue
        said = [str(one["content"]) for one in after.messages[len(turn.messages) :] if one.get("role") == "tool"]
        for call, text in zip(reply.tool_calls, said, strict=True):
            results.setdefault(call.name, []).append(text)
        steps.append(
            [
                bare.tool_call(call.name, call.arguments, 100 * number + index)
                for index, call in enumerate(reply.tool_calls)
            ]
        )
    return steps, results


def _tools(task: TaskSpec, spec: CrewSpec, results: dict[str, list[str]]) -> Iterator[bare.OrderedTool]:
    """The tools that the task has with us, answering as ours did."""

    def answering(texts: list[str]) -> Any:
        left = iter(texts)
        return lambda **_: next(left)

    for name in task.tools or spec.roles[task.agent].tools:
        schema: type[BaseModel]
        if name in CATALOGUE:
            schema = CATALOGUE[name][0]
            yield bare.OrderedTool.of(name, str(schema.__doc__), schema, answering(results.get(name, [])))
        else:
            from crewai_tools import FileReadTool

            tool = FileReadTool()
            yield bare.OrderedTool.of(tool.name, tool.description, tool.args_schema, answering([]))
    if "submit" in results:  # hand-ins that failed their checks
        yield bare.OrderedTool.of("submit", str(Draft.__doc__), Draft, answering(results["submit"]))


def _tokens(chars: float) -> int:
    return round(chars / CHARS_PER_TOKEN)


def _slope(sizes: list[list[bare.Size]]) -> float:
    """Tokens that each further task adds to a first prompt (least squares)."""
    firsts = [calls[0].prompt / CHARS_PER_TOKEN for calls in sizes]
    return statistics.linear_regression(range(len(firsts)), firsts).slope


def main() -> None:
    """Run both, print where the tokens go, and the ratios."""
    if isinstance(find_sandbox(), NoSandbox):
        raise SystemExit("no sandbox here: the run would not be a whole one")
    measure.machine()
    with tempfile.TemporaryDirectory() as folder:
        kept, answers, wanted = ours(Path(folder))
    other = theirs(kept, answers, wanted, load(None))
    mine = {name: [bare.Size.of(turn.messages, turn.tools) for turn, _ in calls] for name, calls in kept.items()}
    head = ("task", "calls", "first prompt", "prompt", "tools", "history", "all", "bare: first", "all", "ratio")
    rows = [_row(name, mine[name], other[name]) for name in mine]
    total = [[one for calls in side.values() for one in calls] for side in (mine, other)]
    measure.table("prompt tokens (characters / 4) of the demo", head, [*rows, _row("total", *total)])
    sums = [{part: sum(getattr(one, part) for one in side) for part in PARTS} for side in total]
    print(f"\na task adds to the first prompt: {_slope([*mine.values()]):.0f}, bare: {_slope([*other.values()]):.0f}")
    shares = [", ".join(f"{part} {_tokens(side[part]):,}" for part in PARTS) for side in sums]
    print(f"ours: {shares[0]}\nbare: {shares[1]}")
    print(f"prompts alone, what context passing governs: {sums[0]['prompt'] / sums[1]['prompt']:.2f}x")
    measure.verdict("prompt tokens against default context passing", sums[0]["total"] / sums[1]["total"], GOAL, "x")


def _row(name: str, mine: list[bare.Size], other: list[bare.Size]) -> tuple[object, ...]:
    sums = [_tokens(sum(getattr(one, part) for one in mine)) for part in PARTS]
    theirs = sum(one.total for one in other)
    first, bare_first = ("", "") if name == "total" else (_tokens(mine[0].prompt), _tokens(other[0].prompt))
    return name, len(mine), first, *sums, bare_first, _tokens(theirs), f"{sum(one.total for one in mine) / theirs:.2f}"


if __name__ == "__main__":
    main()
