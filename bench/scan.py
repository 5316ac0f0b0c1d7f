"""The scan of a repository against other ways to learn what it holds. Usage: python bench/scan.py TREE … [--aider PYTHON]

TREE is any folder of sources: unpacked source distributions, for example. ctags is used where the system has it. aider's map
is made by its own class in an environment of its own (`pip install aider-chat`), whose interpreter --aider names; both
maps get the same number of tokens. Without a key, and without a network. Each number is the best of several rounds; seconds
of the processor are the ones to compare on a machine that others use. Then what each part of a cold scan takes, and the
whole on an eighth, a quarter, a half and all of the tree's files: the cost of a file must not grow with their number.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import measure

ROUNDS = 3
TOKENS = 4_096
COMMAND = str(Path(sys.executable).with_name("backend-crew"))
_MAP = f"""
import sys
from pathlib import Path
from backend_crew.tools.index import sources
from backend_crew.tools.index.build import build
from backend_crew.tools.index.facts import render
from backend_crew.tools.index.store import Store
found = build(sources.inventory(Path(sys.argv[1]).resolve()), Store(None), "", {TOKENS})
print(len(render(found.places)) // 4)
"""
# aider counts tokens with its model; a quarter of the characters is what ours are counted in.
_AIDER = f"""
import sys, os
from pathlib import Path
from aider.repomap import RepoMap
class Model:
    def token_count(self, text): return len(text) // 4
class Quiet:
    encoding = "utf-8"
    def read_text(self, name, silent=False):
        try: return Path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeError): return None
    def __getattr__(self, name): return lambda *a, **k: None
