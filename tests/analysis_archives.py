"""Small repositories as one text each: `-- path --` begins a file; `-- expected --` holds what a scan has to find."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).parent / "analysis"
_MARK = re.compile(r"^-- (.+) --\n", re.MULTILINE)


@dataclass(frozen=True)
class Archive:
    """A repository's files, and the lines expected of a scan: those marked with "?" are not certain."""

    name: str
    files: Mapping[str, bytes]
    expected: tuple[str, ...]
    unresolved: tuple[str, ...]

    def lay_out(self, folder: Path) -> Path:
        """Writes the files below a folder."""
        for path, content in self.files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        return folder


def archive(kind: str, name: str) -> Archive:
    """`analysis/KIND/NAME.txt`."""
    parts = _MARK.split((_HERE / kind / f"{name}.txt").read_text(encoding="utf-8"))
    files = dict(zip(parts[1::2], parts[2::2], strict=True))
    expected = tuple(line for line in files.pop("expected", "").splitlines() if line.strip())
    unresolved = tuple(line for line in files.pop("unresolved", "").splitlines() if line.strip())
    return Archive(name, {path: text.encode() for path, text in files.items()}, expected, unresolved)


def archives(kind: str) -> list[str]:
    """The names of all archives of a kind."""
    return sorted(path.stem for path in (_HERE / kind).glob("*.txt"))


def folder_files(root: Path) -> dict[str, bytes]:
    """The files below a folder by path, without what version control and tools keep there."""
    skipped = {".git", ".venv", "node_modules", "__pycache__", ".pytest_cache"}
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.is_symlink() and not skipped & set(path.relative_to(root).parts)
    }
