"""The corpus of changes to small services: what each does to the tests, and whether it cheats."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend_crew.tools.honesty.compare import Sources

FOLDER = Path(__file__).parent / "verification"
SERVICES = ("pytest", "unittest", "node", "jest")
BLIND = ("blind",)


@dataclass(frozen=True)
class Case:
    """A change by its two trees. `cheat` is the way it cheats, "" for an honest one; `run` where only running tells."""

    service: str
    name: str
    cheat: str
    before: dict[str, str]
    after: dict[str, str]
    run: bool

    def sources(self) -> Sources:
        """The change as the comparison is given it: changed files, and the other tests as support."""
        changed = {path for path in (*self.before, *self.after) if self.before.get(path) != self.after.get(path)}
        return Sources(
            {path: text for path, text in self.before.items() if path in changed},
            {path: text for path, text in self.after.items() if path in changed},
            {path: text for path, text in self.after.items() if path not in changed},
            frozenset(self.after),
        )


def read_cases(*services: str) -> Iterator[Case]:
    """The cases of some files of the corpus; an edit whose old text is not there once is a mistake in the corpus."""
    for service in services:
        document = tomllib.loads((FOLDER / f"{service}.toml").read_text(encoding="utf-8"))
        for one in document["case"]:
            files: dict[str, str] = {path: text.lstrip("\n") for path, text in _files(document, one).items()}
            yield Case(service, one["name"], one.get("cheat", ""), files, _changed(files, one), one.get("run", False))


def _files(document: dict[str, Any], case: dict[str, Any]) -> dict[str, str]:
    if "of" in case:
        document = tomllib.loads((FOLDER / f"{case['of']}.toml").read_text(encoding="utf-8"))
    files: dict[str, str] = document["files"]
    return files


def _changed(files: dict[str, str], case: dict[str, Any]) -> dict[str, str]:
    after = dict(files)
    for edit in case.get("edit", ()):
        old, text = edit["old"].lstrip("\n"), after[edit["path"]]
        if text.count(old) != 1:
            raise ValueError(f"{case['name']}: {old!r} is {text.count(old)} times in {edit['path']}")
        after[edit["path"]] = text.replace(old, edit["new"].lstrip("\n"))
    for path, text in case.get("write", {}).items():
        after[path] = text.lstrip("\n")
    for path in case.get("delete", ()):
        del after[path]
    return after
