"""A repository as readings of its source share it: its files and what was parsed of them."""

from collections.abc import Mapping
from functools import cached_property

from backend_crew.tools.static.javascript import JavaScript
from backend_crew.tools.static.python_modules import Python
from backend_crew.tools.static.python_values import Values
from backend_crew.tools.static.sources import Sources


class Project:
    """One repository; each file is parsed once, whoever asks."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.sources = Sources(files)

    @cached_property
    def python(self) -> Values:
        """Its Python files."""
        return Values(Python(self.sources))

    @cached_property
    def javascript(self) -> JavaScript:
        """Its files of JavaScript and TypeScript."""
        return JavaScript(self.sources)
