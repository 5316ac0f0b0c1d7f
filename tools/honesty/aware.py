"""Code of the service that asks whether a test is running: it can behave for the tests and not for people."""

import ast
import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Literal

from backend_crew.tools.change_finding import ChangeFinding
from backend_crew.tools.honesty import python_tests, testpaths
from backend_crew.tools.honesty.findings import finding
from backend_crew.tools.honesty.javascript_code import line_of, root_of, source, walk
from backend_crew.tools.honesty.python_assertions import code

_SURE = re.compile(
    r"PYTEST_CURRENT_TEST|PYTEST_VERSION|['\"](pytest|unittest|_pytest)['\"]\s+in\s+sys\.modules|JEST_WORKER_ID|VITEST\b|NODE_TEST_CONTEXT"
    r"|sys\.modules\.get\(\s*['\"](pytest|unittest)|(pytest|py\.test|jest|mocha|vitest)['\"]?\s*(in|===?)\s*(sys|process)\.argv|argv\S*\s*\.includes\(['\"](jest|mocha|vitest|--test)"
)
_LIKELY = re.compile(
    r"NODE_ENV['\"\]]*\s*[!=]==?\s*['\"]test(ing)?['\"]|['\"]test(ing)?['\"]\s*[!=]==?\s*process\.env\.NODE_ENV"
    r"|['\"]test['\"]\s+in\s+sys\.argv|config\[['\"]TESTING['\"]\]|config\.get\(\s*['\"]TESTING['\"]|settings\.TESTING\b|\bapp\.testing\b"
    r"|environ(\.get\(|\[)\s*['\"](TESTING|TEST_MODE|IS_TEST|UNDER_TEST)|getenv\(\s*['\"](TESTING|TEST_MODE|IS_TEST|UNDER_TEST)|process\.env\.(TESTING|TEST_MODE|IS_TEST|UNDER_TEST)"
)
_LINES = 25_000_000
_FIX = "Let the code do the same whoever calls it; give tests what they need from outside."


def compare_awareness(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[ChangeFinding]:
    """New questions of product code about tests; an error where it answers callers by them."""
    for path, text in after.items():
        if not testpaths.is_product_code(path) or not (_SURE.search(text) or _LIKELY.search(text)):
            continue
        added = changed_lines(before.get(path, ""), text)
        lines = text.splitlines()
        deciding = _deciding(path, text)
        for number in sorted(added):
            line = lines[number - 1]
            sure, likely = _SURE.search(line), _LIKELY.search(line)
            if not sure and not likely:
                continue
            answers = number in deciding
            severity: Literal["error", "warning"] = "error" if sure or answers else "warning"
            yield finding(
                "test-aware-code",
                severity,
                path,
                number,
                f"`{line.strip()[:160]}` asks whether tests run" + (" and answers by it" if answers else ""),
                _FIX,
            )


def changed_lines(was: str, now: str) -> set[int]:
    """The lines of `now`, from 1, that `was` does not have."""
    old, new = was.splitlines(), now.splitlines()
    if len(old) * len(new) > _LINES:  # too long for the best answer: lines that only moved are not seen as such
        known = set(old)
        return {number for number, line in enumerate(new, 1) if line not in known}
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    return {
        line + 1
        for tag, _, _, start, end in matcher.get_opcodes()
        if tag in ("replace", "insert")
        for line in range(start, end)
    }


def _deciding(path: str, text: str) -> set[int]:
    """Lines of conditions by which a function gives another value."""
    return set(_in_python(text) if testpaths.is_python(path) else _in_script(path, text))


def _in_python(text: str) -> Iterator[int]:
    tree = python_tests.parse(text)
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.If) and any(
            isinstance(one, ast.Return) for part in node.body for one in ast.walk(part)
        ):
            yield from range(node.lineno, node.body[0].lineno)
        elif (
            isinstance(node, ast.Return)
            and node.value is not None
            and any(isinstance(one, ast.IfExp) for one in ast.walk(node.value))
        ) and (_SURE.search(code(node)) or _LIKELY.search(code(node))):
            yield from range(node.lineno, (node.end_lineno or node.lineno) + 1)


def _in_script(path: str, text: str) -> Iterator[int]:
    root = root_of(path, text)
    for node in walk(root) if root is not None else ():
        if node.type == "if_statement":
            taken = node.child_by_field_name("consequence")
            if taken is not None and any(
                one.type == "return_statement" and one.named_children and source(one.named_children[0]) != "next()"
                for one in walk(taken)
            ):
                yield from range(line_of(node), line_of(taken) + 1)
        elif node.type == "return_statement" and any(one.type == "ternary_expression" for one in walk(node)):
            yield line_of(node)
