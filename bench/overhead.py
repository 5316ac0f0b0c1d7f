"""Time between two requests to the model: ours against a bare CrewAI crew of the same shape. Usage: python bench/overhead.py

Both read a file in pieces through a tool, CALLS times in one task, with a model that answers at once.
"""

import gc
import json
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import bare
import measure
import scenario

from backend_crew.crew import BackendCrew
from backend_crew.crew.recording import Reply, ToolCall, Turn
from backend_crew.crew.roles import load
from backend_crew.crew.toolbox import ReadFile

CALLS, ROUNDS, GOAL = 60, 3, 2.0
FILE = "app/long.py"
FILES = {**scenario.FILES, FILE: "".join(f"LINE_{n} = {n}\n" for n in range(1, 20 * CALLS))}


def _arguments(number: int) -> str:
    return json.dumps({"path": FILE, "start": 1 + 20 * number, "end": 20 + 20 * number})


@dataclass
class Clock(scenario.Script):
    """The scripted model, with the times of the task `analyse`."""

    came: list[float] = field(default_factory=list)
    left: list[float] = field(default_factory=list)

    def ask(self, turn: Turn) -> Reply:
        """Answer, and note when."""
        self.came.append(time.perf_counter())
        reply = super().ask(turn)
        self.left.append(time.perf_counter())
        return reply


def _gaps(came: list[float], left: list[float]) -> list[float]:
    """Milliseconds from an answer to the next request."""
    return [1000 * (after - before) for before, after in zip(left[:CALLS], came[1 : CALLS + 1], strict=True)]


def ours(folder: Path) -> list[float]:
    """Our crew, as far as its first gate."""
    repo = scenario.make_repository(folder / "notes", FILES)
    script = Clock()
    reads = [scenario.use(ToolCall("read_file", _arguments(number))) for number in range(CALLS)]
    script.steps["analyse"] = [*reads, scenario.submit(**scenario.ANALYSIS)]
    BackendCrew(repo, scenario.FEATURE, model=script, home=folder / "home").kickoff()
    return _gaps(script.came, script.left)


def theirs(folder: Path) -> list[float]:
    """The same role, task and tool, built as CrewAI's documentation builds them."""
    repo = scenario.make_repository(folder / "plain", FILES)
    spec = load(None)

    def read(path: str, start: int = 1, end: int | None = None) -> str:
        lines = (repo / path).read_text().splitlines()[start - 1 : end]
        return "\n".join(f"{number:5} {line}" for number, line in enumerate(lines, start=start))

    reader = bare.PlainTool.of("read_file", str(ReadFile.__doc__), ReadFile, read)
    task = spec.task("analyse")
    role = spec.roles[task.agent]
    calls: list[bare.Answer] = [[bare.tool_call("read_file", _arguments(number), number)] for number in range(CALLS)]
    model = bare.InstantModel.of([[*calls, json.dumps(scenario.ANALYSIS)]])
    words = task.description.replace("{feature}", scenario.FEATURE)
    work = bare.Work("analyst", words, task.expected_output, (reader,))
    bare.crew(model, {"analyst": bare.Role(role.role, role.goal, role.backstory)}, [work]).kickoff()
    return _gaps([one.came for one in model.kept], [one.left for one in model.kept])


def main() -> None:
    """Measure both in turn and print the ratio of the medians."""
    found: dict[str, list[float]] = {"bare CrewAI": [], "backend-crew": []}
    for _ in range(ROUNDS):
        for name, run in (("bare CrewAI", theirs), ("backend-crew", ours)):
            with tempfile.TemporaryDirectory() as folder:
                gc.collect()
                found[name] += run(Path(folder))
    measure.machine()
    rows = [
        (
            name,
            len(gaps),
            f"{statistics.median(gaps):.1f}",
            f"{statistics.quantiles(gaps, n=10)[-1]:.1f}",
            f"{min(gaps):.1f}",
        )
        for name, gaps in found.items()
    ]
    measure.table("ms from an answer to the next request", ("", "calls", "median", "p90", "min"), rows)
    ratio = statistics.median(found["backend-crew"]) / statistics.median(found["bare CrewAI"])
    print()
    measure.verdict("overhead per model call against bare CrewAI", ratio, GOAL, "x")


if __name__ == "__main__":
    main()