root = Path(sys.argv[1]).resolve()
files = [os.path.join(d, n) for d, _, names in os.walk(root) for n in names]
files = [f for f in files if f.endswith((".py", ".js", ".ts", ".tsx", ".go", ".java", ".rb", ".php"))]
maps = RepoMap(map_tokens={TOKENS}, root=str(root), main_model=Model(), io=Quiet(), map_mul_no_files=1)
print(len(maps.get_repo_map([], sorted(files)) or "") // 4)
"""
_PARTS = """
import gc, sys, time
from pathlib import Path
gc.disable()
clock, used = time.perf_counter(), time.process_time()
def part(name):
    global clock, used
    high = next(int(line.split()[1]) // 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(f"{name}|{time.perf_counter() - clock:.2f}|{time.process_time() - used:.2f}|{high}")
    clock, used = time.perf_counter(), time.process_time()
from backend_crew.tools import scan, stack
from backend_crew.tools.endpoints.find import find_endpoints
from backend_crew.tools.index import build, sources
from backend_crew.tools.index.files import Files
from backend_crew.tools.index.store import Store, edition
from backend_crew.tools.static.project import Project
from backend_crew.tools.tables.find import find_tables
edition()
part("imports")
root = Path(sys.argv[1])
listed = sources.inventory(root)
part("list of files")
stack.survey(root)
part("stack")
real = build.graph.rank, build.repomap.choose, build.layering
def read_before(*given):
    part("outlines and imports")
    found = real[0](*given)
    part("ranks")
    return found
def chosen(*given):
    found = real[1](*given)
    part("map")
    return found
build.graph.rank, build.repomap.choose = read_before, chosen
build.build(listed, Store(None))
part("layers")
project = Project(Files(listed))
find_endpoints(project)
part("endpoints")
find_tables(project)
part("tables")
"""
_LOOP = "total = 0\nfor number in range(10_000_000): total += number * number"
_CREWAI = """
import os, sys, time
os.chdir(sys.argv[1])  # the tools read below the current folder alone
from crewai_tools import DirectoryReadTool, FileReadTool
started = time.process_time()
listed = DirectoryReadTool()._run(directory=sys.argv[1])
took = time.process_time() - started
largest = max((p for p in __import__("pathlib").Path(sys.argv[1]).rglob("*.py") if p.stat().st_size < 1_000_000), key=lambda p: p.stat().st_size)
whole = FileReadTool()._run(file_path=str(largest))
print(len(listed) // 4, round(took, 2), len(whole) // 4)
"""


@dataclass(frozen=True)
class Took:
    """What a program took: seconds on the clock and of the processor, peak memory in megabytes, and what it said."""

    wall: float
    cpu: float
    memory: float
    said: str
    tokens: int = 0


def _run(argv: Sequence[str], env: dict[str, str] | None = None) -> Took:
    with tempfile.TemporaryFile() as said:
        started = time.perf_counter()
        process = subprocess.Popen(argv, env={**os.environ, **(env or {})}, stdout=said, stderr=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        length = said.seek(0, os.SEEK_END)
        # Not all of it: what this process holds counts as memory of those that it starts.
        said.seek(max(length - 10_000, 0))
        text = said.read().decode("utf-8", "replace").strip()
    if process.returncode:
        raise SystemExit(f"{argv[0]} ended with {process.returncode}")
    return Took(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, text, length // 4)


def _best(found: Sequence[Took]) -> Took:
    """The least of each; what was said by the last."""
    return Took(
        min(one.wall for one in found),
        min(one.cpu for one in found),
        max(one.memory for one in found),
        found[-1].said,
        found[-1].tokens,
    )


def _scans(tree: Path, rounds: int) -> tuple[Took, Took]:
    """The whole command, with nothing in its cache, and with all."""
    cold, warm = [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as home:
            argv, env = [COMMAND, "scan", str(tree), "--json"], {"BACKEND_CREW_HOME": home}
            cold.append(_run(argv, env))
            warm += [_run(argv, env) for _ in range(2)]
    return _best(cold), _best(warm)


def _aider(python: str, tree: Path, rounds: int) -> Took:
    found = []
    for _ in range(rounds):
        for kept in tree.glob(".aider.tags.cache*"):
            shutil.rmtree(kept)
        found.append(_run([python, "-c", _AIDER, str(tree)]))
    for kept in tree.glob(".aider.tags.cache*"):
        shutil.rmtree(kept)
    return _best(found)


def _parts(tree: Path) -> None:
    said = _run([sys.executable, "-c", _PARTS, str(tree)]).said
    rows = [line.split("|") for line in said.splitlines()]
    measure.table("each part of a cold scan", ("", "seconds", "of the processor", "MB so far"), rows)


def _growing(tree: Path, folder: Path) -> None:
    """The whole command on every eighth, fourth, second file and on all, and what a thousand more files cost each time."""
    paths = sorted(Path(where) / name for where, _, names in os.walk(tree) for name in names)
    rows: list[Sequence[object]] = []
    costs: list[float] = []
    before = (0, 0.0)
    for step in (8, 4, 2, 1):
        part = folder / f"step-{step}"
        for path in paths[::step]:
            place = part / path.relative_to(tree)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place, follow_symlinks=False)
        files = len(paths[::step])
        with tempfile.TemporaryDirectory() as home:
            took = _run([COMMAND, "scan", str(part), "--json"], {"BACKEND_CREW_HOME": home})
        shutil.rmtree(part)
        costs.append(1_000 * (took.cpu - before[1]) / (files - before[0]))
        before = (files, took.cpu)
        rows.append((f"{files} files", f"{took.wall:.2f}", f"{took.cpu:.2f}", f"{took.memory:.0f}", f"{costs[-1]:.2f}"))
    head = ("cold", "seconds", "of the processor", "MB", "for 1,000 more files")
    measure.table("growing parts of the tree", head, rows)
    print()
    measure.verdict("a thousand files of the last half against those before", costs[-1] / max(*costs[1:-1]), 1.5, "x")


def _calibrated() -> None:
    """How fast this machine is at the moment, by two things that everybody can run."""
    started = _best([_run([sys.executable, "-c", "pass"]) for _ in range(5)])
    looped = _best([_run([sys.executable, "-c", _LOOP]) for _ in range(3)])
    print(f"python -c pass: {started.wall:.3f} s; ten million squares added: {looped.cpu:.2f} s of the processor")


def _measured(tree: Path, python: str | None, rounds: int) -> None:
    files = sum(len(names) for _, _, names in os.walk(tree))
    cold, warm = _scans(tree, rounds)
    ours = _best([_run([sys.executable, "-c", _MAP, str(tree)]) for _ in range(rounds)])
    rows = [("scan, cold", cold, ""), ("scan, warm", warm, ""), (f"our map of {TOKENS} tokens, cold", ours, ours.said)]
    tagged = None
    if ctags := shutil.which("ctags"):
        argv = [ctags, "-R", "--fields=+n", "-f", "-", str(tree)]
        tagged = _best([_run(argv) for _ in range(rounds)])
        rows.append(("ctags, all tags", tagged, str(tagged.tokens)))
    theirs = _aider(python, tree, 1) if python else None
    if theirs:
        rows.append((f"aider's map of {TOKENS} tokens, cold", theirs, theirs.said))
    read = _run([sys.executable, "-c", _CREWAI, str(tree)])
    listed, seconds, whole = read.said.split()[-3:]
    table = [(name, f"{one.wall:.2f}", f"{one.cpu:.2f}", f"{one.memory:.0f}", said) for name, one, said in rows]
    table.append(("DirectoryReadTool, without its import", "", seconds, f"{read.memory:.0f}", listed))
    table.append(("FileReadTool on the largest Python file", "", "", "", whole))
    measure.table(f"{tree.name}: {files} files", ("", "seconds", "of the processor", "MB", "tokens"), table)
    print()
    large = files > 20_000
    measure.verdict("cold scan", cold.wall, 4 if large else 2, " s")
    measure.verdict("cold scan, of the processor", cold.cpu, 4 if large else 2, " s")
    measure.verdict("warm scan", warm.wall, 1 if large else 0.3, " s")
    measure.verdict("warm scan, of the processor", warm.cpu, 1 if large else 0.3, " s")
    measure.verdict("memory", max(cold.memory, warm.memory), 150, " MB")
    if tagged:
        print(
            f"         against ctags, of the processor: {cold.cpu / tagged.cpu:.1f}x cold, {warm.cpu / tagged.cpu:.1f}x warm"
        )
    if theirs:
        measure.verdict("map against aider's, of the processor", ours.cpu / theirs.cpu, 0.1, "x")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trees", nargs="+", type=Path, metavar="TREE")
    parser.add_argument("--aider", metavar="PYTHON")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    measure.machine()
    _calibrated()
    for tree in given.trees:
        _measured(tree.resolve(), given.aider, given.rounds)
        _parts(tree.resolve())
        with tempfile.TemporaryDirectory() as folder:
            _growing(tree.resolve(), Path(folder))
        measure.machine()


if __name__ == "__main__":
    main()
