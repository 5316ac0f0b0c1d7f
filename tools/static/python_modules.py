"""Python modules of a repository: their scopes, what names are bound to, the calls, and which file an import means."""

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from backend_crew.tools.static.python_tree import parsed
from backend_crew.tools.static.sources import Sources

AnyFunction = ast.FunctionDef | ast.AsyncFunctionDef
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Imported:
    """A name that an import binds: `name` of `module`, or the module itself where `name` is ""."""

    module: str
    name: str = ""


@dataclass(frozen=True)
class Element:
    """A name that a loop or an unpacking binds: one of the elements of `of`, at these positions within it."""

    of: ast.expr
    at: tuple[int, ...] = ()
    loop: bool = True


@dataclass(frozen=True)
class Binding:
    """One way that a name gets its meaning; not certain where it depends on a condition."""

    to: ast.expr | AnyFunction | ast.ClassDef | ast.arg | Imported | Element
    certain: bool
    block: "Block | None" = None  # where its expression is read, when that is not where the name is bound


@dataclass(eq=False)
class Block:
    """A module, class or function: what it binds, and where it stands."""

    node: ast.Module | ast.ClassDef | AnyFunction
    module: "Module"
    parent: "Block | None" = None
    bindings: dict[str, list[Binding]] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)

    def bind(self, name: str, binding: Binding) -> None:
        """Adds one more meaning of a name."""
        self.bindings.setdefault(name, []).append(binding)

    @property
    def owner(self) -> "Block | None":
        """The class that this function is a method of."""
        return self.parent if self.parent is not None and isinstance(self.parent.node, ast.ClassDef) else None


@dataclass(frozen=True, eq=False)
class Event:
    """A call or a definition, where it stands: the loops around it, and whether it happens whenever its block runs."""

    node: ast.Call | AnyFunction | ast.ClassDef
    block: Block
    certain: bool
    loops: tuple[ast.For | ast.AsyncFor, ...] = ()

    @property
    def line(self) -> int:
        """Where it begins, from 1."""
        return self.node.lineno


@dataclass(eq=False)
class Module:
    """One parsed file."""

    path: str
    broken_line: int
    block: Block = field(init=False)
    blocks: dict[ast.AST, Block] = field(default_factory=dict)
    calls: list[Event] = field(default_factory=list)
    functions: list[Event] = field(default_factory=list)
    classes: list[Event] = field(default_factory=list)

    @property
    def package(self) -> str:
        """The folder that relative imports of one dot begin in."""
        return str(PurePosixPath(self.path).parent)


class Python:
    """The Python files of a repository, parsed when they are asked for."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self._modules: dict[str, Module | None] = {}
        self._named: dict[str, list[Event]] = {}
        self._waiting: dict[str, None] = {}
        self._asked: set[str] = set()

    def module(self, path: str) -> Module | None:
        """The parsed file; None for one that is not there."""
        if path not in self._modules:
            self._modules[path] = None  # while it is read
            content = self.sources.read(path)
            if content or path in self.sources.paths:
                module = read_module(path, content)
                self._modules[path] = module
                for event in module.calls:
                    if isinstance(event.node, ast.Call):
                        self._named.setdefault(called(event.node), []).append(event)
        return self._modules[path]

    def load(self, paths: Sequence[str], having: Callable[[bytes], bool] | None = None) -> list[Module]:
        """The parsed files, in the order of their paths; those that are not `having` wait until a call in them is asked for."""
        wanted = [path for path in paths if having is None or having(self.sources.read(path))]
        self._waiting.update(dict.fromkeys(path for path in paths if path not in self._modules))
        for path in wanted:
            self._waiting.pop(path, None)
        self._asked.clear()
        return [module for path in wanted if (module := self.module(path)) is not None]

    def is_parsed(self, path: str) -> bool:
        """Whether somebody needed this file so far."""
        return self._modules.get(path) is not None

    def calls_named(self, name: str) -> Sequence[Event]:
        """The calls of something of this name, in the files that were loaded so far."""
        if name not in self._asked:
            self._asked.add(name)
            word = name.encode("utf-8", "surrogateescape")
            for path in [path for path in self._waiting if word in self.sources.read(path)]:
                del self._waiting[path]
                self.module(path)
        return tuple(self._named.get(name, ()))

    def locate(self, dotted: str, importer: str) -> str | None:
        """The file of a module as one file imports it; None for a module from outside.

        A dotted name counts from the nearest folder at or above the importer that has it, or that folder's `src`.
        """
        if dotted.startswith("."):
            return self._relative(dotted, importer)
        inner = dotted.replace(".", "/")
        for folder in PurePosixPath(importer).parents:
            base = "" if str(folder) == "." else f"{folder}/"
            for start in (base, f"{base}src/"):
                found = self._file(start + inner)
                if found is not None:
                    return found
        return None

    def _relative(self, dotted: str, importer: str) -> str | None:
        name = dotted.lstrip(".")
        folder = PurePosixPath(importer)
        for _ in range(len(dotted) - len(name)):
            folder = folder.parent
        start = "" if str(folder) == "." else f"{folder}/"
        return self._file(start + name.replace(".", "/") if name else start.rstrip("/"))

    def _file(self, stem: str) -> str | None:
        candidates = (f"{stem}.py", f"{stem}/__init__.py") if stem else ("__init__.py",)
        return next((path for path in candidates if path in self.sources.paths), None)


def called(call: ast.Call) -> str:
    """The last name of what is called."""
    function = call.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def read_module(path: str, source: bytes) -> Module:
    """A file's scopes and events."""
    tree, broken = parsed(source)
    module = Module(path, broken)
    module.block = Block(tree, module)
    module.blocks[tree] = module.block
    walker = _Walker(module)
    try:
        walker.body(tree.body, module.block, True, ())
    except RecursionError:
        module.broken_line = module.broken_line or 1
    return module


