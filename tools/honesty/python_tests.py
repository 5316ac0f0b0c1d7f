"""The tests of a Python file, by its syntax tree: pytest's functions and classes, unittest's cases."""

import ast
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from backend_crew.tools.honesty.python_assertions import (
    code,
    dotted,
    is_assertion,
    last_name,
    of_assert,
    of_call,
    of_raises,
    raising,
    short,
)
from backend_crew.tools.honesty.testcode import Assertion, Disabled, Patch, Test, TestFile, in_either

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
Function = ast.FunctionDef | ast.AsyncFunctionDef
_DEPTH = 4
_EXPANSIONS = 150
"""How many calls of helpers are followed for one test: helpers that call helpers would multiply."""
_EXITS = frozenset({"sys.exit", "os._exit", "os.abort", "exit", "quit", "pytest.exit", "os.kill"})
_CATCHES = frozenset({"", "Exception", "BaseException", "AssertionError"})
_SKIPS = frozenset({"pytest.skip", "self.skipTest", "unittest.skip", "skip", "skipTest", "pytest.importorskip"})


def parse(text: str) -> ast.Module | None:
    """The syntax tree of a text, None where it has none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an invalid escape in the repository's strings is not our business
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def read_python(path: str, text: str, helpers: Mapping[str, Function]) -> TestFile:
    """The tests of a file; `helpers` are functions of the other test files, which may hold assertions for them."""
    tree = parse(text)
    if tree is None:
        return TestFile(path, broken=True)
    try:
        return _Reader(path, tree, helpers).read()
    except RecursionError:
        return TestFile(path, broken=True)


def functions_of(tree: ast.Module) -> dict[str, Function]:
    """Functions and methods of a module by bare name."""
    return {node.name: node for node in ast.walk(tree) if isinstance(node, _FUNCTIONS)}


def imports_of(tree: ast.Module) -> dict[str, str]:
    """What each imported name stands for, dotted."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for one in node.names:
                found[one.asname or one.name.partition(".")[0]] = one.name if one.asname else one.name.partition(".")[0]
        elif isinstance(node, ast.ImportFrom):
            for one in node.names:
                found[one.asname or one.name] = f"{node.module or ''}.{one.name}".lstrip(".")
    return found


@dataclass
class _Found:
    """What the walk over one body has met so far."""

    assertions: list[Assertion] = field(default_factory=list)
    disabled: list[Disabled] = field(default_factory=list)
    patches: list[Patch] = field(default_factory=list)
    calls: set[str] = field(default_factory=set)
    words: set[str] = field(default_factory=set)
    exit_line: int = 0
    after_exit: bool = False


@dataclass(frozen=True)
class _Way:
    """How a statement is reached: its conditions, and whether a failure there is dropped."""

    guards: tuple[str, ...] = ()
    swallowed: bool = False
    depth: int = 0


