"""The apps of a Django repository: which label and which kind of implicit key the models of a file have."""

import ast
from pathlib import PurePosixPath

from backend_crew.tools.static.python_modules import Block
from backend_crew.tools.static.python_values import Values

_AUTO = "AutoField"  # where the settings name none, before Django 6


class Apps:
    """Reads labels from apps.py and folders, and what the settings say of keys and users."""

    def __init__(self, values: Values) -> None:
        self._values = values
        self._folders: dict[str, tuple[str, str]] = {}
        settings = [path for path in sorted(values.python.sources.paths) if _is_settings(path)]
        self._auto = self._setting(settings, "DEFAULT_AUTO_FIELD").rpartition(".")[2] or _AUTO
        self.user = self._setting(settings, "AUTH_USER_MODEL") or "auth.User"

    def _setting(self, paths: list[str], name: str) -> str:
        for path in paths:
            if name.encode() not in self._values.python.sources.read(path):
                continue
            module = self._values.python.module(path)
            for binding in module.block.bindings.get(name, ()) if module is not None else ():
                text = (
                    self._values.text(binding.to, module.block) if isinstance(binding.to, ast.expr) and module else None
                )
                if text is not None:
                    return text.value
        return ""

    def of(self, path: str) -> tuple[str, str]:
        """The label of the app that a file belongs to, and the class of its implicit keys."""
        folder = self._folder(path)
        if folder not in self._folders:
            self._folders[folder] = self._read(folder)
        return self._folders[folder]

    def _folder(self, path: str) -> str:
        place = PurePosixPath(path).parent
        if "models" in place.parts:
            place = PurePosixPath(*place.parts[: len(place.parts) - 1 - place.parts[::-1].index("models")])
        for one in (place, *list(place.parents)[:2]):
            if f"{one}/apps.py".removeprefix("./") in self._values.python.sources.paths:
                return str(one)
        return str(place)

    def _read(self, folder: str) -> tuple[str, str]:
        name = PurePosixPath(folder).name
        module = self._values.python.module(f"{folder}/apps.py".removeprefix("./"))
        label, auto = name, self._auto
        for event in module.classes if module is not None else ():
            body = self._values.body(self._values.class_of(event))
            label = self._text(body, "label") or label
            auto = self._text(body, "default_auto_field").rpartition(".")[2] or auto
        return label, auto

    def _text(self, body: Block, name: str) -> str:
        found = body.bindings.get(name, ())
        text = self._values.text(found[-1].to, body) if found and isinstance(found[-1].to, ast.expr) else None
        return text.value if text is not None else ""


def _is_settings(path: str) -> bool:
    return path.endswith(".py") and ("settings" in path or path.endswith("config/base.py"))
