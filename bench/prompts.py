"""Prompt tokens of a whole run against CrewAI's default context passing. Usage: python bench/prompts.py

Our run is the tests' sample with a scripted model, every stage, all requests. The other side is a bare CrewAI crew with
the same roles, the same task texts, the same tool calls with the same results, and the same outputs: CrewAI gives
each task the output of all tasks before it. Tokens are characters / 4; tool schemas are left out on both sides.
"""

import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import bare
import measure
import scenario

from backend_crew.crew import BackendCrew, settings
from backend_crew.crew.journal import Journal, canonical
from backend_crew.crew.recording import Reply, ToolCall, Turn
from backend_crew.crew.roles import CrewSpec, load
from backend_crew.crew.settings import Options
from backend_crew.crew.toolbox import CATALOGUE
from backend_crew.tools.sandbox import NoSandbox, find_sandbox

GOAL = 0.5
CHARS_PER_TOKEN = 4
OUTPUT = 2000
"""Characters of an output in the second measurement: what stages hand in on a repository of ordinary size."""
Outputs = dict[str, str]


def lengthened(steps: list[scenario.Step]) -> list[scenario.Step]:
    """The same steps, with the prose of what is handed in brought to OUTPUT characters."""
    return [_lengthened(one) if isinstance(one, Reply) else one for one in steps]


def _lengthened(reply: Reply) -> Reply:
    calls = []
    for call in reply.tool_calls:
        given = json.loads(call.arguments)
        field = next((name for name in ("overview", "summary", "impact") if name in given), None)
        if call.name == "submit" and field:
            given[field] += " It is said at length." * ((OUTPUT - len(call.arguments)) // 22)
        calls.append(ToolCall(call.name, json.dumps(given)))
    return Reply(reply.content, tuple(calls), reply.prompt_tokens, reply.completion_tokens)


def ours(folder: Path, *, long: bool) -> tuple[list[Turn], Outputs]:
    """A whole run: every request, and what every task handed in."""
    repo = scenario.make_repository(folder / "notes")
    settings.put(scenario.ENV, f"sqlite:///{scenario.make_database(repo / 'notes.db')}")
    script = scenario.Script()
    if long:
        script.steps = {task: lengthened(steps) for task, steps in script.steps.items()}
    options = Options(database_env=scenario.ENV, python=scenario.PYTHON)
    crew = BackendCrew(
        repo, scenario.FEATURE, approver=scenario.approve_all, model=script, home=folder / "home", options=options
    )
    result = crew.kickoff()
    if str(result.status) != "finished":
        raise SystemExit(f"the run is {result.status}, not finished: {result.reason}")
    journal = Journal(folder / "home")
    outputs = {one.task: canonical(one.payload) for one in journal.outputs(crew.run.id)}
    journal.close()
    return script.seen, outputs


def _results(turns: list[Turn]) -> list[str]:
    """What the tools answered during a task, in order: the last request holds all of it."""
    return [str(one["content"]) for one in turns[-1].messages if one.get("role") == "tool"]


def theirs(turns: list[Turn], outputs: Outputs, spec: CrewSpec) -> dict[str, list[int]]:
    """The bare crew at equal outputs: characters of every request, by task."""
    asked: dict[str, list[Turn]] = {}
    for turn in turns:
        asked.setdefault(turn.task, []).append(turn)
    names = [task.name for task in spec.tasks if task.name in outputs]
    answers: list[list[bare.Answer]] = []
    works: list[bare.Work] = []
    roles = {name: bare.Role(one.role, one.goal, one.backstory) for name, one in spec.roles.items()}
    roles["code"] = bare.Role("Trusted code", "Do what no model may do", "Not a model.")
    for name in names:
        task, seen = spec.task(name), asked.get(name, [])
        steps, tools = _steps(name, seen)
        answers.append([*steps, outputs[name]])
        works.append(
            bare.Work(
                task.agent or "code",
                task.description.replace("{feature}", scenario.FEATURE),
                task.expected_output,
                tools,
            )
        )
    model = bare.InstantModel.of(answers)
    bare.crew(model, roles, works).kickoff()
    found: dict[str, list[int]] = {name: [] for name in asked}
    for one in model.kept:
        if names[one.task] in found:  # a person or code did the others: they cost us nothing, so they cost them nothing
            found[names[one.task]].append(one.chars)
    return found


def _steps(name: str, seen: list[Turn]) -> tuple[list[bare.Answer], list[bare.PlainTool]]:
    """The tool calls that our model made in a task, and tools that answer them as ours did."""
    steps: list[bare.Answer] = []
    used: dict[str, list[str]] = {}
    results = iter(_results(seen) if seen else [])
    messages = [one for one in (seen[-1].messages if seen else []) if one.get("tool_calls")]
    for number, message in enumerate(messages):
        calls: list[dict[str, Any]] = []
        for index, call in enumerate(message["tool_calls"]):
            words = call["function"]
            used.setdefault(words["name"], []).append(next(results))
            calls.append(bare.tool_call(words["name"], words["arguments"], 100 * number + index))
        steps.append(calls)

    def answering(replies: list[str]) -> Any:
        left = iter(replies)
        return lambda **_: next(left)

    tools = [
        bare.PlainTool.of(one, str(CATALOGUE[one][0].__doc__), CATALOGUE[one][0], answering(replies))
        for one, replies in used.items()
        if one in CATALOGUE
    ]
    return steps, tools


def _tokens(chars: float) -> int:
    return round(chars / CHARS_PER_TOKEN)


def _slope(values: list[int]) -> float:
    """Tokens that each further stage adds to a first prompt (least squares)."""
    return statistics.linear_regression(range(len(values)), values).slope


def main() -> None:
    """Measure with the sample's short outputs, then with outputs of ordinary length."""
    if isinstance(find_sandbox(), NoSandbox):
        raise SystemExit("no sandbox here: the run would not be a whole one")
    measure.machine()
    for long in (False, True):
        compare(f"outputs of about {OUTPUT} characters" if long else "outputs as short as the sample's", long=long)


def compare(title: str, *, long: bool) -> None:
    """Run both and print a row a task."""
    with tempfile.TemporaryDirectory() as folder:
        turns, outputs = ours(Path(folder), long=long)
    other = theirs(turns, outputs, load(None))
    mine: dict[str, list[int]] = {}
    for turn in turns:
        mine.setdefault(turn.task, []).append(bare.length(turn.messages))
    columns = [
        [[_tokens(chars[0]) for chars in side.values()], [_tokens(sum(chars)) for chars in side.values()]]
        for side in (mine, {name: other[name] for name in mine})
    ]
    (first, total), (bare_first, bare_total) = columns
    calls = [len(chars) for chars in mine.values()]
    rows = [*zip(mine, calls, first, total, bare_first, bare_total, strict=True)]
    sums = ("total", sum(calls), "", sum(total), "", sum(bare_total))
    head = ("task", "calls", "first prompt", "all", "bare: first prompt", "all")
    measure.table(f"prompt tokens (characters / 4), {title}", head, [*rows, sums])
    average = _tokens(statistics.mean(len(one) for one in outputs.values()))
    print(f"\n{len(outputs)} outputs, {average} tokens on average")
    print(f"a stage adds to the first prompt: {_slope(first):.0f} tokens, bare: {_slope(bare_first):.0f}")
    measure.verdict("prompt tokens against default context passing", sum(total) / sum(bare_total), GOAL, "x")


if __name__ == "__main__":
    main()
