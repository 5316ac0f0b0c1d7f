"""What a careful-looking file tool does: the weak control of the attacks on files."""

from dataclasses import dataclass
from pathlib import Path


class Anything:
    """A scope that allows every path: the door alone has to hold."""

    def check_write(self, path: str, act: str = "") -> None:
        """Allow it."""


@dataclass
class Naive:
    """The weak control: resolves a path, compares it with the root, looks at its name, and opens it by name."""

    root: Path
    denied: tuple[str, ...] = (".env", ".git")

    def _checked(self, path: str) -> Path:
        target = (self.root / path).resolve()
        if not target.is_relative_to(self.root.resolve()) or path.partition("/")[0] in self.denied:
            raise PermissionError(path)
        return self.root / path

    def read(self, path: str) -> bytes:
        """Read it when it looks as if it were inside."""
        return self._checked(path).read_bytes()

    def write(self, path: str, text: str) -> None:
        """Write it when it looks as if it were inside."""
        target = self._checked(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
