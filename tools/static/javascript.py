"""JavaScript and TypeScript of a repository: modules with their exports, and what an expression stands for.

As `python_values` does for Python: names are followed through imports, exports, parameters, returns and fields.
"""

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from tree_sitter import Node

from backend_crew.tools.index.grammars import BY_SUFFIX, parse
from backend_crew.tools.static.javascript_tree import (
    CLASSES,
    FUNCTIONS,
    JsModule,
    arguments,
    declarations,
    descendants,
    enclosing,
    import_names,
    loop_items,
    pair,
    parameter_index,
    parameter_property,
    pattern_key,
    read_module,
    returns,
    spreads,
    written,
)
from backend_crew.tools.static.sources import Sources

SUFFIXES = (".ts", ".tsx", ".js", ".mjs", ".cjs", ".jsx", ".mts", ".cts")
_WRAPPERS = frozenset(
    {"await_expression", "parenthesized_expression", "as_expression", "satisfies_expression", "non_null_expression"}
)
_DEPTH = 40


@dataclass(frozen=True)
class JsText:
    """A string that the source tells."""

    value: str


@dataclass(frozen=True)
class JsExternal:
    """Something of a package: "express", or a member of it: "express.Router"."""

    name: str


@dataclass(frozen=True)
class JsMade:
    """What calling or newing something of a package gives, at a node of a file."""

    of: str
    node: Node = field(compare=False)
    module: "JsModule" = field(compare=False)
    key: int = 0


@dataclass(frozen=True)
class JsNode:
    """A function, class, object or array of the repository; with `instance` an object of that class."""

    node: Node = field(compare=False)
    module: "JsModule" = field(compare=False)
    key: int = 0
    instance: bool = False


@dataclass(frozen=True)
class JsPackage:
    """A module of the repository as a whole."""

    module: "JsModule" = field(compare=False)
    path: str = ""


JsValue = JsText | JsExternal | JsMade | JsNode | JsPackage
Given = Mapping[str, tuple[Node, "JsModule"]]
"""What a callback's parameters stand for in one turn of a loop."""


