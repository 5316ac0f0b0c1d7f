"""The tests of a JavaScript or TypeScript file: jest, vitest, mocha, node:test and tap, by their syntax tree."""

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from tree_sitter import Node

from backend_crew.tools.honesty import javascript_assertions as assertions
from backend_crew.tools.honesty.javascript_code import (
    FUNCTIONS,
    arguments,
    body_of,
    callee,
    chain,
    functions_in,
    imports_of,
    is_literal,
    line_of,
    root_of,
    source,
    statements,
    string_of,
    walk,
    words_in,
)
from backend_crew.tools.honesty.testcode import Assertion, Disabled, Patch, Test, TestFile, in_either

_TESTS = frozenset({"it", "test", "specify", "xit", "xtest", "fit", "ftest"})
_SUITES = frozenset({"describe", "suite", "context", "xdescribe", "fdescribe", "xcontext"})
_OFF = frozenset({"skip", "todo", "failing", "fails", "skipIf", "runIf", "todoIf"})
_MODS = _OFF | {"only", "each", "concurrent", "sequential", "serial", "parallel", "for", "extend"}
_DEPTH, _EXPANSIONS = 4, 150
_EXITS = ("process.exit", "process.abort", "process.reallyExit", "process.kill")
_BLOCKS = frozenset({"statement_block", "program"})


def read_script(path: str, text: str, support: Mapping[str, str]) -> TestFile:
    """The tests of a file; functions of `support`, the other test files by path, may hold assertions for them."""
    root = root_of(path, text)
    if root is None:
        return TestFile(path, broken=True)
    try:
        return _Reader(path, root, support).read()
    except RecursionError:
        return TestFile(path, broken=True)


@dataclass
class _Found:
    """What the walk over one body has met so far."""

    assertions: list[Assertion] = field(default_factory=list)
    disabled: list[Disabled] = field(default_factory=list)
    patches: list[Patch] = field(default_factory=list)
    calls: set[str] = field(default_factory=set)
    words: set[str] = field(default_factory=set)
    exit_line: int = 0


@dataclass(frozen=True)
class _Way:
    """How a statement is reached: its conditions, and whether a failure there is dropped."""

    guards: tuple[str, ...] = ()
    swallowed: bool = False
    depth: int = 0


@dataclass(frozen=True)
class _Suite:
    """What holds for the tests inside a suite."""

    prefix: str = ""
    disabled: tuple[Disabled, ...] = ()
    focused: bool = False