_Loops = tuple[ast.For | ast.AsyncFor, ...]


# Where calls can be in the commonest kinds of nodes; in others, all fields are looked at.
_INNER: Mapping[type[ast.AST], tuple[str, ...]] = {
    ast.Name: (),
    ast.Constant: (),
    ast.Attribute: ("value",),
    ast.Call: ("func", "args", "keywords"),
    ast.keyword: ("value",),
    ast.Expr: ("value",),
    ast.Return: ("value",),
    ast.BinOp: ("left", "right"),
    ast.Subscript: ("value", "slice"),
    ast.Compare: ("left", "comparators"),
    ast.List: ("elts",),
    ast.Tuple: ("elts",),
}


class _Walker:
    def __init__(self, module: Module) -> None:
        self._module = module

    def body(self, statements: Sequence[ast.stmt], block: Block, certain: bool, loops: _Loops) -> None:
        for statement in statements:
            self._statement(statement, block, certain, loops)

    def _statement(self, node: ast.stmt, block: Block, certain: bool, loops: _Loops) -> None:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self._function(node, block, certain, loops)
            case ast.ClassDef():
                self._class(node, block, certain, loops)
            case ast.Import() | ast.ImportFrom():
                _import(node, block, certain)
            case ast.Assign() | ast.AnnAssign() | ast.AugAssign():
                self._assignment(node, block, certain, loops)
            case ast.With() | ast.AsyncWith():
                self._with(node, block, certain, loops)
            case ast.For() | ast.AsyncFor():
                self._calls(node.iter, block, certain, loops)
                _unpack(node.target, node.iter, (), block, certain, loop=True)
                self.body(node.body, block, certain, (*loops, node))
                self.body(node.orelse, block, certain, loops)
            case _:
                self._branches(node, block, certain, loops)

    def _branches(self, node: ast.stmt, block: Block, certain: bool, loops: _Loops) -> None:
        match node:
            case ast.If(test=test, body=body, orelse=orelse) | ast.While(test=test, body=body, orelse=orelse):
                self._calls(test, block, certain, loops)
                self.body([*body, *orelse], block, False, loops)
            case ast.Try() | ast.TryStar():
                self.body([*node.body, *node.orelse, *node.finalbody], block, certain, loops)
                for handler in node.handlers:
                    self.body(handler.body, block, False, loops)
            case ast.Match():
                for case in node.cases:
                    self.body(case.body, block, False, loops)
            case _:
                self._calls(node, block, certain, loops)

    def _with(self, node: ast.With | ast.AsyncWith, block: Block, certain: bool, loops: _Loops) -> None:
        for item in node.items:
            self._calls(item.context_expr, block, certain, loops)
            if isinstance(item.optional_vars, ast.Name):
                block.bind(item.optional_vars.id, Binding(item.context_expr, certain))
        self.body(node.body, block, certain, loops)

    def _function(self, node: AnyFunction, block: Block, certain: bool, loops: _Loops) -> None:
        block.bind(node.name, Binding(node, certain))
        self._module.functions.append(Event(node, block, certain, loops))
        for outside in [*node.decorator_list, *node.args.defaults, *(one for one in node.args.kw_defaults if one)]:
            self._calls(outside, block, certain, loops)
        inner = Block(node, self._module, block)
        self._module.blocks[node] = inner
        for parameter in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]:
            inner.bind(parameter.arg, Binding(parameter, True))
        self.body(node.body, inner, True, ())

    def _class(self, node: ast.ClassDef, block: Block, certain: bool, loops: _Loops) -> None:
        block.bind(node.name, Binding(node, certain))
        self._module.classes.append(Event(node, block, certain, loops))
        for outside in [*node.decorator_list, *node.bases]:
            self._calls(outside, block, certain, loops)
        inner = Block(node, self._module, block)
        self._module.blocks[node] = inner
        self.body(node.body, inner, True, ())

    def _assignment(
        self, node: ast.Assign | ast.AnnAssign | ast.AugAssign, block: Block, certain: bool, loops: _Loops
    ) -> None:
        if node.value is None:
            return
        self._calls(node.value, block, certain, loops)
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            if isinstance(node, ast.AugAssign) and isinstance(target, ast.Name):
                block.bind(f"+{target.id}", Binding(node.value, certain))
            elif isinstance(target, ast.Attribute):
                self._attribute(target, node.value, block, certain)
            else:
                _unpack(target, node.value, (), block, certain, loop=False)

    def _attribute(self, target: ast.Attribute, value: ast.expr, block: Block, certain: bool) -> None:
        """`self.x = …` binds a name of the class; the value is looked up in the method."""
        if isinstance(target.value, ast.Name) and target.value.id == "self" and block.owner is not None:
            block.owner.bind(f"self.{target.attr}", Binding(value, certain, block))

    def _calls(self, node: ast.AST, block: Block, certain: bool, loops: _Loops) -> None:
        waiting = [node]
        for inner in waiting:  # in the order of ast.walk, which takes three times as long
            kind = type(inner)
            if kind is ast.Call:
                self._module.calls.append(Event(inner, block, certain, loops))  # type: ignore[arg-type]  # by its kind
            for name in _INNER.get(kind, inner._fields):
                value = getattr(inner, name, None)
                if isinstance(value, list):
                    waiting += [one for one in value if isinstance(one, ast.AST)]
                elif isinstance(value, ast.AST):
                    waiting.append(value)