class JavaScript:
    """The files of a repository, parsed when they are asked for, and values looked up in them."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self._modules: dict[str, JsModule | None] = {}
        self._active: set[tuple[int, int]] = set()
        self._callers: dict[int, list[tuple[Node, JsModule]]] | None = None
        self._loaded: list[JsModule] = []

    def module(self, path: str) -> JsModule | None:
        """The parsed file; None for one that is not there."""
        if path not in self._modules:
            content = self.sources.read(path)
            language = BY_SUFFIX.get(PurePosixPath(path).suffix)
            self._modules[path] = (
                read_module(path, parse(language, content).root_node) if content and language else None
            )
        return self._modules[path]

    def load(self, paths: Sequence[str]) -> list[JsModule]:
        """The parsed files; their calls are those that parameters get their values from."""
        found = [module for path in paths if (module := self.module(path)) is not None]
        self._loaded = list({module.path: module for module in [*self._loaded, *found]}.values())
        self._callers = None
        return found

    def followed(self) -> list[JsModule]:
        """The files that were parsed on the way and are not loaded yet; from now on they are."""
        known = {module.path for module in self._loaded}
        return self.load(
            sorted(path for path, module in self._modules.items() if module is not None and path not in known)
        )

    def locate(self, name: str, importer: str) -> str | None:
        """The file that a module's name means in an importing file; None for a package."""
        if name.startswith("."):
            return self._file(posixpath.normpath(posixpath.join(posixpath.dirname(importer), name)))
        if "/" not in name:  # a package, whatever folders are called
            return None
        inner = re.sub(r"^(@/|~/|#/|@)", "", name) if name.startswith(("@/", "~/", "#/")) else name
        for folder in PurePosixPath(importer).parents:
            base = "" if str(folder) == "." else f"{folder}/"
            found = self._file(base + inner) or self._file(f"{base}src/{inner}")
            if found is not None:
                return found
        return None

    def _file(self, stem: str) -> str | None:
        plain = re.sub(r"\.[cm]?js$", "", stem)
        named = [stem, *(f"{one}{suffix}" for one in (stem, plain) for suffix in SUFFIXES)]
        named += [f"{stem}/index{suffix}" for suffix in SUFFIXES]
        return next((path for path in named if path in self.sources.paths and path.endswith(SUFFIXES)), None)

    # Values.

    def text(self, node: Node | None, module: JsModule, given: Given | None = None) -> str | None:
        """The one text that an expression can be."""
        values = self.of(node, module, given) if node is not None else []
        texts = {one.value for one in values if isinstance(one, JsText)}
        return texts.pop() if len(texts) == 1 and len(values) == 1 else None

    def of(self, node: Node, module: JsModule, given: Given | None = None) -> list[JsValue]:
        """The values of an expression."""
        key = (node.id, id(module))
        if key in self._active or len(self._active) > _DEPTH:
            return []
        self._active.add(key)
        try:
            return list(dict.fromkeys(self._evaluate(node, module, given)))
        finally:
            self._active.discard(key)

    def _evaluate(self, node: Node, module: JsModule, given: Given | None) -> Iterator[JsValue]:
        match node.type:
            case "string" | "template_string":
                text = self._string(node, module, given)
                yield from [JsText(text)] if text is not None else []
            case "identifier" | "shorthand_property_identifier" | "type_identifier":
                yield from self._name(written(node), node, module, given)
            case "member_expression":
                yield from self._member(node, module, given)
            case "call_expression" | "new_expression":
                yield from self._call(node, module, given)
            case "binary_expression":
                yield from self._binary(node, module, given)
            case "this":
                owner = enclosing(node, CLASSES)
                yield from [JsNode(owner, module, owner.id, instance=True)] if owner is not None else []
            case kind if kind in FUNCTIONS or kind in CLASSES or kind in ("object", "array"):
                yield JsNode(node, module, node.id)
            case _:
                yield from self._inner(node, module, given)

    def _inner(self, node: Node, module: JsModule, given: Given | None) -> Iterator[JsValue]:
        """Alternatives, and what only wraps another expression."""
        inner: list[Node | None] = []
        if node.type in _WRAPPERS:
            inner = [*node.named_children[:1]]
        elif node.type == "ternary_expression":
            inner = [node.child_by_field_name("consequence"), node.child_by_field_name("alternative")]
        for one in inner:
            yield from self.of(one, module, given) if one is not None else ()

    def _string(self, node: Node, module: JsModule, given: Given | None) -> str | None:
        parts = []
        for child in node.named_children:
            if child.type == "template_substitution":
                inner = self.text(child.named_children[0], module, given) if child.named_children else None
                if inner is None:
                    return None
                parts.append(inner)
            else:
                text = written(child)
                parts.append(text[1:] if child.type == "escape_sequence" and not text[1:].isalnum() else text)
        return "".join(parts)

    def _binary(self, node: Node, module: JsModule, given: Given | None) -> Iterator[JsValue]:
        left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
        operator = node.child_by_field_name("operator")
        if left is None or right is None or operator is None:
            return
        if operator.type == "+":
            texts = [self.text(one, module, given) for one in (left, right)]
            if texts[0] is not None and texts[1] is not None:
                yield JsText(texts[0] + texts[1])
        elif operator.type in ("||", "??"):
            yield from self.of(left, module, given) or self.of(right, module, given)

    def _name(self, name: str, node: Node, module: JsModule, given: Given | None) -> Iterator[JsValue]:
        if given and name in given:
            yield from self.of(*given[name])
            return
        place: Node | None = node.parent
        while place is not None:
            if place.type in FUNCTIONS:
                index = parameter_index(place, name)
                if index is not None:
                    yield from self._parameter(place, index, module)
                    return
            if place.type in ("program", "statement_block", "for_in_statement", "switch_case"):
                declared = self._scope(place, module).get(name)
                if declared is not None and declared.id != node.id:
                    yield from self._declared(declared, name, module, given)
                    return
            place = place.parent

    def _scope(self, place: Node, module: JsModule) -> dict[str, Node]:
        if place.id not in module.scopes:
            names: dict[str, Node] = {}
            for child in place.named_children:
                inner = child.child_by_field_name("declaration") if child.type == "export_statement" else child
                for name, one in declarations(inner if inner is not None else child):
                    names.setdefault(name, one)
            module.scopes[place.id] = names
        return module.scopes[place.id]

    def _declared(self, node: Node, name: str, module: JsModule, given: Given | None) -> Iterator[JsValue]:
        if node.type == "import_statement":
            yield from self._imported(node, name, module)
        elif node.type == "variable_declarator":
            pattern, value = node.child_by_field_name("name"), node.child_by_field_name("value")
            if pattern is None or value is None:
                return
            if pattern.type == "identifier":
                yield from self.of(value, module, given)
            elif pattern.type == "object_pattern":
                key = pattern_key(pattern, name)
                for one in self.of(value, module, given):
                    yield from self.member(one, key)
        else:
            yield JsNode(node, module, node.id)

    def _imported(self, node: Node, name: str, module: JsModule) -> Iterator[JsValue]:
        source = node.child_by_field_name("source")
        if source is None:
            return
        package = written(source).strip("'\"")
        for local, imported in import_names(node):
            if local == name:
                path = self.locate(package, module.path)
                target = self.module(path) if path is not None else None
                if target is not None:
                    yield from self.exported(target, imported)
                else:
                    yield JsExternal(package if imported in ("default", "*") else f"{package}.{imported}")

    def exported(self, module: JsModule, name: str, depth: int = 0) -> list[JsValue]:
        """What a module exports under a name; "*" is the module itself, "default" also what CommonJS assigns."""
        if depth > _DEPTH:
            return []
        if name == "*":
            return self.exported(module, "=", depth + 1) or [JsPackage(module, module.path)]
        found = module.exports.get(name)
        if found is None and name == "default":
            found = module.exports.get("=")
        if found is None and "=" in module.exports and name != "=":
            return [value for one in self.exported(module, "=", depth + 1) for value in self.member(one, name)]
        if isinstance(found, tuple):
            path = self.locate(found[0], module.path)
            target = self.module(path) if path is not None else None
            if target is None:
                return [JsExternal(found[0] if found[1] in ("default", "*") else f"{found[0]}.{found[1]}")]
            return self.exported(target, found[1], depth + 1)
        if found is not None:
            return self.of(found, module)
        for star in module.stars:
            path = self.locate(star, module.path)
            target = self.module(path) if path is not None else None
            values = (
                self.exported(target, name, depth + 1) if target is not None and name not in ("=", "default") else []
            )
            if values:
                return values
        return []

    def _member(self, node: Node, module: JsModule, given: Given | None) -> Iterator[JsValue]:
        target, name = node.child_by_field_name("object"), node.child_by_field_name("property")
        if target is not None and name is not None:
            for value in self.of(target, module, given):
                yield from self.member(value, written(name))

    def member(self, value: JsValue, name: str) -> list[JsValue]:
        """What a property of a value stands for."""
        match value:
            case JsExternal(name=base):
                return [JsExternal(base if name == "default" else f"{base}.{name}")]
            case JsMade(of=base):
                return [JsExternal(f"{base}().{name}")]
            case JsPackage(module=module):
                return self.exported(module, name)
            case JsNode(node=node, module=module) if node.type == "object":
                found = pair(node, name)
                if found is not None:
                    return self.of(found, module)
                return [
                    one for part in spreads(node) for each in self.of(part, module) for one in self.member(each, name)
                ]
            case JsNode(node=node, module=module) if node.type in CLASSES:
                return [one for part in self.field_values(node, module, name) for one in self.of(*part)]
        return []

    def field_values(self, node: Node, module: JsModule, name: str) -> Iterator[tuple[Node, JsModule]]:
        """A class's field or method of a name, or what `this.name = …` assigns, or what a base class has."""
        body = node.child_by_field_name("body")
        for one in body.named_children if body is not None else ():
            named = one.child_by_field_name("name") or one.child_by_field_name("property")
            if named is not None and written(named).lstrip("#") == name.lstrip("#"):
                if one.type == "method_definition":
                    yield one, module
                    return
                value = one.child_by_field_name("value")
                if value is not None:
                    yield value, module
                    return
        for one in descendants(node, "assignment_expression"):
            left, right = one.child_by_field_name("left"), one.child_by_field_name("right")
            if left is not None and right is not None and written(left) == f"this.{name}":
                yield right, module
                return
        for base in self.bases(node, module):
            yield from self.field_values(base.node, base.module, name)
            return
        index = parameter_property(node, name)
        if index is not None:
            yield index, module

    def bases(self, node: Node, module: JsModule) -> list[JsNode]:
        """The classes of the repository that a class extends."""
        for heritage in (one for one in node.named_children if one.type == "class_heritage"):
            for child in heritage.named_children:
                inner = child.child_by_field_name("value") if child.type == "extends_clause" else child
                if inner is not None and child.type != "implements_clause":
                    return [
                        one for one in self.of(inner, module) if isinstance(one, JsNode) and one.node.type in CLASSES
                    ]
        return []

    def _call(self, node: Node, module: JsModule, given: Given | None) -> Iterator[JsValue]:
        callee = node.child_by_field_name("function") or node.child_by_field_name("constructor")
        if callee is None:
            return
        if written(callee) in ("require", "import") or callee.type == "import":
            yield from self._required(node, module)
            return
        if callee.type == "member_expression" and written(callee).endswith(".default"):
            inner = callee.child_by_field_name("object")
            callee = inner if inner is not None else callee
        for value in self.of(callee, module, given):
            if isinstance(value, JsExternal):
                yield JsMade(value.name, node, module, node.id)
            elif isinstance(value, JsNode) and value.node.type in CLASSES:
                yield JsNode(value.node, value.module, value.key, instance=True)
            elif isinstance(value, JsNode) and value.node.type in FUNCTIONS:
                for returned in returns(value.node):
                    yield from self.of(returned, value.module)

    def _required(self, node: Node, module: JsModule) -> Iterator[JsValue]:
        given = arguments(node)
        name = self.text(given[0], module) if given else None
        if name is None:
            return
        path = self.locate(name, module.path)
        target = self.module(path) if path is not None else None
        if target is not None:
            yield from self.exported(target, "*")
        else:
            yield JsExternal(name)

    # Parameters.

    def _parameter(self, function: Node, index: int, module: JsModule) -> Iterator[JsValue]:
        looped = loop_items(function)
        if looped is not None and index == 0:
            for value in self.of(looped, module):
                if isinstance(value, JsNode) and value.node.type == "array":
                    for element in value.node.named_children:
                        yield from self.of(element, value.module)
            return
        for call, place in self._calls_of(function):
            given = arguments(call)
            if index < len(given):
                yield from self.of(given[index], place)

    def _calls_of(self, function: Node) -> Sequence[tuple[Node, JsModule]]:
        if self._callers is None:
            self._callers = {}
            for _ in range(2):  # the second time parameters lead on to what the first has found
                known: dict[int, list[tuple[Node, JsModule]]] = {}
                for module in self._loaded:
                    for call in module.calls:
                        for key in self._called(call, module):
                            known.setdefault(key, []).append((call, module))
                self._callers = known
        owner = None
        if function.type == "method_definition" and written(function.child_by_field_name("name")) == "constructor":
            owner = enclosing(function, CLASSES)
        return self._callers.get((owner if owner is not None else function).id, ())

    def _called(self, call: Node, module: JsModule) -> Iterator[int]:
        callee = call.child_by_field_name("function") or call.child_by_field_name("constructor")
        if callee is None or not arguments(call):
            return
        if callee.type in ("identifier", "call_expression", "member_expression", "parenthesized_expression"):
            for value in self.of(callee, module):
                if isinstance(value, JsNode) and (value.node.type in FUNCTIONS or value.node.type in CLASSES):
                    yield value.key
