"""Endpoints of Spring: controllers with their mappings, on classes, methods and the interfaces that they implement."""

import re
from collections.abc import Iterator

from tree_sitter import Node

from backend_crew.tools.endpoints.protocol import ANY, Endpoint, EndpointScan, Framework, joined
from backend_crew.tools.index.grammars import parse
from backend_crew.tools.static.javascript_tree import descendants, written
from backend_crew.tools.static.project import Project
from backend_crew.tools.static.unresolved import Unresolved

_VERBS = {"GetMapping": "GET", "PostMapping": "POST", "PutMapping": "PUT", "PatchMapping": "PATCH", "DeleteMapping": "DELETE",
          "RequestMapping": ANY}  # fmt: skip
_CONTROLLERS = frozenset({"RestController", "Controller", "RepositoryRestController", "BasePathAwareController"})
_GUARDS = frozenset({"PreAuthorize", "PostAuthorize", "Secured", "RolesAllowed", "DenyAll"})
_CONTEXT = re.compile(r"^\s*(?:server\.servlet\.context-path|spring\.webflux\.base-path)\s*[=:]\s*(\S+)", re.MULTILINE)
_CLASSES = ("class_declaration", "interface_declaration")


def read(project: Project, paths: tuple[str, ...]) -> EndpointScan:
    """The endpoints of the controllers in these files."""
    roots = {path: parse("Java", project.sources.read(path)).root_node for path in paths}
    return _Reading(roots, _context_path(project)).scan()


FRAMEWORK = Framework("Spring", (".java",), (b"Mapping",), (b"static final String",), read)


def _context_path(project: Project) -> str:
    """What the configuration puts before all paths, where it says so in properties."""
    for path in project.sources.by_suffix.get(".properties", ()):
        if path.endswith("/application.properties") or path == "application.properties":
            match = _CONTEXT.search(project.sources.read(path).decode("utf-8", "replace"))
            if match and "$" not in match[1]:
                return match[1]
    return ""