class _Reader:
    def __init__(self, path: str, root: Node, support: Mapping[str, str]) -> None:
        self._path, self._root = path, root
        self._imports = imports_of(root)
        self._helpers: dict[str, Node] = {}
        # Only helpers that the file imports by name are looked up elsewhere.
        for name, (module, inner) in self._imports.items():
            helper = self._helper_of(module, inner or name, support)
            if helper is not None:
                self._helpers[name] = helper
        self._helpers |= dict(functions_in(root))
        self._left = _EXPANSIONS
        self._tests: dict[str, Test] = {}
        self._patches = tuple(self._file_patches())

    def read(self) -> TestFile:
        self._suite(self._root, _Suite())
        exits = [
            line_of(node)
            for node in walk(self._root)
            if node.type == "call_expression" and source(callee(node)) in _EXITS
        ]
        imports = {name: self._resolved([name]) for name in self._imports}
        broken = self._root.type == "ERROR"
        defines = dict(_defined(self._root))
        return TestFile(self._path, self._tests, tuple(exits), broken=broken, imports=imports, defines=defines)

    def _helper_of(self, module: str, name: str, support: Mapping[str, str]) -> Node | None:
        if not module.startswith("."):
            return None
        place = posixpath.normpath(posixpath.join(posixpath.dirname(self._path), module))
        for path, text in support.items():
            if path == place or path.rpartition(".")[0] in (place, place + "/index"):
                root = root_of(path, text)
                return dict(functions_in(root)).get(name) if root is not None else None
        return None

    def _dotted(self, module: str, name: str = "") -> str:
        """A module as it is imported, as a dotted path from the repository's top folder where it is a relative one."""
        if module.startswith("."):
            module = posixpath.normpath(posixpath.join(posixpath.dirname(self._path), module))
            for ending in (".js", ".ts", ".mjs", ".cjs", ".mts", ".tsx", ".jsx", "/index"):
                module = module.removesuffix(ending)
            module = module.replace("/", ".")
        return f"{module}.{name}" if name else module

    def _resolved(self, names: list[str]) -> str:
        if not names:
            return ""
        module, inner = self._imports.get(names[0], ("", ""))
        if not module:
            return ".".join(names)
        return ".".join([self._dotted(module, inner), *names[1:]])

    def _suite(self, root: Node, suite: _Suite) -> None:
        """Reads the tests below a node, each once, with what its suites say."""
        waiting = list(reversed(root.named_children))
        while waiting:
            node = waiting.pop()
            if node.type == "call_expression" and (made := self._made(node)) is not None:
                self._one(node, made, suite)
            else:
                waiting.extend(reversed(node.named_children))

    def _made(self, call: Node) -> tuple[bool, frozenset[str]] | None:
        """Whether a call makes a suite, and its marks; None for any other call."""
        function = callee(call)
        given = arguments(call)
        if function is None or not given or not (string_of(given[0]) is not None or len(given) > 1):
            return None
        names = chain(function)
        if not names or (
            not any(one.type in FUNCTIONS for one in given) and not _OFF & set(names) and not names[0].startswith("x")
        ):
            return None
        if names[0] in _TESTS | _SUITES and set(names[1:]) <= _MODS | {"test", "it", "describe"}:
            off = {"skip"} if names[0].startswith("x") else set()
            focus = {"only"} if names[0] in ("fit", "fdescribe", "ftest") else set()
            return names[-1] in _SUITES or names[0] in _SUITES, frozenset(set(names[1:]) | off | focus)
        # t.test('…', fn) of node:test and tap
        if (
            len(names) >= 2
            and names[1] in ("test", "it")
            and names[0] in ("t", "tt", "tap", "ctx")
            and set(names[2:]) <= _MODS
        ):
            return False, frozenset(names[2:])
        return None

    def _one(self, call: Node, made: tuple[bool, frozenset[str]], suite: _Suite) -> None:
        is_suite, marks = made
        given = arguments(call)
        title = string_of(given[0])
        name = suite.prefix + (title if title is not None else source(given[0])[:100])
        function = next((one for one in reversed(given) if one.type in FUNCTIONS), None)
        disabled = (*suite.disabled, *self._marks(call, marks, given))
        options = " ".join(source(one) for one in given if one.type == "object")
        focused = suite.focused or "only" in marks or _option(options, "only") == "true"
        if is_suite:
            if function is not None:
                self._suite(function, _Suite(f"{name} > ", disabled, focused))
            return
        found, self._left = _Found(), _EXPANSIONS
        body = body_of(function) if function is not None else None
        inner = self._inner_tests(body)
        if body is not None:
            self._body(body, found, _Way())
        words = (words_in(call) - {title or ""}) | found.words | _table_of(call)
        if "plan" in words:  # then an assertion that cannot fail counts as a place that has to be reached
            found.assertions = [
                replace(one, kind="called") if one.kind == "nothing" else one for one in found.assertions
            ]
        number = sum(one == name or one.startswith(name + " #") for one in self._tests)
        unique = f"{name} #{number + 1}" if number else name
        self._tests[unique] = Test(
            unique,
            line_of(call),
            tuple(found.assertions),
            (*disabled, *found.disabled),
            (*self._patches, *found.patches),
            frozenset(found.calls),
            words,
            tuple(self._cases(call)),
            found.exit_line,
            focused,
            body is not None and body.type == "statement_block" and not statements(body),
        )
        if inner and body is not None:
            self._suite(body, _Suite(f"{name} > ", disabled, focused))

    def _inner_tests(self, body: Node | None) -> bool:
        return body is not None and any(
            one.type == "call_expression" and self._made(one) is not None for one in walk(body)
        )

    def _marks(self, call: Node, marks: frozenset[str], given: list[Node]) -> Iterator[Disabled]:
        text, line = assertions.shown(callee(call) or call), line_of(call)
        for mark in sorted(marks & _OFF):
            if mark in ("skipIf", "runIf", "todoIf"):
                condition = text.partition(f"{mark}(")[2].partition(")")[0]
                yield Disabled("skip", line, text, condition == ("false" if mark == "runIf" else "true"))
            else:
                yield Disabled(
                    "xfail" if mark in ("failing", "fails") else "todo" if mark == "todo" else "skip", line, text, True
                )
        for one in given:
            if one.type != "object":
                continue
            for kind in ("skip", "todo"):
                value = _option(source(one), kind)
                if value not in ("", "false"):
                    known = value == "true" or value[0] in "'\"`"
                    yield Disabled("skip" if kind == "skip" else "todo", line, f"{kind}: {value}", known)

    def _cases(self, call: Node) -> Iterator[str]:
        function = callee(call)
        if function is not None and function.type == "call_expression" and "each" in chain(function):
            table = arguments(function)
            if table and table[0].type == "array":
                yield from (source(one) for one in statements(table[0]))

    def _body(self, body: Node, found: _Found, way: _Way) -> bool:
        """Reads statements in order; True where nothing after them is reached."""
        if body.type not in _BLOCKS:
            self._expression(body, found, way)
            return False
        nodes = statements(body)
        for place, node in enumerate(nodes):
            if self._statement(node, found, way):
                rest = [one for later in nodes[place + 1 :] for one in walk(later)]
                if not way.depth and not way.guards and any(self._asserts(one) for one in rest):
                    found.exit_line = line_of(node)
                return True
        return False

    def _asserts(self, node: Node) -> bool:
        return node.type == "call_expression" and assertions.of_call(node) is not None

    def _statement(self, node: Node, found: _Found, way: _Way) -> bool:
        if node.type in ("return_statement", "throw_statement"):
            for child in node.named_children:
                self._expression(child, found, way)
            return True
        if node.type == "if_statement":
            return self._if(node, found, way)
        if node.type == "try_statement":
            return self._try(node, found, way)
        if node.type in ("for_statement", "for_in_statement", "while_statement", "do_statement"):
            if (body := body_of(node)) is not None:
                self._block(body, found, way)
            return False
        if node.type in ("statement_block", "labeled_statement"):
            return self._body(node, found, way)
        if node.type in ("function_declaration", "class_declaration"):
            return False  # read where it is called
        self._expression(node, found, way)
        names = (
            chain(callee(node.named_children[0]))
            if node.named_children and node.named_children[0].type == "call_expression"
            else []
        )
        if names in (["t", "skip"], ["this", "skip"], ["ctx", "skip"], ["context", "skip"], ["t", "todo"]):
            kind = "todo" if names[-1] == "todo" else "skip"
            found.disabled.append(
                Disabled("todo" if kind == "todo" else "skip", line_of(node), assertions.shown(node), not way.guards)
            )
            return not way.guards and kind == "skip" and names[0] != "t"
        return False

    def _block(self, body: Node, found: _Found, way: _Way) -> bool:
        return self._body(body, found, way) if body.type in _BLOCKS else self._statement(body, found, way)

    def _if(self, node: Node, found: _Found, way: _Way) -> bool:
        test, first, other = (node.child_by_field_name(name) for name in ("condition", "consequence", "alternative"))
        condition = source(test).strip("()")
        if condition in ("true", "false", "0", "1"):
            taken = first if condition in ("true", "1") else other
            return taken is not None and self._block(taken, found, way)
        start = len(found.assertions)
        ended = first is not None and self._block(first, found, replace(way, guards=(*way.guards, condition)))
        if other is None:
            return False
        middle = len(found.assertions)
        inner = other.named_children[0] if other.type == "else_clause" and other.named_children else other
        both = self._block(inner, found, replace(way, guards=(*way.guards, f"not ({condition})"))) and ended
        found.assertions[start:] = in_either(found.assertions[start:middle], found.assertions[middle:], way.guards)
        return both

    def _try(self, node: Node, found: _Found, way: _Way) -> bool:
        handler = node.child_by_field_name("handler")
        caught = body_of(handler) if handler is not None else None
        drops = caught is not None and not any(
            one.type == "throw_statement" or self._counts(one) for one in walk(caught)
        )
        if (body := body_of(node)) is not None:
            self._body(body, found, replace(way, swallowed=way.swallowed or drops))
        if caught is not None:
            self._body(caught, found, replace(way, guards=(*way.guards, "an error is caught")))
        last = node.child_by_field_name("finalizer")
        if last is not None and (final := body_of(last)) is not None:
            self._body(final, found, way)
        return False

    def _counts(self, node: Node) -> bool:
        """Whether a call in a handler lets the test fail: an assertion, `fail`, `done(error)`, `reject`."""
        if node.type != "call_expression":
            return False
        names = chain(callee(node))
        return self._asserts(node) or names[-1:] in (
            ["fail"],
            ["done"],
            ["reject"],
            ["error"],
            ["end"],
            ["next"],
            ["cb"],
        )

    def _expression(self, root: Node, found: _Found, way: _Way) -> None:
        waiting = [(root, way)]
        while waiting:
            node, here = waiting.pop()
            if node.type in FUNCTIONS and (body := body_of(node)) is not None and body.type in _BLOCKS:
                self._body(body, found, replace(here, depth=max(here.depth, 1)))
                continue
            if (
                node.type == "expression_statement"
                and node.named_children
                and node.named_children[0].type == "member_expression"
            ) and (made := assertions.of_property(node.named_children[0])) is not None:
                found.assertions.append(replace(made, guards=here.guards, swallowed=here.swallowed))
            if node.type == "call_expression":
                if self._made(node) is not None and node.parent is not None and chain(callee(node))[:1] != ["expect"]:
                    continue  # a test inside a test has its own entry
                here = self._call(node, found, here)
            waiting.extend((one, here) for one in reversed(node.named_children))

    def _call(self, node: Node, found: _Found, way: _Way) -> _Way:
        """Takes in one call; gives the way on which its arguments and what it is called on are reached."""
        names = chain(callee(node))
        found.calls.add(
            self._resolved(names)
            if callee(node) is not None and source(callee(node)).count("(") == 0
            else names[-1]
            if names
            else ""
        )
        made = assertions.of_call(node)
        if made is not None:
            found.assertions.append(replace(made, guards=way.guards, swallowed=way.swallowed))
        elif len(names) == 1 and (helper := self._helpers.get(names[0])) is not None:
            self._helper(node, helper, found, way)
        if (target := self._replaced(node, names)) is not None:
            found.patches.append(Patch(target, line_of(node)))
        if names[-1:] == ["catch"] and (given := arguments(node)) and _drops(given[0]):
            return replace(way, swallowed=True)
        return way

    def _helper(self, call: Node, helper: Node, found: _Found, way: _Way) -> None:
        body = body_of(helper)
        if body is None or way.depth >= _DEPTH or not self._left:
            return
        self._left -= 1
        inner = _Found()
        self._body(body, inner, replace(way, depth=way.depth + 1))
        given = "(" + ", ".join(source(one) for one in arguments(call)) + ")"
        found.assertions += [
            replace(one, line=line_of(call), expected=f"{one.expected} {given}", via=source(callee(call)))
            for one in inner.assertions
        ]
        found.calls |= inner.calls
        found.words |= inner.words | (words_in(helper) if inner.assertions else set())

    def _replaced(self, call: Node, names: list[str]) -> str | None:
        """What a call replaces, dotted: jest.mock and vi.mock of a module, spyOn, mock.method, sinon.stub."""
        given = arguments(call)
        if len(names) < 2 or not given:
            return None
        if names[0] in ("jest", "vi") and names[1] in ("mock", "doMock", "unstable_mockModule") and len(names) == 2:
            module = string_of(given[0])
            return self._dotted(module) if module else None
        spied = names[0] in ("jest", "vi", "sinon", "mock", "t", "context") and names[-1] in (
            "spyOn",
            "method",
            "stub",
            "replace",
        )
        if not spied or len(given) < 2:
            return None
        # A spy alone calls through; what follows it in the chain replaces.
        if names[-1] == "spyOn" and not (
            call.parent is not None and "mock" in source(call.parent.child_by_field_name("property"))
        ):
            return None
        if names[-1] == "method" and len(given) < 3:
            return None
        name = string_of(given[1])
        return f"{self._resolved(chain(given[0])) or source(given[0])}.{name}" if name else None

    def _file_patches(self) -> Iterator[Patch]:
        """jest.mock and vi.mock at the top of a file hold for all its tests."""
        for statement in statements(self._root):
            for node in statement.named_children:
                if node.type == "call_expression" and (target := self._replaced(node, chain(callee(node)))) is not None:
                    yield Patch(target, line_of(node))


