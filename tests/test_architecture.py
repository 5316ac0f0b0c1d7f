"""The house rules that a linter does not hold: sizes, imports without effects, words for every public name."""

import ast
import json
import re
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
SHIPPED = sorted([*ROOT.glob("crew/*.py"), *ROOT.glob("tools/*.py")])
OURS = sorted([*SHIPPED, *ROOT.glob("tests/**/*.py"), *ROOT.glob("bench/*.py"), *ROOT.glob("examples/*.py")])
OURS = [path for path in OURS if "data" not in path.relative_to(ROOT).parts]
EDGE = ("agents", "crew", "library", "llm", "nested", "toolbox")
"""The modules of crew/ that import crewai."""
FILE_LINES, FUNCTION_LINES, ARGUMENTS = 500, 80, 8


@dataclass(frozen=True)
class Function:
    """A function as a reader meets it: its lines do not count the docstring."""

    where: str
    lines: int
    arguments: int
    excused: bool


def _functions(path: Path, text: str) -> Iterator[Function]:
    source = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            documented = (first.end_lineno or 0) - first.lineno + 1 if ast.get_docstring(node) else 0
            given = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
            named = [one for one in given if one.arg not in ("self", "cls")]
            yield Function(
                f"{path.name}:{node.lineno} {node.name}",
                (node.end_lineno or 0) - node.lineno + 1 - documented,
                len(named),
                bool(re.search(r"# noqa: PLR0913  # \w", source[node.lineno - 1])),
            )


def _too_big(path: Path, text: str) -> list[str]:
    """What is over the caps in a file."""
    lines = len(text.splitlines())
    found = [f"{path.name} has {lines} lines"] if lines > FILE_LINES else []
    for one in _functions(path, text):
        if one.lines > FUNCTION_LINES:
            found.append(f"{one.where} has {one.lines} lines")
        if one.arguments > ARGUMENTS and not one.excused and not path.name.startswith("test_"):
            found.append(f"{one.where} takes {one.arguments} arguments")
    return found


def test_no_file_or_function_is_too_big() -> None:
    assert [fault for path in OURS for fault in _too_big(path, path.read_text(encoding="utf-8"))] == []


def test_the_caps_find_what_is_too_big() -> None:
    long = "def long() -> None:\n" + "    print()\n" * FUNCTION_LINES
    wide = f"def wide({', '.join(f'a{n}' for n in range(ARGUMENTS + 1))}): ...\n"
    found = _too_big(Path("x.py"), long + wide + "\n" * FILE_LINES)
    assert [one.split()[-2:] for one in found] == [["582", "lines"], ["81", "lines"], ["9", "arguments"]]


def test_most_files_and_functions_are_small() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in SHIPPED}
    files = [len(text.splitlines()) for text in texts.values()]
    functions = [one.lines for path, text in texts.items() for one in _functions(path, text)]
    assert statistics.median(files) <= 170
    assert statistics.median(functions) <= 10
    assert statistics.quantiles(functions, n=10)[-1] <= 30
    assert sum(lines > 50 for lines in functions) / len(functions) <= 0.03


def _undocumented(tree: ast.Module) -> Iterator[str]:
    """Public names without a docstring; what is nested in a function is nobody's interface."""
    if ast.get_docstring(tree) is None:
        yield "the module"
    bodies: list[tuple[str, list[ast.stmt]]] = [("", tree.body)]
    while bodies:
        prefix, body = bodies.pop()
        for node in body:
            if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or node.name[0] == "_":
                continue
            if ast.get_docstring(node) is None:
                yield f"{prefix}{node.name} (line {node.lineno})"
            if isinstance(node, ast.ClassDef):
                bodies.append((f"{node.name}.", node.body))


def test_public_names_say_what_they_are_for() -> None:
    assert [
        f"{path.name}: {name}"
        for path in SHIPPED
        for name in _undocumented(ast.parse(path.read_text(encoding="utf-8")))
    ] == []


def test_a_missing_docstring_is_found() -> None:
    tree = ast.parse("class A:\n    def b(self): ...\n    def _c(self): ...\ndef d():\n    'Yes.'\n")
    assert list(_undocumented(tree)) == ["the module", "A (line 1)", "A.b (line 2)"]


_IGNORE = re.compile(r"#\s*(?:noqa|type:\s*ignore)")
_REASONED = re.compile(r"# (?:noqa: [A-Z]+\d+(?:, [A-Z]+\d+)*|type: ignore\[[a-z, -]+\])  # \w")


