"""Functions that make applications, followed through imports to the modules that call them; nothing is imported."""

import ast
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

_DEPTH = 5


class Factories:
    """What each file of a tree can call to make an application: functions of its own and those that it imports."""

    def __init__(self, root: Path, trees: Mapping[str, ast.Module], made: Mapping[str, Mapping[str, str]]) -> None:
        """`trees` are the parsed files, `made` the functions of each file that make one, with the framework."""
        self._trees, self._made = trees, made
        self._own = {path: [module for _, module in module_names(root, path)] for path in trees}
        self._files: dict[str, list[str]] = {}
        for path, modules in self._own.items():
            for module in modules:
                self._files.setdefault(module, []).append(path)

    def known(self, path: str) -> Mapping[str, str]:
        """The frameworks by the words that call them in a file: `create_app`, or `factory.create_app`."""
        found: dict[str, str] = {}
        for name, module, wanted in self._imports(path):
            if wanted and (framework := self._named(module, wanted, _DEPTH)):
                found[name] = framework
            inner = f"{module}.{wanted}" if wanted else module
            for file in self._files.get(inner, ()):
                found.update({f"{name}.{one}": framework for one, framework in self._made.get(file, {}).items()})
        return {**found, **self._made.get(path, {})}

    def _named(self, module: str, name: str, depth: int) -> str:
        """The framework of what a module calls by a name, its own or one that it hands on."""
        for path in self._files.get(module, ()) if depth else ():
            if framework := self._made.get(path, {}).get(name):
                return framework
            for here, origin, wanted in self._imports(path):
                if here == name and wanted and (framework := self._named(origin, wanted, depth - 1)):
                    return framework
        return ""

    def _imports(self, path: str) -> Iterator[tuple[str, str, str]]:
        """What a file imports: the name here, the module, and the name there ("" for the module itself)."""
        for node in ast.walk(self._trees[path]):
            if isinstance(node, ast.Import):
                yield from ((one.asname or one.name, one.name, "") for one in node.names)
            elif isinstance(node, ast.ImportFrom):
                for module in _origins(node, self._own[path], is_package=PurePosixPath(path).stem == "__init__"):
                    yield from ((one.asname or one.name, module, one.name) for one in node.names)


def _origins(node: ast.ImportFrom, own: Sequence[str], *, is_package: bool) -> list[str]:
    """The modules that an import can mean, in a file that is imported as one of `own`."""
    if not node.level:
        return [node.module or ""]
    found = []
    for name in own:
        parts = name.split(".")
        up = node.level - 1 if is_package else node.level
        found.append(".".join([*parts[: len(parts) - up], *([node.module] if node.module else [])]))
    return found


def renamed(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """What a file imports under another name: the name there and the one here."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from ((one.name, one.asname) for one in node.names if one.asname)


def module_names(root: Path, path: str) -> Sequence[tuple[str, str]]:
    """Under which names a file can be imported, with the folder that has to be on sys.path, the likeliest first."""
    parts = list(PurePosixPath(path).with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    if not parts:
        return ()
    first = len(parts) - 1
    while first > 0 and (root.joinpath(*parts[:first]) / "__init__.py").is_file():
        first -= 1
    found = [("/".join(parts[:first]), ".".join(parts[first:]))]
    if first and parts[0] not in ("src", "app", "lib"):
        found.append(("", ".".join(parts)))
    elif first:
        found.append((parts[0], ".".join(parts[1:])) if parts[0] == "src" else ("", ".".join(parts)))
    return tuple(dict.fromkeys(one for one in found if one[1]))
