"""Hooks of pytest in a change that drop tests or rewrite their outcome."""

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Literal

from backend_crew.tools.change_finding import ChangeFinding
from backend_crew.tools.honesty import python_tests, testpaths
from backend_crew.tools.honesty.findings import finding
from backend_crew.tools.honesty.python_assertions import code, dotted, last_name

_COLLECTING = frozenset(
    {
        "pytest_collection_modifyitems",
        "pytest_itemcollected",
        "pytest_ignore_collect",
        "pytest_pycollect_makeitem",
        "pytest_generate_tests",
        "pytest_runtest_setup",
    }
)
_RUNNING = frozenset({"pytest_runtest_call", "pytest_pyfunc_call", "pytest_runtest_protocol"})
_REPORTING = frozenset(
    {
        "pytest_runtest_makereport",
        "pytest_runtest_logreport",
        "pytest_report_teststatus",
        "pytest_sessionfinish",
        "pytest_exception_interact",
        "pytest_terminal_summary",
        "pytest_unconfigure",
    }
)
_FIX = "Leave collection and outcomes to pytest."


def compare_hooks(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[ChangeFinding]:
    """What hooks that are new, or other than they were, do to tests; any Python file may hold a plugin."""
    for path, text in after.items():
        if not testpaths.is_python(path) or ("pytest_" not in text and "collect_ignore" not in text):
            continue
        tree, old = python_tests.parse(text), python_tests.parse(before.get(path, ""))
        if tree is None:
            continue
        known = {name: ast.dump(one) for name, one in python_tests.functions_of(old).items()} if old is not None else {}
        for name, node in python_tests.functions_of(tree).items():
            if name.startswith("pytest_") and known.get(name) != ast.dump(node):
                yield from _hook(path, name, node)
        yield from _ignored(path, tree, old)


def _hook(path: str, name: str, node: python_tests.Function) -> Iterator[ChangeFinding]:
    if name in _COLLECTING:
        if (line := _drops(node)) is not None:
            # Tests that carry a marker, or an option: then the tests themselves, or who runs them, say what is left out.
            asks = _asks(node)
            condition = ", where a marker, an option or the environment says so" if asks else ""
            severity: Literal["error", "warning"] = "warning" if asks else "error"
            text = f"{name} skips or drops tests{condition}"
            yield finding("collection-narrowed", severity, path, line, text, _FIX)
    elif name in _RUNNING:
        calls = [last_name(one.func) for one in ast.walk(node) if isinstance(one, ast.Call)]
        runs = any(isinstance(one, (ast.Yield, ast.YieldFrom)) for one in ast.walk(node)) or "runtest" in calls
        swallows = any(
            isinstance(one, ast.ExceptHandler) and not any(isinstance(inner, ast.Raise) for inner in ast.walk(one))
            for one in ast.walk(node)
        )
        sure = (
            swallows
            or _forces(node) is not None
            or (not runs and name != "pytest_runtest_protocol" and _returns_true(node))
        )
        yield finding(
            "outcome-hook",
            "error" if sure else "warning",
            path,
            node.lineno,
            f"{name} takes over how tests are run",
            _FIX,
        )
    elif name in _REPORTING and (line := _forces(node)) is not None:
        yield finding("outcome-hook", "error", path, line, f"{name} rewrites the outcome of tests", _FIX)


def _drops(node: python_tests.Function) -> int | None:
    """The line where a hook takes tests out or marks them as skipped or expected to fail."""
    items = next((one.arg for one in node.args.args if one.arg == "items"), "items")
    for one in ast.walk(node):
        if isinstance(one, (ast.Assign, ast.AugAssign, ast.Delete)):
            targets = [one.target] if isinstance(one, ast.AugAssign) else one.targets
            if any(isinstance(target, ast.Subscript) and dotted(target.value) == items for target in targets):
                if isinstance(one, ast.Assign) and "sort" in code(one.value):
                    continue
                return one.lineno
        if isinstance(one, ast.Call):
            name = dotted(one.func)
            if name in (
                f"{items}.remove",
                f"{items}.clear",
                f"{items}.pop",
                "pytest.skip",
                "config.hook.pytest_deselected",
            ):
                return one.lineno
            if (
                last_name(one.func) == "add_marker"
                and one.args
                and any(word in code(node) for word in ("mark.skip", "mark.xfail", "'skip'", "'xfail'"))
            ):
                return one.lineno
    if node.name == "pytest_ignore_collect" and _returns_true(node):
        return node.lineno
    return None


_ASKED = re.compile(
    r"getoption|getvalue|\bkeywords\b|get_closest_marker|iter_markers|own_markers|platform|version|environ|settings"
)
_BY_NAME = re.compile(r"\.(name|nodeid|originalname|fspath|path|location|function|parent|cls|module)\b")


def _asks(node: python_tests.Function) -> bool:
    """Whether the conditions in a hook are about markers, options and the environment, and not about single tests."""
    conditions = [code(one.test) for one in ast.walk(node) if isinstance(one, (ast.If, ast.IfExp))]
    conditions += [code(test) for one in ast.walk(node) if isinstance(one, ast.comprehension) for test in one.ifs]
    asked = any(_ASKED.search(one) for one in conditions)
    return asked and not any(_BY_NAME.search(one) for one in conditions)


def _forces(node: python_tests.Function) -> int | None:
    """The line where an outcome, a report or the exit status is set."""
    for one in ast.walk(node):
        targets = one.targets if isinstance(one, ast.Assign) else [one.target] if isinstance(one, ast.AugAssign) else []
        if any(
            isinstance(target, ast.Attribute)
            and target.attr in ("outcome", "exitstatus", "wasxfail", "excinfo", "testsfailed", "failed", "passed")
            for target in targets
        ):
            return one.lineno if isinstance(one, ast.stmt) else None
        if isinstance(one, ast.Call) and last_name(one.func) == "force_result":
            given = code(one.args[0]) if one.args else ""
            if node.name == "pytest_report_teststatus" or given:
                return one.lineno
        if isinstance(one, ast.Call) and dotted(one.func) in ("os._exit", "sys.exit", "pytest.exit"):
            return one.lineno
        if (
            isinstance(one, ast.Call)
            and last_name(one.func) == "setattr"
            and len(one.args) > 1
            and code(one.args[1]) in ("'outcome'", "'exitstatus'")
        ):
            return one.lineno
    return None


def _returns_true(node: python_tests.Function) -> bool:
    return any(
        isinstance(one, ast.Return)
        and one.value is not None
        and code(one.value) != "None"
        and code(one.value) != "False"
        for one in ast.walk(node)
    )


def _ignored(path: str, tree: ast.Module, old: ast.Module | None) -> Iterator[ChangeFinding]:
    known = _ignores(old) if old is not None else {}
    for word, line in _ignores(tree).items():
        if word not in known:
            yield finding("collection-narrowed", "error", path, line, f"{word} leaves test files out", _FIX)


def _ignores(tree: ast.Module) -> dict[str, int]:
    """Each value of `collect_ignore` and its kin at the top of a file, with its line."""
    found: dict[str, int] = {}
    for node in tree.body:
        targets = (
            node.targets
            if isinstance(node, ast.Assign)
            else [node.target]
            if isinstance(node, (ast.AugAssign, ast.AnnAssign))
            else []
        )
        names = [name for one in targets if (name := dotted(one)) in ("collect_ignore", "collect_ignore_glob")]
        value = getattr(node, "value", None)
        if names and isinstance(value, ast.AST):
            listed = value.elts if isinstance(value, (ast.List, ast.Tuple)) else [value]
            found |= {f"{names[0]} {code(one)}": node.lineno for one in listed}
    return found