class _Reading:
    def __init__(self, roots: dict[str, Node], context: str) -> None:
        self._roots = roots
        self._context = context
        self._classes: dict[str, tuple[str, Node]] = {}
        self._constants: dict[str, str] = {}
        self._unresolved: list[Unresolved] = []

    def scan(self) -> EndpointScan:
        for path, root in self._roots.items():
            for node in descendants(root, *_CLASSES):
                name = written(node.child_by_field_name("name"))
                self._classes.setdefault(name, (path, node))
                self._constant(node, name)
        endpoints = [
            one
            for path, root in self._roots.items()
            for node in descendants(root, "class_declaration")
            if any(name in _CONTROLLERS for name, _ in _annotations(node)) and not _is_abstract(node)
            for one in self._controller(path, node)
        ]
        return EndpointScan(tuple(endpoints), tuple(self._unresolved))

    def _constant(self, node: Node, owner: str) -> None:
        for one in descendants(node, "field_declaration", "constant_declaration"):
            for declared in descendants(one, "variable_declarator"):
                value = declared.child_by_field_name("value")
                text = self._text(value) if value is not None else None
                if text is not None and (one.type == "constant_declaration" or "final" in written(one)):
                    self._constants[f"{owner}.{written(declared.child_by_field_name('name'))}"] = text

    def _text(self, node: Node, owner: str = "") -> str | None:
        if node.type == "string_literal":
            return written(node)[1:-1]
        if node.type == "identifier":
            return self._constants.get(f"{owner}.{written(node)}")
        if node.type == "field_access":
            return self._constants.get(".".join(written(node).split(".")[-2:]))
        if node.type == "binary_expression":
            parts = [self._text(one, owner) for one in node.named_children]
            return "".join(one for one in parts if one is not None) if None not in parts else None
        return None

    def _controller(self, path: str, node: Node) -> Iterator[Endpoint]:
        name = written(node.child_by_field_name("name"))
        prefixes, guards = [""], []
        for place in (node, *(one for _, one in self._above(node))):
            for annotation, one in _annotations(place):
                if annotation == "RequestMapping" and prefixes == [""]:
                    prefixes = self._paths(path, one, name) or []
                guards += [annotation] if annotation in _GUARDS and place is node else []
        self._outside(path, node, name)
        for file, place in ((path, node), *self._above(node)):
            for method in _methods(place):
                for annotation, one in _annotations(method):
                    if annotation in _VERBS:
                        yield from self._endpoints(file, name, method, annotation, one, prefixes, guards)

    def _outside(self, path: str, node: Node, name: str) -> None:
        """Notes an interface of another place, where generated code keeps the mappings of a controller without any."""
        interfaces = node.child_by_field_name("interfaces")
        mapped = any(one in _VERBS for method in _methods(node) for one, _ in _annotations(method))
        missing = [written(one) for one in descendants(interfaces, "type_identifier")] if interfaces is not None else []
        missing = [one for one in missing if one not in self._classes]
        if missing and not mapped:
            why = f"the mappings that {name} takes from {missing[0]}, which is not in this repository"
            self._unresolved.append(Unresolved(path, node.start_point.row + 1, why))

    def _above(self, node: Node) -> list[tuple[str, Node]]:
        """The classes and interfaces of the repository that a class extends or implements."""
        found: list[tuple[str, Node]] = []
        waiting = [node]
        while waiting and len(found) < 20:
            one = waiting.pop()
            for part in (one.child_by_field_name("superclass"), one.child_by_field_name("interfaces")):
                for kind in descendants(part, "type_identifier") if part is not None else ():
                    known = self._classes.get(written(kind))
                    if known is not None and known not in found:
                        found.append(known)
                        waiting.append(known[1])
        return found

    def _endpoints(
        self, path: str, name: str, method: Node, annotation: str, mark: Node, prefixes: list[str], guards: list[str]
    ) -> Iterator[Endpoint]:
        paths = self._paths(path, mark, name)
        own = [one for one, _ in _annotations(method) if one in _GUARDS]
        for verb in _verbs(annotation, mark):
            for prefix in prefixes:
                for one in paths or ():
                    yield Endpoint(
                        verb,
                        joined(self._context, prefix, one),
                        f"{name}.{written(method.child_by_field_name('name'))}",
                        path,
                        mark.start_point.row + 1,
                        _body(method),
                        _answer(method),
                        ", ".join(dict.fromkeys([*guards, *own])),
                        "Spring",
                    )

    def _paths(self, path: str, mark: Node, owner: str) -> list[str] | None:
        """The paths of a mapping: one text, several, or none for the prefix itself."""
        given = mark.child_by_field_name("arguments")
        nodes = given.named_children if given is not None else []
        values = [one for one in nodes if one.type != "element_value_pair"]
        for one in nodes:
            if one.type == "element_value_pair" and written(one.child_by_field_name("key")) in ("value", "path"):
                inner = one.child_by_field_name("value")
                values += [inner] if inner is not None else []
        flat = [
            each
            for one in values
            for each in (one.named_children if one.type == "element_value_array_initializer" else [one])
        ]
        texts = [self._text(one, owner) for one in flat]
        if None in texts:
            why = f"a mapping of {owner} whose path is not a text that the source tells"
            self._unresolved.append(Unresolved(path, mark.start_point.row + 1, why))
            return None
        return [one for one in texts if one is not None] or [""]


def _annotations(node: Node) -> Iterator[tuple[str, Node]]:
    for modifiers in (one for one in node.named_children if one.type == "modifiers"):
        for one in modifiers.named_children:
            if one.type in ("annotation", "marker_annotation"):
                yield written(one.child_by_field_name("name")).rpartition(".")[2], one


def _is_abstract(node: Node) -> bool:
    return any(one.type == "modifiers" and "abstract" in [each.type for each in one.children] for one in node.children)


def _methods(node: Node) -> Iterator[Node]:
    body = node.child_by_field_name("body")
    yield from (one for one in (body.named_children if body is not None else ()) if one.type == "method_declaration")


def _verbs(annotation: str, mark: Node) -> list[str]:
    if annotation != "RequestMapping":
        return [_VERBS[annotation]]
    found = re.search(r"\bmethod\s*=\s*(\{[^}]*\}|[\w.]+)", written(mark))
    return re.findall(r"\b(GET|POST|PUT|PATCH|DELETE|HEAD|OPTIONS)\b", found[1]) if found else [ANY]


def _body(method: Node) -> str:
    given = method.child_by_field_name("parameters")
    for one in given.named_children if given is not None else ():
        if any(name in ("RequestBody", "RequestPart") for name, _ in _annotations(one)):
            return written(one.child_by_field_name("type"))
    return ""


def _answer(method: Node) -> str:
    text = written(method.child_by_field_name("type"))
    return re.sub(r"^(?:ResponseEntity|Mono|CompletableFuture|Callable)<(.*)>$", r"\1", text, flags=re.DOTALL)
