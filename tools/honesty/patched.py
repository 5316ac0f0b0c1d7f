"""Whether what a test replaces is the code that it is a test of."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from backend_crew.tools.honesty import javascript_code, python_tests, testpaths
from backend_crew.tools.honesty.testcode import Patch, Test

_HOPS = 4


def module_of(path: str) -> str:
    """A file's dotted path without its ending, the package itself for its index file."""
    found = PurePosixPath(path)
    parts = (*found.parts[:-1], found.name.partition(".")[0])
    return ".".join(parts[:-1] if parts[-1] in ("__init__", "index") else parts)


def calls(test: Test, target: str) -> bool:
    """Whether a test calls a name itself, or one of a module's names where the whole module is replaced."""
    return target in test.calls or any(one.startswith(target + ".") for one in test.calls)


def own_subject(test: Test, modules: frozenset[str]) -> Iterator[Patch]:
    """The names of the repository that a test both replaces and calls."""
    for patch in test.patches:
        if calls(test, patch.target) and is_own(patch.target, modules):
            yield patch


def is_own(target: str, modules: frozenset[str]) -> bool:
    """Whether a dotted name lies in one of the modules, which may be known by a longer path."""
    parts = target.split(".")
    heads = {".".join(parts[:length]) for length in range(1, len(parts) + 1)}
    return any(module in heads or any(module.endswith("." + head) for head in heads) for module in modules)


@dataclass(frozen=True)
class Definitions:
    """What the product code among some files defines: code by module and qualified name, and what it imports."""

    code: Mapping[tuple[str, str], str]
    imports: Mapping[str, Mapping[str, str]]

    @classmethod
    def of(cls, files: Mapping[str, str]) -> "Definitions":
        """Reads the product code among `files`."""
        code: dict[tuple[str, str], str] = {}
        imports: dict[str, Mapping[str, str]] = {}
        for path, text in files.items():
            if not testpaths.is_product_code(path):
                continue
            module = module_of(path)
            if testpaths.is_python(path) and (tree := python_tests.parse(text)) is not None:
                imports[module] = python_tests.imports_of(tree)
                code |= {(module, name): one for name, one in _python(tree.body, "")}
            elif testpaths.is_script(path):
                code |= {(module, name): one for name, one in javascript_code.definitions(path, text)}
                code[module, ""] = text
        return cls(code, imports)

    def find(self, target: str) -> tuple[str, str] | None:
        """The module and qualified name that a dotted target stands for, through re-imports."""
        for _ in range(_HOPS):
            parts = target.split(".")
            for length in range(len(parts), 0, -1):
                head, name = ".".join(parts[:length]), ".".join(parts[length:])
                for module in {one for one, _ in self.code} | set(self.imports):
                    if module != head and not module.endswith("." + head):
                        continue
                    if (module, name) in self.code:
                        return module, name
                    if (further := self.imports.get(module, {}).get(name)) is not None and further != target:
                        target = further
                        break
                else:
                    continue
                break
            else:
                return None
        return None


def changed(target: str, before: Definitions, after: Definitions) -> bool:
    """Whether what a target stands for was there before, and is other code now."""
    place = before.find(target)
    return place is not None and after.code.get(place) != before.code[place]


def _python(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, str]]:
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield prefix + node.name, ast.dump(node)
            if isinstance(node, ast.ClassDef):
                yield from _python(node.body, f"{prefix}{node.name}.")
