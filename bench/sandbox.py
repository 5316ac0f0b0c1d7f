"""A command in the sandbox against the bare command. Usage: python bench/sandbox.py"""

import argparse
import functools
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import measure
import scenario

from backend_crew.tools import process
from backend_crew.tools.runtime import Runtime, find_runtime
from backend_crew.tools.sandbox import Limits, NoSandbox, Sandbox, find_sandbox

ROUNDS = 15
FILES = 1000
MOST_RATIO, MOST_MS, MOST_BIG_S = 3.0, 30.0, 0.5


def _median(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    return _medians(work, rounds=rounds)[0]


def _medians(*works: Callable[[], object], rounds: int = ROUNDS) -> list[float]:
    """In turns, so that what else the machine does is shared out."""
    found: list[list[float]] = [[] for _ in works]
    for turn in range(rounds + 1):
        for work, times in zip(works, found, strict=True):
            started = time.perf_counter()
            work()
            if turn:
                times.append(1000 * (time.perf_counter() - started))
    return [statistics.median(times) for times in found]


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--big", type=float, default=0, metavar="GB", help="also measure a repository of that size")
    options.add_argument("--folder", type=Path, help="where the large repository and its copies go")
    given = options.parse_args()
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
        rows, measured = [], []
        env = {"PATH": "/usr/bin:/bin", "HOME": name}
        with sandbox.box(tree, tree, runtime) as box:
            tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
            for title, argv in {**commands, "pytest, one test": tests}.items():
                for done in (process.run(argv, cwd=tree, env=env, timeout_s=60), box.run(argv)):
                    if not done.ok:
                        raise SystemExit(f"{title} failed: {done.stdout[-300:]}{done.stderr[-300:]}")
                bare, inside = _medians(
                    functools.partial(process.run, argv, cwd=tree, env=env, timeout_s=60),
                    functools.partial(box.run, argv),
                )
                rows.append((title, f"{bare:.0f}", f"{inside:.0f}", f"{inside - bare:+.0f}", f"{inside / bare:.1f}x"))
                measured.append((title, bare, inside))

        def open_one() -> None:
            with sandbox.box(tree, tree, runtime):
                pass

        opened = _median(open_one, 5)
    measure.table(f"ms a command ({sandbox.title})", ("", "bare", "sandbox", "more", "ratio"), rows)
    print(f"\nonce a command set: copy of {FILES + len(scenario.FILES)} files, made and removed: {opened:.0f} ms")
    print(f"once a run: finding and testing the sandbox: {tested:.0f} ms\n")
    for title, bare, inside in measured:
        measure.verdict(f"{title}, ratio", inside / bare, MOST_RATIO, "x")
        measure.verdict(f"{title}, more", inside - bare, MOST_MS, " ms")
    if given.big:
        _big(sandbox, given.big, given.folder)


def _big(sandbox: Sandbox, gigabytes: float, folder: Path | None) -> None:
    """A large repository: opening a box, reading in it, and closing it."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        tree = Path(name) / "tree"
        tree.mkdir()
        count = int(gigabytes * 1024)
        for number in range(count):
            part = tree / f"part{number % 50}"
            part.mkdir(exist_ok=True)
            (part / f"file{number}.bin").write_bytes(os.urandom(1 << 20))
        if shutil.disk_usage(name).free < 2 * count << 20:
            raise SystemExit("too little room for a second copy")
        for layered in (False, True) if sandbox.overlay else (False,):
            started = time.perf_counter()
            with replace(sandbox, scratch=folder).box(tree, tree, Runtime(kind="other"), layered=layered) as box:
                opened = time.perf_counter() - started
                if not box.run(["cat", "part7/file7.bin"], limits=Limits(output_bytes=100)).ok:
                    raise SystemExit("the tree cannot be read in the box")
            title = f"{gigabytes:g} GB in {count} files, " + ("overlay" if layered else "copy or reflink")
            measure.verdict(title, opened, MOST_BIG_S, " s")


if __name__ == "__main__":
    main()