def test_every_ignored_rule_says_why() -> None:
    assert [
        f"{path.name}:{number}: {line.strip()}"
        for path in OURS
        if path != Path(__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if _IGNORE.search(line) and not _REASONED.search(line)
    ] == []


def test_nothing_is_left_for_later() -> None:
    word = re.compile("TO" + r"DO\b|FIX" + r"ME\b|XX" + r"X\b")
    files = [*OURS, *ROOT.glob("*.md"), *ROOT.glob("docs/*"), *ROOT.glob("config/*.yaml"), ROOT / ".ci/run"]
    assert [str(path) for path in files if path.is_file() and word.search(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize(("name", "most"), [("README.md", 250), ("AGENTS.md", 60)])
def test_what_people_read_first_is_short(name: str, most: int) -> None:
    assert 0 < len((ROOT / name).read_text(encoding="utf-8").splitlines()) <= most


def _reads_environment(tree: ast.Module) -> bool:
    return any(
        (isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv", "putenv", "environb"))
        or (isinstance(node, ast.ImportFrom) and node.module == "os" and {"environ", "getenv"} & _names(node))
        for node in ast.walk(tree)
    )


def _names(node: ast.ImportFrom) -> set[str]:
    return {one.name for one in node.names}


def test_one_module_reads_the_environment() -> None:
    assert [path.name for path in SHIPPED if _reads_environment(ast.parse(path.read_text()))] == ["settings.py"]


def test_programs_are_started_in_one_module() -> None:
    """What import-linter cannot see: the os module starts programs too. The launcher is the far end of process.py; the
    self-test holds the text of a probe that forks inside the sandbox.
    """
    starts = re.compile(r"\bos\.(?:system|popen|exec\w+|spawn\w+|posix_spawn\w*|fork\w*)\b|create_subprocess")
    assert [path.name for path in SHIPPED if starts.search(path.read_text(encoding="utf-8"))] == [
        "launcher.py",
        "selftest.py",
    ]


def _lint_imports(config: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    argv = [str(program), "--config", str(config), "--no-cache"]
    return subprocess.run(argv, capture_output=True, text=True, check=False, cwd=config.parent)


def test_imports_keep_their_contracts() -> None:
    done = _lint_imports(ROOT / "pyproject.toml")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr


def test_contracts_that_do_not_hold_are_reported(tmp_path: Path) -> None:
    """The weak control: the same packages, with the layers of crew upside down."""
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    layers = next(one["layers"] for one in linter["contracts"] if one.get("containers") == ["backend_crew.crew"])
    config = tmp_path / "upside_down.ini"
    config.write_text(
        "[importlinter]\nroot_packages =\n    backend_crew.crew\n    backend_crew.tools\n"
        "[importlinter:contract:1]\nname = upside down\ntype = layers\ncontainers = backend_crew.crew\nlayers =\n"
        + "".join(f"    {one}\n" for one in reversed(layers))
    )
    done = _lint_imports(config)
    assert done.returncode == 1
    assert "upside down BROKEN" in done.stdout


# Imports each module in a fork of its own, so that it is the first to be imported, and says what it left behind.
_PROBE = """
import importlib, json, logging, os, signal, sys, threading, warnings
from pathlib import Path

def state():
    return {
        "environment": dict(os.environ),
        "files": sorted(str(p) for p in Path.cwd().rglob("*")),
        "handlers": [repr(h) for h in logging.getLogger().handlers],
        "interrupt": repr(signal.getsignal(signal.SIGINT)),
        "path": list(sys.path),
        "threads": sorted(t.name for t in threading.enumerate()),
        "folder": os.getcwd(),
    }

def left_behind(names):
    before = state()
    for name in names:
        importlib.import_module(name)
    after = state()
    return sorted(key for key in before if before[key] != after[key])

def forked(names, prepare=""):
    reader, writer = os.pipe()
    output = Path(sys.argv[1]) / names[0]
    if os.fork() == 0:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT)
        os.dup2(descriptor, 1); os.dup2(descriptor, 2)
        exec(prepare)
        sys.stdout.flush(); sys.stderr.flush(); os.ftruncate(1, 0)
        found = {"left": left_behind(names), "crewai": "crewai" in sys.modules}
        sys.stdout.flush(); sys.stderr.flush()
        os.write(writer, json.dumps(found).encode())
        os._exit(0)
    os.close(writer)
    found = os.fdopen(reader, "rb").read()
    os.wait()
    text = output.read_text()
    return {**(json.loads(found) if found else {"left": ["nothing was said"], "crewai": False}), "output": text}

plain, edge = json.loads(sys.argv[2])
results = {name: forked([name]) for name in plain}
if edge:
    results["edge"] = forked(edge, sys.argv[3])
print(json.dumps(results))
"""
# What crewai itself does when it is imported is not ours to judge.
_PREPARE = (
    "from backend_crew.crew import settings; settings.prepare(Path.cwd())\n"
    "import crewai, crewai_tools, crewai.hooks.dispatch, crewai.tools, crewai.events.event_context"
)


def _probe(tmp_path: Path, plain: list[str], edge: list[str], prepare: str = _PREPARE) -> dict[str, Any]:
    (tmp_path / "outputs").mkdir()
    (tmp_path / "here").mkdir()
    here = str(tmp_path / "here")
    env = {"HOME": here, "TMPDIR": here, "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _PROBE, str(tmp_path / "outputs"), json.dumps([plain, edge]), prepare],
        cwd=here,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _module(path: Path) -> str:
    name = f"backend_crew.{path.parent.name}"
    return name if path.stem == "__init__" else f"{name}.{path.stem}"


def test_importing_a_module_does_nothing_else(tmp_path: Path) -> None:
    modules = [_module(path) for path in SHIPPED]
    edge = [name for name in modules if name.startswith("backend_crew.crew.") and name.rpartition(".")[2] in EDGE]
    assert len(edge) == len(EDGE)
    found = _probe(tmp_path, [name for name in modules if name not in edge], edge)
    quiet = {"left": [], "output": ""}
    assert {name: one for name, one in found.items() if {key: one[key] for key in quiet} != quiet} == {}
    assert [name for name, one in found.items() if one["crewai"]] == ["edge"]
    assert "backend_crew.crew.cli" in found


def test_a_module_that_does_something_is_found(tmp_path: Path) -> None:
    """The weak control: modules that print, set a variable and write a file."""
    for name, line in {
        "prints": "print('hello')",
        "sets": "import os; os.environ['A'] = 'b'",
        "writes": "open('x', 'w').close()",
    }.items():
        (tmp_path / f"{name}.py").write_text(line)
    found = _probe(
        tmp_path, ["antigravity_missing"], ["prints", "sets", "writes"], f"sys.path.insert(0, {str(tmp_path)!r})"
    )
    assert found["edge"]["left"] == ["environment", "files"]
    assert found["edge"]["output"] == "hello\n"
    assert found["antigravity_missing"]["left"] == ["nothing was said"]
