"""A command in the sandbox against the bare command. Usage: python bench/sandbox.py"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import measure
import scenario

from backend_crew.tools import process
from backend_crew.tools.runtime import find_runtime
from backend_crew.tools.sandbox import NoSandbox, find_sandbox

ROUNDS = 15
FILES = 1000


def _median(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    work()
    found = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        found.append(1000 * (time.perf_counter() - started))
    return statistics.median(found)


def main() -> None:
    """Measure and print."""
    measure.machine()
    started = time.perf_counter()
    sandbox = find_sandbox()
    tested = 1000 * (time.perf_counter() - started)
    if isinstance(sandbox, NoSandbox):
        raise SystemExit(f"no sandbox here: {sandbox.reason}")
    many = {f"app/part{number}.py": f"NUMBER = {number}\n" * 50 for number in range(FILES)}
    commands = {"true": ["/usr/bin/true"], "python -c pass": [sys.executable, "-c", "pass"]}
    with tempfile.TemporaryDirectory() as name:
        tree = scenario.make_repository(Path(name) / "notes", {**scenario.FILES, **many})
        runtime = find_runtime(tree, python=Path(sys.executable))
        rows = []
        env = {"PATH": "/usr/bin:/bin", "HOME": name}
        with sandbox.box(tree, tree, runtime) as box:
            tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
            for title, argv in {**commands, "pytest, one test": tests}.items():
                for done in (process.run(argv, cwd=tree, env=env, timeout_s=60), box.run(argv)):
                    if not done.ok:
                        raise SystemExit(f"{title} failed: {done.stdout[-300:]}{done.stderr[-300:]}")
                bare = _median(lambda argv=argv: process.run(argv, cwd=tree, env=env, timeout_s=60))  # type: ignore[misc]  # mypy cannot type a default of a lambda
                inside = _median(lambda argv=argv: box.run(argv))  # type: ignore[misc]  # as above
                rows.append((title, f"{bare:.0f}", f"{inside:.0f}", f"{inside - bare:+.0f}", f"{inside / bare:.1f}x"))

        def open_one() -> None:
            with sandbox.box(tree, tree, runtime):
                pass

        opened = _median(open_one, 5)
    measure.table(f"ms a command (bubblewrap {sandbox.version})", ("", "bare", "sandbox", "more", "ratio"), rows)
    print(f"\nonce a command set: copy of {FILES + len(scenario.FILES)} files, made and removed: {opened:.0f} ms")
    print(f"once a run: finding and testing the sandbox: {tested:.0f} ms")


if __name__ == "__main__":
    main()
