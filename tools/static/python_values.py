"""What an expression of Python stands for, as far as the source says: texts, functions, classes, made objects.

Not by running: names are followed through assignments, imports, re-exports, parameters (to what callers pass), returns
and attributes. An expression may have several values; none means that the source does not say.
"""

import ast
from collections.abc import Callable, Iterable, Iterator, Sequence

from backend_crew.tools.static.python_modules import (
    FUNCTIONS,
    AnyFunction,
    Binding,
    Block,
    Element,
    Event,
    Imported,
    Module,
    Python,
    called,
    keywords,
    walk_blocks,
)
from backend_crew.tools.static.python_objects import (
    Class,
    External,
    Function,
    Given,
    Items,
    Made,
    Package,
    Part,
    Text,
    Value,
)

_DEPTH = 60
_STEPS = 20_000
"""Of one question; in a large repository, names that mean anything would otherwise lead through all of it."""
_ENVIRONMENT = frozenset({"os.environ.get", "os.getenv", "environ.get", "getenv", "decouple.config"})


class Values:
    """Looks values up, each once. Files have to be loaded before: parameters get what loaded files pass."""

    def __init__(self, python: Python) -> None:
        self.python = python
        self._known: dict[tuple[int, object], tuple[Value, ...]] = {}
        self._classes: dict[int, Class] = {}
        self._functions: dict[int, Function] = {}
        self._objects: dict[int, Made] = {}
        self._active: set[tuple[int, str]] = set()
        self._cuts = 0  # how often a cycle or the depth ended a search: such a result may be a part of the whole
        # Such parts, for the rest of the question at hand: each search of its own would take exponential time.
        self._partial: dict[tuple[int, object], tuple[Value, ...]] = {}
        self._steps = 0
        self._returns: dict[int, tuple[ast.expr, ...]] = {}

    def of(self, node: ast.expr, block: Block, given: Given | None = None) -> tuple[Value, ...]:
        """The values of an expression that is read in a block."""
        if given is not None:
            return self._once((id(node), "of"), None, lambda: self._evaluate(node, block, given))
        return self._once((id(node), "of"), (id(node), id(block)), lambda: self._evaluate(node, block, None))

    def _once(
        self, active: tuple[int, str], key: tuple[int, object] | None, search: Callable[[], Iterable[Value]]
    ) -> tuple[Value, ...]:
        """What a search finds, under its key from then on; nothing within itself, and at the end of what it may take."""
        if key in self._known:
            return self._known[key]
        if key in self._partial or active in self._active or len(self._active) > _DEPTH or self._steps > _STEPS:
            self._cuts += 1
            return self._partial.get(key, ()) if key is not None else ()
        self._active.add(active)
        self._steps += 1
        cuts = self._cuts
        try:
            found = tuple(dict.fromkeys(search()))
        finally:
            self._active.discard(active)
        if key is not None:
            (self._known if cuts == self._cuts or not self._active else self._partial)[key] = found
        if not self._active:
            self._partial.clear()
            self._steps = 0
        return found

    def written(self, node: ast.expr, block: Block) -> Iterator[Part]:
        """The expressions that a name (or an attribute of a module) was bound to, as they are written."""
        if isinstance(node, ast.Name):
            yield from self._written(node.id, block, 0)
        elif isinstance(node, ast.Attribute):
            for value in self.of(node.value, block):
                if isinstance(value, Package):
                    yield from self._written(node.attr, value.module.block, 0)

    def _written(self, name: str, block: Block, depth: int) -> Iterator[Part]:
        place = next((one for one in walk_blocks(block) if name in one.bindings), None)
        for binding in place.bindings[name] if place is not None and depth < _DEPTH else ():
            if isinstance(binding.to, Imported) and place is not None:
                path = self.python.locate(binding.to.module, place.module.path)
                module = self.python.module(path) if path is not None else None
                if module is not None and binding.to.name:
                    yield from self._written(binding.to.name, module.block, depth + 1)
            elif isinstance(binding.to, ast.expr) and place is not None:
                yield binding.to, binding.block or place

    def defined(self, node: ast.expr, block: Block) -> bool:
        """Whether a name, or that of an imported module, is only that of a class or an import: no variable or parameter."""
        inner = node.value if isinstance(node, ast.Attribute) else node
        if not isinstance(inner, ast.Name):
            return False
        place = next((one for one in walk_blocks(block) if inner.id in one.bindings), None)
        plain = (Imported,) if inner is not node else (Imported, ast.ClassDef)
        return place is not None and all(isinstance(one.to, plain) for one in place.bindings[inner.id])

    def text(self, node: ast.expr | None, block: Block, given: Given | None = None) -> Text | None:
        """The one text that an expression can be; None where it is unknown or may be several."""
        if node is None:
            return None
        values = self.of(node, block, given)
        texts = {value.value: value for value in values if isinstance(value, Text)}
        return next(iter(texts.values())) if len(texts) == 1 and len(texts) == len(values) else None

    def items(self, node: ast.expr | None, block: Block, given: Given | None = None) -> Items | None:
        """The one list that an expression can be."""
        found = [one for one in self.of(node, block, given) if isinstance(one, Items)] if node is not None else []
        return found[0] if len(found) == 1 else None

    def class_of(self, event: Event) -> Class:
        """The class that an event defines."""
        assert isinstance(event.node, ast.ClassDef)
        return self._class(event.node, event.block)

    def function_of(self, event: Event) -> Function:
        """The function that an event defines."""
        assert isinstance(event.node, FUNCTIONS)
        return self._function(event.node, event.block)

    def ancestors(self, value: Class) -> list[Class | External]:
        """A class, its bases and theirs, nearest first (depth first, each once)."""
        found: dict[int | str, Class | External] = {}
        waiting: list[Class | External] = [value]
        while waiting:
            one = waiting.pop(0)
            key = id(one.node) if isinstance(one, Class) else one.name
            if key in found:
                continue
            found[key] = one
            if isinstance(one, Class):
                waiting[:0] = self._bases(one)
        return list(found.values())

    def _bases(self, value: Class) -> list[Class | External]:
        found: list[Class | External] = []
        for base in value.node.bases:
            plain = base.value if isinstance(base, ast.Subscript) else base
            values = [one for one in self.of(plain, value.block) if isinstance(one, (Class, External))]
            made = [one.of for one in self.of(plain, value.block) if isinstance(one, Made)]
            found += values or made or [External(ast.unparse(plain))]
        return found

    def types(self, value: Made | Class) -> frozenset[str]:
        """The dotted names of the external classes that an object or a class is a kind of."""
        of = value.of if isinstance(value, Made) else value
        if isinstance(of, External):
            return frozenset({of.name})
        return frozenset(one.name for one in self.ancestors(of) if isinstance(one, External))

    def attribute(self, value: Class, name: str) -> tuple[Binding, Block] | None:
        """Where a class or one of its bases binds a name last: the binding and the class's own block."""
        for one in self.ancestors(value):
            if isinstance(one, Class):
                block = self.body(one)
                found = block.bindings.get(name)
                if found:
                    return found[-1], block
        return None

    def body(self, value: Class | Function) -> Block:
        """The inner block of a class or function."""
        return value.block.module.blocks[value.node]

    def exported(self, module: Module, name: str) -> tuple[Value, ...]:
        """What a name of a module stands for, its submodules included."""
        return self._name(name, module.block) or self._submodule(module, name)

    def turns(self, event: Event) -> Iterator[Given | None]:
        """What the loops around an event give their variables: each turn of loops over literal lists, else None once."""
        if not event.loops:
            yield None
            return
        loop = event.loops[-1]
        items = self.items(loop.iter, event.block)
        if items is None:
            yield None
            return
        for node, place in items.parts:
            yield {name: (value, place) for name, value in _assigned(loop.target, node)}

    # The cases of `of`.

    def _evaluate(self, node: ast.expr, block: Block, given: Given | None) -> Iterator[Value]:
        match node:
            case ast.Constant(value=str(text)):
                yield Text(text)
            case ast.Name(id=name):
                yield from self.of(*given[name]) if given and name in given else self._name(name, block)
            case ast.Attribute():
                yield from self._attribute(node, block, given)
            case ast.Call():
                yield from self._call(node, block, given)
            case ast.JoinedStr() | ast.BinOp():
                yield from self._joined(node, block, given)
            case ast.Subscript():
                yield from self._subscript(node, block, given)
            case _:
                yield from self._parts(node, block, given)

    def _parts(self, node: ast.expr, block: Block, given: Given | None) -> Iterator[Value]:
        """Collections, alternatives, and what only wraps another expression."""
        inner: list[ast.expr] = []
        match node:
            case ast.List(elts=nodes) | ast.Tuple(elts=nodes) | ast.Set(elts=nodes):
                yield Items(tuple(self._flat(nodes, block)))
            case ast.Dict(values=nodes):
                yield Items(tuple((one, block) for one in nodes))
            case ast.IfExp(body=body, orelse=orelse):
                inner = [body, orelse]
            case ast.BoolOp(values=parts):
                inner = parts
            case ast.Await(value=value) | ast.NamedExpr(value=value) | ast.Starred(value=value):
                inner = [value]
        for one in inner:
            yield from self.of(one, block, given)

    def _flat(self, nodes: Sequence[ast.expr], block: Block) -> Iterator[Part]:
        for node in nodes:
            inner = self.items(node.value, block) if isinstance(node, ast.Starred) else None
            yield from inner.parts if inner is not None else [(node, block)]

    def _name(self, name: str, block: Block) -> tuple[Value, ...]:
        for place in walk_blocks(block):
            bindings = place.bindings.get(name)
            if bindings:
                return tuple(value for one in bindings for value in self._bound(one, place, name))
            if place.parent is None:
                return self._from_stars(name, place)
        return ()

    def _from_stars(self, name: str, place: Block) -> tuple[Value, ...]:
        for dotted in place.stars:
            found = self._imported(Imported(dotted, name), place.module)
            if found and not (isinstance(found[0], External) and not dotted.startswith(".")):
                return found
        outside = [dotted for dotted in place.stars if self.python.locate(dotted, place.module.path) is None]
        return tuple(External(f"{dotted}.{name}") for dotted in outside[:1])

    def _bound(self, binding: Binding, place: Block, name: str) -> tuple[Value, ...]:
        key = (id(binding), name)
        return self._once(key, key, lambda: self._meant(binding, place))

    def _meant(self, binding: Binding, place: Block) -> tuple[Value, ...]:
        match binding.to:
            case ast.FunctionDef() | ast.AsyncFunctionDef() as node:
                return (self._function(node, place),)
            case ast.ClassDef() as node:
                return (self._class(node, place),)
            case ast.arg() as node:
                return self._parameter(node, place)
            case Imported() as imported:
                return self._imported(imported, place.module)
            case Element() as element:
                return self._element(element, place)
            case _ as expression:
                found = self.of(expression, binding.block or place)
        if not binding.certain:
            found = tuple(Text(one.value, False) if isinstance(one, Text) else one for one in found)
        return found

    def _imported(self, imported: Imported, importer: Module) -> tuple[Value, ...]:
        path = self.python.locate(imported.module, importer.path)
        module = self.python.module(path) if path is not None and path != importer.path else None
        if not imported.name:
            return (Package(module),) if module is not None else (External(imported.module),)
        if module is not None:
            return self.exported(module, imported.name)
        if path is None:
            submodule = self._located(f"{imported.module.rstrip('.')}.{imported.name}", imported, importer)
            if submodule is not None:
                return (submodule,)
        elif path == importer.path:
            return self._submodule(importer, imported.name)
        return (External(f"{imported.module}.{imported.name}"),)

    def _located(self, dotted: str, imported: Imported, importer: Module) -> Package | None:
        """A module of a folder that has no __init__.py."""
        if imported.module.strip("."):
            dotted = f"{imported.module}.{imported.name}"
        else:
            dotted = f"{imported.module}{imported.name}"
        path = self.python.locate(dotted, importer.path)
        module = self.python.module(path) if path is not None else None
        return Package(module) if module is not None else None

    def _submodule(self, module: Module, name: str) -> tuple[Value, ...]:
        if not module.path.endswith("__init__.py"):
            return ()
        path = self.python.locate(f".{name}", module.path)
        found = self.python.module(path) if path is not None else None
        return (Package(found),) if found is not None else ()

    def _element(self, element: Element, place: Block) -> tuple[Value, ...]:
        items = self.items(element.of, place)
        if items is None:
            return ()
        parts = items.parts if element.loop else _at(items, element.at[:1])
        inner = [self._within(part, element.at if element.loop else element.at[1:]) for part in parts]
        return tuple(value for part in inner if part is not None for value in self.of(*part))

    def _within(self, part: Part, at: tuple[int, ...]) -> Part | None:
        """The element at these positions of an element."""
        if not at:
            return part
        items = self.items(*part)
        inner = _at(items, at[:1]) if items is not None else ()
        return self._within(inner[0], at[1:]) if inner else None

    def _parameter(self, node: ast.arg, place: Block) -> tuple[Value, ...]:
        """What callers pass, or the default; else an object of the annotated class that nobody was seen to make."""
        if place.owner is not None and node.arg in ("self", "cls") and isinstance(place.owner.node, ast.ClassDef):
            owner = self._class(place.owner.node, place.owner.parent or place)
            return (self._made(owner, place.owner.node, place),) if node.arg == "self" else (owner,)
        if not isinstance(place.node, FUNCTIONS):
            return ()
        found = [value for call, at in self._callers(place) for value in self._passed(node, place.node, call, at)]
        if not found and (default := _default(node, place.node)) is not None:
            found = list(self.of(default, place.parent or place))
        if not found and node.annotation is not None:
            kinds = [one for one in self.of(node.annotation, place) if isinstance(one, (External, Class))]
            found = [self._made(kind, node, place, certain=False) for kind in kinds[:1]]
        return tuple(found)

    def _passed(self, parameter: ast.arg, function: AnyFunction, event: Event, skipped: int) -> Iterator[Value]:
        assert isinstance(event.node, ast.Call)
        names = [one.arg for one in (*function.args.posonlyargs, *function.args.args)][skipped:]
        given = keywords(event.node).get(parameter.arg)
        position = names.index(parameter.arg) if parameter.arg in names else len(event.node.args)
        if given is None and position < len(event.node.args):
            given = event.node.args[position]
        if given is not None and not isinstance(given, ast.Starred):
            yield from self.of(given, event.block)

    def _callers(self, place: Block) -> Iterator[tuple[Event, int]]:
        """The calls of a function, and how many of its parameters (self) they do not pass."""
        assert isinstance(place.node, FUNCTIONS)
        owner = place.owner
        making = owner is not None and place.node.name == "__init__"
        name = owner.node.name if making and isinstance(owner, Block) and isinstance(owner.node, ast.ClassDef) else None
        target = owner.node if making and owner is not None else place.node
        for event in self.python.calls_named(name or place.node.name):
            assert isinstance(event.node, ast.Call)
            for value in self.of(event.node.func, event.block):
                if isinstance(value, (Function, Class)) and value.node is target:
                    yield event, 1 if owner is not None else 0
                    break

    def _attribute(self, node: ast.Attribute, block: Block, given: Given | None) -> Iterator[Value]:
        for value in self.of(node.value, block, given):
            match value:
                case External(name=name):
                    yield External(f"{name}.{node.attr}")
                case Package(module=module):
                    yield from self.exported(module, node.attr)
                case Class() | Made(of=Class()):
                    of = value if isinstance(value, Class) else value.of
                    yield from self._member(of, node.attr)
                case Made(of=External(name=name)):
                    yield External(f"{name}.{node.attr}")

    def _member(self, value: "Class | External", name: str) -> Iterator[Value]:
        if isinstance(value, External):
            return
        found = self.attribute(value, f"self.{name}") or self.attribute(value, name)
        if found is not None:
            binding, body = found
            yield from self._bound(binding, body, name)
            return
        outside = [one.name for one in self.ancestors(value) if isinstance(one, External)]
        yield from (External(f"{one}.{name}") for one in outside[:1])

    def _call(self, node: ast.Call, block: Block, given: Given | None) -> Iterator[Value]:
        function = ast.unparse(node.func) if called(node) in ("get", "getenv", "config") else ""
        if function in _ENVIRONMENT and len(node.args) > 1:
            yield from (Text(one.value, False) for one in self.of(node.args[1], block, given) if isinstance(one, Text))
            return
        if isinstance(node.func, ast.Name) and node.func.id in ("str", "list", "tuple") and len(node.args) == 1:
            yield from self.of(node.args[0], block, given)
            return
        for value in self.of(node.func, block, given):
            if isinstance(value, (External, Class)):
                yield self._made(value, node, block)
            elif isinstance(value, Function):
                yield from self._returned(value)

    def _made(
        self, of: External | Class, node: ast.Call | ast.arg | ast.ClassDef, block: Block, certain: bool = True
    ) -> Made:
        return self._objects.setdefault(id(node), Made(of, node, block, certain))

    def _returned(self, value: Function) -> Iterator[Value]:
        body = self.body(value)
        if id(value.node) not in self._returns:
            self._returns[id(value.node)] = tuple(
                node.value
                for node in _own_nodes(value.node)
                if isinstance(node, (ast.Return, ast.Yield)) and node.value is not None
            )
        for node in self._returns[id(value.node)]:
            yield from self.of(node, body)

    def _joined(self, node: ast.JoinedStr | ast.BinOp, block: Block, given: Given | None) -> Iterator[Value]:
        if isinstance(node, ast.BinOp):
            if not isinstance(node.op, ast.Add):
                return
            lists = [self.items(part, block, given) for part in (node.left, node.right)]
            if lists[0] is not None or lists[1] is not None:
                yield Items(tuple(one for part in lists if part is not None for one in part.parts))
                return
            parts: list[ast.expr] = [node.left, node.right]
        else:
            parts = [one.value if isinstance(one, ast.FormattedValue) else one for one in node.values]
        texts = [self.text(part, block, given) for part in parts]
        if all(one is not None for one in texts):
            known = [one for one in texts if one is not None]
            yield Text("".join(one.value for one in known), all(one.certain for one in known))

    def _subscript(self, node: ast.Subscript, block: Block, given: Given | None) -> Iterator[Value]:
        """`Annotated[…]` and other generics stay themselves; a constant index picks an element."""
        if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, int):
            items = self.items(node.value, block, given)
            if items is not None and -len(items.parts) <= node.slice.value < len(items.parts):
                yield from self.of(*items.parts[node.slice.value])
            return
        chosen = self.items(node.value, block, given)
        if chosen is not None:  # by a key that only running tells: any of them
            yield from (value for part in chosen.parts for value in self.of(*part))
            return
        yield from (one for one in self.of(node.value, block, given) if isinstance(one, (External, Class)))

    def _class(self, node: ast.ClassDef, block: Block) -> Class:
        return self._classes.setdefault(id(node), Class(node, block))

    def _function(self, node: AnyFunction, block: Block) -> Function:
        return self._functions.setdefault(id(node), Function(node, block))


def _at(items: Items, at: tuple[int, ...]) -> Sequence[Part]:
    return items.parts[at[0] : at[0] + 1] if at else ()


def _own_nodes(function: AnyFunction) -> Iterator[ast.AST]:
    """The nodes of a function, without those of functions and classes within it."""
    waiting: list[ast.AST] = [*function.body[::-1]]
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, (*FUNCTIONS, ast.ClassDef, ast.Lambda)):
            waiting += [*ast.iter_child_nodes(node)][::-1]


def _assigned(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, (ast.Tuple, ast.List)) and isinstance(value, (ast.Tuple, ast.List)):
        for part, given in zip(target.elts, value.elts, strict=False):
            yield from _assigned(part, given)


def _default(parameter: ast.arg, function: AnyFunction) -> ast.expr | None:
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    by_name = dict(zip([one.arg for one in positional][::-1], arguments.defaults[::-1], strict=False))
    by_name.update(
        {one.arg: value for one, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if value}
    )
    return by_name.get(parameter.arg)