def _table_of(call: Node) -> frozenset[str]:
    """The names and values of the tables over which a test is made in a loop."""
    found: frozenset[str] = frozenset()
    around = call.parent
    while around is not None:
        table = around.child_by_field_name("right") if around.type == "for_in_statement" else None
        if around.type == "call_expression" and chain(callee(around))[-1:] in (["forEach"], ["map"]):
            table = callee(around)
        found |= words_in(table) if table is not None else frozenset()
        around = around.parent
    return found


def _defined(root: Node) -> Iterator[tuple[str, int]]:
    """The names that the top of a file defines, imports apart."""
    for node in statements(root):
        for one in [node, *node.named_children]:
            if one.type in ("function_declaration", "class_declaration") or (
                one.type == "variable_declarator" and "require(" not in source(one) and "import(" not in source(one)
            ):
                yield source(one.child_by_field_name("name")), line_of(one)


def _option(text: str, name: str) -> str:
    """The value of one key of an options object, "" where it has none."""
    for part in text.strip("{} ").split(","):
        key, _, value = part.partition(":")
        if key.strip().strip("'\"") == name:
            return value.strip()
    return ""


def _drops(handler: Node) -> bool:
    """Whether what is given to `.catch` drops the error."""
    if handler.type not in FUNCTIONS:
        return False
    body = body_of(handler)
    if body is None:
        return False
    if body.type != "statement_block":
        return is_literal(body) or source(body) in ("undefined", "null")
    return not any(one.type in ("throw_statement", "call_expression") for one in walk(body))
