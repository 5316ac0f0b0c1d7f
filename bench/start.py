"""How fast commands start, and how long `run` takes to the first request. Usage: python bench/start.py

The commands that need no crew are compared with `python -c pass`, `run` with `import crewai`.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import measure
import scenario
from endpoint import serving

ROUNDS, LONG_ROUNDS = 9, 3
GOAL, FIRST_GOAL = 0.3, 1.0
COMMAND = str(Path(sys.executable).with_name("backend-crew"))
BARE: dict[str, list[str]] = {
    "python -c pass": ["-c", "pass"],
    "import sqlalchemy": ["-c", "import sqlalchemy"],
}
COMMANDS = ("--help", "--version", "validate", "runs")
_PROBE = """
import sys
from backend_crew.crew.main import main
try:
    main(sys.argv[1:])
except SystemExit:
    print("crewai" in sys.modules, file=sys.stderr)
"""


def _env(home: Path) -> dict[str, str]:
    # .pyc files are written, as they are where a person works
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "BACKEND_CREW_HOME": str(home)}


def _timed(work: Callable[[], object], rounds: int) -> list[float]:
    work()  # warm: files in memory, .pyc files written
    found = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return found


def _run(argv: list[str], home: Path) -> str:
    done = subprocess.run(argv, env=_env(home), cwd=home, capture_output=True, text=True, check=True)
    return done.stderr


def _to_first_request(folder: Path, home: Path, number: int) -> float:
    """Seconds from starting `backend-crew run` to the first request at the provider."""
    repo = scenario.make_repository(folder / f"notes{number}")
    with serving([401]) as endpoint:
        env = {**_env(home), "OPENAI_API_KEY": "none", "OPENAI_BASE_URL": endpoint.url}
        argv = [COMMAND, "run", scenario.FEATURE, "--repo", str(repo), "--model", "openai/gpt-4.1-mini"]
        started = time.perf_counter()
        process = subprocess.Popen(
            argv, env=env, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        while not endpoint.requests and process.poll() is None:
            time.sleep(0.005)
        took = time.perf_counter() - started
        _, said = process.communicate()
        if not endpoint.requests:
            raise SystemExit(f"no request was made: {said.decode()[-500:]}")
    return took


def main() -> None:
    """Measure and print."""
    measure.machine()
    with tempfile.TemporaryDirectory() as name:
        folder, home = Path(name), Path(name) / "home"
        home.mkdir()
        rows: dict[str, list[float]] = {}
        for title, argv in BARE.items():
            rows[title] = _timed(lambda argv=argv: _run([sys.executable, *argv], home), ROUNDS)  # type: ignore[misc]  # mypy cannot type a default of a lambda
        loaded = {}
        for command in COMMANDS:
            rows[command] = _timed(lambda command=command: _run([COMMAND, command], home), ROUNDS)  # type: ignore[misc]  # as above
            loaded[command] = _run([sys.executable, "-c", _PROBE, command], home).strip() == "True"
        floor = statistics.median(rows["python -c pass"])
        table = [
            (
                title,
                f"{statistics.median(found):.3f}",
                f"{min(found):.3f}",
                f"{statistics.median(found) / floor:.1f}x",
                {True: "yes", False: "no"}.get(loaded.get(title, False)),
            )
            for title, found in rows.items()
        ]
        measure.table("seconds to start and end", ("", "median", "min", "ratio", "crewai loaded"), table)
        print()
        for command in COMMANDS:
            measure.verdict(f"start of `{command}`", statistics.median(rows[command]), GOAL, " s")
        imported = _timed(lambda: _run([sys.executable, "-c", "import crewai"], home), LONG_ROUNDS)
        first = [_to_first_request(folder, home, number) for number in range(LONG_ROUNDS + 1)][1:]
    both = [("import crewai", imported), ("run, to the first request", first)]
    rows_first = [(title, f"{statistics.median(found):.2f}", f"{min(found):.2f}") for title, found in both]
    measure.table("seconds to the first request", ("", "median", "min"), rows_first)
    print()
    measure.verdict("beyond `import crewai`", statistics.median(first) - statistics.median(imported), FIRST_GOAL, " s")


if __name__ == "__main__":
    main()