def _import(node: ast.Import | ast.ImportFrom, block: Block, certain: bool) -> None:
    if isinstance(node, ast.Import):
        for one in node.names:
            whole = one.name if one.asname else one.name.partition(".")[0]
            block.bind(one.asname or whole, Binding(Imported(whole), certain))
        return
    module = "." * node.level + (node.module or "")
    for one in node.names:
        if one.name == "*":
            block.stars.append(module)
        else:
            block.bind(one.asname or one.name, Binding(Imported(module, one.name), certain))


def _unpack(target: ast.expr, value: ast.expr, at: tuple[int, ...], block: Block, certain: bool, *, loop: bool) -> None:
    if isinstance(target, ast.Name):
        plain = not loop and not at
        block.bind(target.id, Binding(value if plain else Element(value, at, loop), certain))
    elif isinstance(target, (ast.Tuple, ast.List)):
        for index, part in enumerate(target.elts):
            _unpack(part, value, (*at, index), block, certain, loop=loop)


def walk_blocks(block: Block) -> Iterator[Block]:
    """A block and those around it, as names are looked up: classes around a function are passed over."""
    current: Block | None = block
    while current is not None:
        if current is block or not isinstance(current.node, ast.ClassDef):
            yield current
        current = current.parent


def keywords(call: ast.Call) -> Mapping[str, ast.expr]:
    """The arguments that are given by name."""
    return {one.arg: one.value for one in call.keywords if one.arg is not None}
