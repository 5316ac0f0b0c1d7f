"""Which files of a repository an import means; an import of a library means none."""

import posixpath
from collections.abc import Iterable, Iterator, Sequence

_JS_TAILS = (
    ".ts",
    ".tsx",
    ".js",
    ".jsx",
    ".mjs",
    ".cjs",
    ".mts",
    "/index.ts",
    "/index.tsx",
    "/index.js",
    "/index.jsx",
    "",
)
_PYTHON_MARKS = frozenset(
    {"pyproject.toml", "setup.py", "setup.cfg", "manage.py", "requirements.txt", "Pipfile", "src"}
)
_MOST_TARGETS = 30


class Resolver:
    """Finds the files behind the imports of each language, in one repository, by paths alone."""

    def __init__(self, paths: Sequence[str], modules: Iterable[tuple[str, str]] = ()) -> None:
        """`paths` are the files of code; `modules` the Go modules as (module, folder)."""
        self._numbers = {path: number for number, path in enumerate(paths)}
        self._go = sorted(((name, folder) for name, folder in modules), key=lambda one: -len(one[0]))
        self._roots = _python_roots(paths)
        self._starts: dict[str, list[str]] = {}
        self._by_name: dict[str, list[int]] = {}
        self._by_folder: dict[str, list[int]] = {}
        for number, path in enumerate(paths):
            folder, _, name = path.rpartition("/")
            self._by_name.setdefault(name.lower(), []).append(number)
            if name.endswith(".go") and not name.endswith("_test.go"):
                self._by_folder.setdefault(folder, []).append(number)
        self._lower = [path.lower() for path in paths]
        self._known: dict[tuple[str, str, str], Sequence[int]] = {}

    def targets(self, path: str, language: str, name: str) -> Sequence[int]:
        """The numbers of the files that an import in `path` means, as they stand in `paths`."""
        key = (path.rpartition("/")[0], language, name)
        if key not in self._known:
            self._known[key] = self._look(*key)
        return self._known[key]

    def _look(self, folder: str, language: str, name: str) -> Sequence[int]:
        if language == "Python":
            return self._python(folder, name)
        if language == "Go":
            return self._go_files(name)
        if language == "Java":
            return self._ending(name.replace(".", "/") + ".java")
        if language == "PHP":
            return self._ending(name.replace("\\", "/") + ".php")
        if language == "Ruby":
            return self._first(
                [posixpath.normpath(f"{folder}/{name}.rb")] if name.startswith(".") else [f"lib/{name}.rb"]
            )
        return self._first(self._javascript(folder, name))

    def _first(self, candidates: Iterable[str]) -> Sequence[int]:
        return next(((self._numbers[one],) for one in candidates if one in self._numbers), ())

    def _python(self, folder: str, name: str) -> Sequence[int]:
        module, _, attribute = name.partition(":")
        level = len(module) - len(module.lstrip("."))
        inner = module.lstrip(".").replace(".", "/")
        if level:
            parts = folder.split("/") if folder else []
            above = parts[: len(parts) - (level - 1)]
            starts: Iterable[str] = ["/".join(above)] if level - 1 <= len(parts) else []
        else:
            # The root nearest to the importing file first: a monorepo has several.
            if folder not in self._starts:
                self._starts[folder] = [root for root in self._roots if not root or f"{folder}/".startswith(f"{root}/")]
            starts = self._starts[folder]
        for start in starts:
            whole = posixpath.join(start, inner) if inner else start
            tries = [f"{whole}/{attribute}.py", f"{whole}/{attribute}/__init__.py"] if attribute else []
            if found := self._first([*tries, f"{whole}.py", f"{whole}/__init__.py"]):
                return found
        return ()

    def _javascript(self, folder: str, name: str) -> Iterator[str]:
        if name.startswith("."):
            bases = [posixpath.normpath(posixpath.join(folder, name))]
        elif name.startswith(("@/", "~/", "src/")):
            # The usual aliases for the sources of the package at hand.
            inner, up = name.partition("/")[2], folder.split("/")
            bases = [posixpath.join("/".join(up[:depth]), "src", inner) for depth in range(len(up), -1, -1)]
        else:
            return
        for base in bases:
            stems = [base, base[:-3]] if base.endswith(".js") else [base]  # TypeScript's ESM names .js for a .ts
            yield from (stem + tail for stem in stems for tail in _JS_TAILS)

    def _go_files(self, name: str) -> Sequence[int]:
        for module, folder in self._go:
            if name == module or name.startswith(f"{module}/"):
                inner = posixpath.join(folder, name[len(module) + 1 :]).rstrip("/")
                return self._by_folder.get(inner, [])[:_MOST_TARGETS]
        return ()

    def _ending(self, tail: str) -> Sequence[int]:
        """Files whose path ends so; for PHP the first folder of a namespace often has another name."""
        parts = tail.lower().split("/")
        near = self._by_name.get(parts[-1], [])
        for kept in (parts, parts[1:]) if len(parts) > 2 else (parts,):
            ending = "/" + "/".join(kept)
            if found := [number for number in near if f"/{self._lower[number]}".endswith(ending)]:
                return found[:_MOST_TARGETS]
        return ()


def _python_roots(paths: Sequence[str]) -> list[str]:
    """Folders that imports start from: the top, those with a manifest, and those above a package; deepest first."""
    packages = {path.rpartition("/")[0] for path in paths if path.endswith("__init__.py")}
    roots = {"", "src"}
    for path in paths:
        folder, _, name = path.rpartition("/")
        if name in _PYTHON_MARKS:
            roots |= {folder, posixpath.join(folder, "src")}
    for package in packages:
        above = package.rpartition("/")[0]
        if package and above not in packages:
            roots.add(above)
    return sorted(roots, key=lambda root: (-root.count("/") - bool(root), root))