class _Reader:
    def __init__(self, path: str, tree: ast.Module, helpers: Mapping[str, Function]) -> None:
        self._path, self._tree = path, tree
        self._imports = imports_of(tree)
        self._left = _EXPANSIONS
        self._helpers = {**helpers, **functions_of(tree)}

    def read(self) -> TestFile:
        tests: dict[str, Test] = {}
        whole = tuple(self._module_level())
        for name, node, classes in self._found(self._tree.body, "", ()):
            tests[name] = self._test(name, node, classes, whole)
        exits = tuple(
            node.lineno
            for node in ast.walk(self._tree)
            if isinstance(node, ast.Call) and self._resolved(node.func) in _EXITS and not self._in_main(node)
        )
        autouse = tuple(self._autouse())
        return TestFile(self._path, tests, exits, autouse, imports=self._imports, defines=dict(_defined(self._tree)))

    def _in_main(self, call: ast.Call) -> bool:
        """Whether a call stands in `if __name__ == "__main__"`, which no runner executes, or in a nested program."""
        return any(
            isinstance(node, ast.If)
            and "__name__" in code(node.test)
            and node.lineno <= call.lineno <= (node.end_lineno or 0)
            for node in self._tree.body
        )

    def _found(
        self, body: Sequence[ast.stmt], prefix: str, classes: tuple[ast.ClassDef, ...]
    ) -> Iterator[tuple[str, Function, tuple[ast.ClassDef, ...]]]:
        for node in body:
            if isinstance(node, _FUNCTIONS) and node.name.startswith("test"):
                yield prefix + node.name, node, classes
            elif isinstance(node, ast.ClassDef):
                if self._is_collected(node):
                    yield from self._found(node.body, f"{prefix}{node.name}.", (*classes, node))
            elif isinstance(node, (ast.If, ast.Try, ast.With)):
                yield from self._found(node.body, prefix, classes)

    def _is_collected(self, owner: ast.ClassDef) -> bool:
        """Whether runners look into a class: by its name, or because it derives from another or another from it."""
        derived = any(
            dotted(base) == owner.name
            for node in self._tree.body
            if isinstance(node, ast.ClassDef)
            for base in node.bases
        )
        return bool(owner.bases) or derived or owner.name.startswith("Test")

    def _module_level(self) -> Iterator[Disabled]:
        """Skips of the whole file."""
        for node in self._tree.body:
            if isinstance(node, ast.Assign) and any(dotted(one) == "pytestmark" for one in node.targets):
                marks = node.value.elts if isinstance(node.value, (ast.List, ast.Tuple)) else [node.value]
                yield from self._marks(marks)
            elif isinstance(node, ast.Raise) and node.exc is not None and "SkipTest" in code(node.exc):
                yield Disabled("skip", node.lineno, short(code(node)), True)
            elif isinstance(value := getattr(node, "value", None), ast.Call) and self._skips(value):
                yield self._skip_call(value, ())

    def _marks(self, nodes: Sequence[ast.expr]) -> Iterator[Disabled]:
        for node in nodes:
            call = node.func if isinstance(node, ast.Call) else node
            name, text = last_name(call), short(code(node))
            args = (
                [*node.args, *(key.value for key in node.keywords if key.arg == "condition")]
                if isinstance(node, ast.Call)
                else []
            )
            if (name in ("skip", "skipTest") and "mark" in dotted(call)) or dotted(call) in ("unittest.skip", "skip"):
                yield Disabled("skip", node.lineno, text, True)
            elif name in ("skipif", "skipIf", "skipUnless") and args:
                yield Disabled("skip", node.lineno, text, _constant(args[0]) is (name != "skipUnless"))
            elif name == "xfail":
                yield Disabled("xfail", node.lineno, text, not args or _constant(args[0]) is True)
            elif name == "expectedFailure":
                yield Disabled("xfail", node.lineno, text, True)

    def _skips(self, call: ast.Call) -> bool:
        name = dotted(call.func)
        return name in _SKIPS or self._resolved(call.func) in _SKIPS

    def _skip_call(self, call: ast.Call, guards: tuple[str, ...]) -> Disabled:
        optional = last_name(call.func) == "importorskip"
        return Disabled("skip", call.lineno, short(code(call)), not guards and not optional)

    def _test(self, name: str, node: Function, classes: tuple[ast.ClassDef, ...], whole: tuple[Disabled, ...]) -> Test:
        found, self._left = _Found(), _EXPANSIONS
        found.disabled += whole
        decorators = [*node.decorator_list, *(one for owner in classes for one in owner.decorator_list)]
        found.disabled += self._marks(decorators)
        for owner in classes:
            found.disabled += self._class_marks(owner)
        for decorator in decorators:
            self._expression(decorator, found, _Way())
        self._fixtures(node, found)
        self._body(node.body, found, _Way())
        return Test(
            name,
            node.lineno,
            tuple(found.assertions),
            tuple(found.disabled),
            tuple(found.patches),
            frozenset(found.calls),
            _words(node) | found.words,
            tuple(_cases(decorators)),
            found.exit_line if found.after_exit else 0,
            empty=_is_empty(node.body),
        )

    def _class_marks(self, owner: ast.ClassDef) -> Iterator[Disabled]:
        for node in owner.body:
            if isinstance(node, ast.Assign) and any(dotted(one) == "pytestmark" for one in node.targets):
                yield from self._marks(
                    node.value.elts if isinstance(node.value, (ast.List, ast.Tuple)) else [node.value]
                )
            elif isinstance(node, ast.Assign) and "__test__" in map(dotted, node.targets) and not _constant(node.value):
                yield Disabled("skip", node.lineno, "__test__ = False", True)

    def _fixtures(self, node: Function, found: _Found) -> None:
        """Assertions of the fixtures that a test asks for."""
        given = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        for one in given:
            helper = self._helpers.get(one.arg)
            if helper is not None and any("fixture" in code(mark) for mark in helper.decorator_list):
                inner = _Found()
                self._body(helper.body, inner, _Way(depth=_DEPTH - 1))
                found.assertions += [replace(made, via=helper.name) for made in inner.assertions]

    def _body(self, body: Sequence[ast.stmt], found: _Found, way: _Way) -> bool:
        """Reads statements in order; True where nothing after them is reached."""
        for place, node in enumerate(body):
            if self._statement(node, found, way):
                if way.depth == 0 and not way.guards and not isinstance(node, ast.Raise):
                    rest = ast.Module(list(body[place + 1 :]), [])
                    if any(_asserts(one) for one in ast.walk(rest)):
                        found.exit_line, found.after_exit = node.lineno, True
                return True
        return False

    def _statement(self, node: ast.stmt, found: _Found, way: _Way) -> bool:
        """Reads one statement; True where nothing after it is reached."""
        match node:
            case ast.Return() | ast.Raise() | ast.Continue() | ast.Break():
                return self._leaves(node, found, way)
            case ast.Assert():
                made = of_assert(node)
                found.assertions += [replace(one, guards=way.guards, swallowed=way.swallowed) for one in made]
                self._expression(node.test, found, way)
            case ast.If():
                return self._if(node, found, way)
            case ast.Try():
                return self._try(node, found, way)
            case ast.With() | ast.AsyncWith():
                return self._with(node, found, way)
            case ast.For() | ast.AsyncFor() | ast.While():
                self._loop(node, found, way)
            case ast.Match():
                for case in node.cases:
                    self._body(case.body, found, replace(way, guards=(*way.guards, code(case.pattern))))
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                pass  # read where it is called
            case _:
                self._expression(node, found, way)
                self._replaced(node, found)
                value = getattr(node, "value", None)
                return isinstance(value, ast.Call) and self._ends(value, way)
        return False

    def _leaves(self, node: ast.stmt, found: _Found, way: _Way) -> bool:
        for child in ast.iter_child_nodes(node):
            self._expression(child, found, way)
        if isinstance(node, ast.Raise) and node.exc is not None and "SkipTest" in code(node.exc):
            found.disabled.append(Disabled("skip", node.lineno, short(code(node)), not way.guards))
        return True

    def _ends(self, call: ast.Call, way: _Way) -> bool:
        skips = self._skips(call) and last_name(call.func) != "importorskip"
        return (
            skips or self._resolved(call.func) in _EXITS or (dotted(call.func) in ("pytest.xfail",) and not way.guards)
        )

    def _if(self, node: ast.If, found: _Found, way: _Way) -> bool:
        known = _constant(node.test)
        condition = code(node.test)
        if known is not None:
            return self._body(node.body if known else node.orelse, found, way)
        self._expression(node.test, found, way)
        start = len(found.assertions)
        first = self._body(node.body, found, replace(way, guards=(*way.guards, condition)))
        middle = len(found.assertions)
        second = self._body(node.orelse, found, replace(way, guards=(*way.guards, f"not ({condition})")))
        found.assertions[start:] = in_either(found.assertions[start:middle], found.assertions[middle:], way.guards)
        return first and second and bool(node.orelse)

    def _try(self, node: ast.Try, found: _Found, way: _Way) -> bool:
        drops = any(_drops(handler) for handler in node.handlers)
        ended = self._body(node.body, found, replace(way, swallowed=way.swallowed or drops))
        for handler in node.handlers:
            self._body(handler.body, found, replace(way, guards=(*way.guards, f"except {code(handler.type)}")))
        for body in (node.orelse, node.finalbody):
            self._body(body, found, way)
        return ended and not node.handlers

    def _with(self, node: ast.With | ast.AsyncWith, found: _Found, way: _Way) -> bool:
        inner = way
        for item in node.items:
            call = item.context_expr
            self._expression(call, found, way)
            suppresses = isinstance(call, ast.Call) and last_name(call.func) == "suppress"
            if suppresses and any(code(one).rpartition(".")[2] in _CATCHES for one in getattr(call, "args", ())):
                inner = replace(inner, swallowed=True)
        return self._body(node.body, found, inner)

    def _loop(self, node: ast.For | ast.AsyncFor | ast.While, found: _Found, way: _Way) -> None:
        if isinstance(node, ast.While):
            if _constant(node.test) is False:
                return
            self._expression(node.test, found, way)
        else:
            self._expression(node.iter, found, way)
            if isinstance(node.iter, (ast.List, ast.Tuple)) and not node.iter.elts:
                return
        inner = _Found()
        self._body(node.body, inner, way)
        if _retries(node):
            inner.assertions = [replace(one, swallowed=way.swallowed) for one in inner.assertions]
        found.assertions += inner.assertions
        found.disabled += inner.disabled
        found.patches += inner.patches
        found.calls |= inner.calls
        found.words |= inner.words
        self._body(node.orelse, found, way)

    def _expression(self, root: ast.AST, found: _Found, way: _Way) -> None:
        for node in ast.walk(root):
            if not isinstance(node, ast.Call):
                continue
            name = self._resolved(node.func)
            found.calls.add(name or last_name(node.func))
            if self._skips(node) and isinstance(root, ast.stmt):
                found.disabled.append(self._skip_call(node, way.guards))
            elif name == "pytest.xfail":
                found.disabled.append(Disabled("xfail", node.lineno, short(code(node)), not way.guards))
            elif raising(node):
                found.assertions.append(replace(of_raises(node), guards=way.guards, swallowed=way.swallowed))
            elif self._helper(node, found, way):
                continue
            elif is_assertion(node):
                made = of_call(node)
                found.assertions += [replace(one, guards=way.guards, swallowed=way.swallowed) for one in made]
            if (target := self._patched(node)) is not None:
                found.patches.append(Patch(target, node.lineno))

    def _helper(self, call: ast.Call, found: _Found, way: _Way) -> bool:
        """Takes in the assertions of a function of the test code; True where it held any."""
        helper = self._helpers.get(last_name(call.func))
        if helper is None or way.depth >= _DEPTH or not self._left or helper.name.startswith("test"):
            return False
        self._left -= 1
        inner = _Found()
        self._body(helper.body, inner, replace(way, depth=way.depth + 1))
        given = "(" + ", ".join(code(one) for one in (*call.args, *(key.value for key in call.keywords))) + ")"
        # What it is asked about stands in the call, so two calls with other values are two demands.
        found.assertions += [
            replace(one, line=call.lineno, expected=one.expected + " " + given, via=helper.name)
            for one in inner.assertions
        ]
        found.calls |= inner.calls
        found.patches += inner.patches
        found.words |= inner.words | (_words(helper) if inner.assertions else set())
        return bool(inner.assertions)

    def _resolved(self, node: ast.AST) -> str:
        name = dotted(node)
        root, dot, rest = name.partition(".")
        return self._imports.get(root, root) + dot + rest if name else ""

    def _patched(self, call: ast.Call) -> str | None:
        """What a call replaces, dotted: mock.patch, patch.object, monkeypatch.setattr, mocker.patch."""
        name = dotted(call.func)
        args = call.args
        if not args or not (name.endswith(("patch", "patch.object", "setattr", "patch.dict"))):
            return None
        if name == "setattr" or name.endswith("patch.dict") or ("patch" not in name.lower() and "monkey" not in name):
            return None
        if isinstance(args[0], ast.Constant) and isinstance(args[0].value, str):
            return args[0].value
        if len(args) > 1 and isinstance(args[1], ast.Constant) and isinstance(args[1].value, str):
            return f"{self._resolved(args[0]) or code(args[0])}.{args[1].value}"
        return None

    def _replaced(self, node: ast.stmt, found: _Found) -> None:
        """An assignment to an attribute of an imported module replaces it as a patch does."""
        for target in node.targets if isinstance(node, ast.Assign) else ():
            if isinstance(target, ast.Attribute) and dotted(target).partition(".")[0] in self._imports:
                found.patches.append(Patch(self._resolved(target), node.lineno))

    def _autouse(self) -> Iterator[Patch]:
        for node in ast.walk(self._tree):
            if isinstance(node, _FUNCTIONS) and any("autouse=True" in code(mark) for mark in node.decorator_list):
                found = _Found()
                self._body(node.body, found, _Way(depth=1))
                yield from found.patches


