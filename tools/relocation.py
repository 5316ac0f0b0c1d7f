"""Commands that run where the copy lies, because nothing can be mounted at the repository's own path."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from backend_crew.tools.engine import Layout


def homes(layout: Layout) -> tuple[Path, Path]:
    """HOME and TMPDIR, in the box's folder."""
    return layout.folder / "home", layout.folder / "tmp"


def prepare(layout: Layout) -> None:
    """Makes HOME and TMPDIR, and a link for each installed folder, to be read where it is."""
    for folder in homes(layout):
        folder.mkdir(mode=0o700)
        _give(folder, layout.user)
    for overlay in layout.overlays:
        place = layout.files / overlay
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(layout.original / overlay)
    # The way to the copy: to be passed, not to be listed.
    layout.folder.chmod(0o711)


def argv(layout: Layout, words: Sequence[str]) -> tuple[str, ...]:
    """The command with paths of the repository turned into those of the copy."""
    return tuple(_moved(layout, word) for word in words)


def variables(layout: Layout, given: Mapping[str, str]) -> dict[str, str]:
    """The environment, with a PYTHONPATH that finds the copy before an editable install finds the original."""
    found = [str(path) for path in dict.fromkeys(_import_roots(layout))]
    if earlier := given.get("PYTHONPATH"):
        found += [_moved(layout, word) for word in earlier.split(os.pathsep)]
    return {**given, "PYTHONPATH": os.pathsep.join(found)} if found else dict(given)


def _moved(layout: Layout, word: str) -> str:
    path = Path(word)
    if not path.is_absolute() or not path.is_relative_to(layout.original):
        return word
    rel = path.relative_to(layout.original)
    if any(rel.is_relative_to(overlay) for overlay in layout.overlays):
        return word
    return str(layout.files / rel)


def _import_roots(layout: Layout) -> Iterator[Path]:
    installed = [*layout.runtime.mounts, *(layout.original / overlay for overlay in layout.overlays)]
    for folder in installed:
        for site in folder.glob("lib/python3.*/site-packages"):
            for file in sorted(site.glob("*.pth")):
                for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
                    path = Path(line.strip())
                    if path.is_absolute() and path.is_relative_to(layout.original):
                        yield layout.files / path.relative_to(layout.original)
            if any(site.glob("__editable__*_finder.py")):
                # Its mapping is code; a source folder or the root is where packages are.
                yield from (layout.files / name for name in ("src", ".") if (layout.files / name).is_dir())


def _give(path: Path, user: int | None) -> None:
    if user is not None:
        os.chown(path, user, user)