def _defined(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """The names that the top of a module defines."""
    for node in tree.body:
        if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            yield node.name, node.lineno
        elif isinstance(node, ast.Assign):
            yield from ((dotted(target), node.lineno) for target in node.targets)


def _asserts(node: ast.AST) -> bool:
    return isinstance(node, ast.Assert) or (isinstance(node, ast.Call) and (is_assertion(node) or raising(node)))


def _constant(node: ast.expr) -> bool | None:
    """The truth of a value written out, None for what only a run can tell."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        inner = _constant(node.operand)
        return None if inner is None else not inner
    if isinstance(node, ast.Constant) and not isinstance(node.value, str):
        return bool(node.value)
    if isinstance(node, ast.Compare) and all(isinstance(one, ast.Constant) for one in (node.left, *node.comparators)):
        left, right, op = node.left, node.comparators[0], node.ops[0]
        if isinstance(op, (ast.Eq, ast.NotEq)) and isinstance(left, ast.Constant) and isinstance(right, ast.Constant):
            return (left.value == right.value) is isinstance(op, ast.Eq)
    return None


def _drops(handler: ast.ExceptHandler) -> bool:
    """Whether a handler catches a failed assertion and lets the test go on."""
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    if not any(code(one).rpartition(".")[2] in _CATCHES for one in caught):
        return False
    return not any(isinstance(node, ast.Raise) or _asserts(node) for part in handler.body for node in ast.walk(part))


def _retries(node: ast.For | ast.AsyncFor | ast.While) -> bool:
    """Whether a loop tries until it holds and fails in the end: there a caught failure is not dropped."""
    held = [*node.orelse, *node.body]
    return any(
        isinstance(one, ast.Raise) or (isinstance(one, ast.Call) and is_assertion(one))
        for part in held
        for one in ast.walk(part)
    )


def _words(node: ast.AST) -> frozenset[str]:
    found: set[str] = set()
    for one in ast.walk(node):
        if isinstance(one, ast.Name):
            found.add(one.id)
        elif isinstance(one, ast.Attribute):
            found.add(one.attr)
        elif isinstance(one, ast.keyword) and one.arg:
            found.add(one.arg)
        elif isinstance(one, ast.Constant) and isinstance(one.value, (str, bytes, int, float)):
            text = one.value.decode("latin-1") if isinstance(one.value, bytes) else str(one.value)
            found.add(text[:200])
    return frozenset(found)


def _is_empty(body: Sequence[ast.stmt]) -> bool:
    return all(
        isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for node in body
    )


def _cases(decorators: Sequence[ast.expr]) -> Iterator[str]:
    for mark in decorators:
        if isinstance(mark, ast.Call) and last_name(mark.func) in ("parametrize", "parameterized", "expand", "data"):
            values = mark.args[1] if last_name(mark.func) == "parametrize" and len(mark.args) > 1 else None
            if values is None and mark.args and last_name(mark.func) != "parametrize":
                values = mark.args[0]
            if isinstance(values, (ast.List, ast.Tuple, ast.Set)):
                yield from (short(code(one)) for one in values.elts)
