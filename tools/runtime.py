"""What a repository needs mounted to run its own code, found by reading files and links, never by executing."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from backend_crew.tools.errors import ToolFault

_VENV_NAMES = (".venv", "venv", "env")
_PYTHON_MARKERS = ("pyproject.toml", "setup.py", "setup.cfg", "requirements.txt", "Pipfile", "manage.py", "tox.ini")
_DEPENDENCY_GLOBS = ("node_modules", "*/node_modules", "packages/*/node_modules", "apps/*/node_modules", "vendor")
_SYSTEM_PYTHONS = (Path("/usr/local/bin/python3"), Path("/usr/bin/python3"))
# The sandbox always mounts these, so nothing below them needs a mount of its own.
_SYSTEM_PREFIXES = tuple(Path(name) for name in ("/usr", "/bin", "/sbin", "/lib", "/lib64"))
_NEVER_WHOLE = frozenset(
    Path(name) for name in ("/", "/etc", "/home", "/mnt", "/media", "/opt", "/root", "/run", "/srv", "/tmp", "/var")
)
_HOME_MARKERS = (".ssh", ".bashrc", ".profile", ".zshrc", ".bash_history", ".gitconfig", ".aws")
_MAX_LINKS = 40


@dataclass(frozen=True)
class Runtime:
    """How to run a repository's code: host paths to mount read-only, and what to put over the copy of its tree."""

    kind: str  # "python", "node" or "other"
    # Absolute host paths, mounted read-only at the same path.
    mounts: tuple[Path, ...] = ()
    # Repository-relative folders of installed dependencies, bound read-only over the copy.
    overlays: tuple[str, ...] = ()
    python: Path | None = None
    # Folders for the front of PATH.
    path: tuple[Path, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)


def find_runtime(
    root: Path, *, python: Path | None = None, virtual_env: Path | None = None, node: Path | None = None
) -> Runtime:
    """The runtime of the repository at `root`; an explicit interpreter or virtual environment wins over what is found.

    Raises ToolFault when a named or found environment is broken: no interpreter behind its links, or a shim script.
    """
    root = Path(os.path.abspath(root))  # noqa: PTH100  # resolve() would follow links, and the path itself matters
    venv = _find_venv(root, python, virtual_env)
    dependencies = tuple(_dependency_folders(root))
    mounts: list[Path] = []
    overlays = [path.relative_to(root).as_posix() for path in dependencies]
    path: list[Path] = []
    env: dict[str, str] = {}
    if venv is not None:
        python = _venv_python(venv)
        mounts += _venv_mounts(venv, python, root)
        env["VIRTUAL_ENV"] = str(venv)
        # A linked environment is entered under both names: its scripts name the place where it was made.
        mounts += [venv, venv.resolve()]
    elif python is not None:
        python = Path(os.path.abspath(python))  # noqa: PTH100  # as above
        mounts += _interpreter_mounts(python, root)
    elif any((root / name).exists() for name in _PYTHON_MARKERS):
        python = next((candidate for candidate in _SYSTEM_PYTHONS if candidate.exists()), None)
    if python is not None:
        path.append(python.parent)
    if node is not None:
        mounts += _node_mounts(node)
        path.append(node.parent)
    path += [folder / ".bin" for folder in dependencies if (folder / ".bin").is_dir()]
    # The copy of the tree will lie over whatever is mounted below the repository.
    overlays += [mount.relative_to(root).as_posix() for mount in mounts if mount.is_relative_to(root)]
    return Runtime(
        kind=_kind(root, python),
        mounts=_outermost([mount for mount in mounts if not mount.is_relative_to(root)]),
        overlays=tuple(sorted(set(overlays))),
        python=python,
        path=tuple(dict.fromkeys(path)),
        env=env,
    )


def find_node(root: Path, search: str) -> Path | None:
    """The first usable `node` on the PATH `search` for a repository with a package.json; None for any other.

    Shims and installations that share their folder with other things (a home) are passed over.
    """
    if not (root / "package.json").is_file():
        return None
    for folder in search.split(os.pathsep):
        node = Path(folder) / "node"
        if not (node.is_absolute() and os.access(node, os.X_OK)) or node.is_relative_to(root):
            continue
        try:
            _node_mounts(node)
        except ToolFault:
            continue
        return node
    return None


def _kind(root: Path, python: Path | None) -> str:
    if python is not None:
        return "python"
    return "node" if (root / "package.json").is_file() else "other"


def _find_venv(root: Path, python: Path | None, virtual_env: Path | None) -> Path | None:
    if virtual_env is not None:
        venv = Path(os.path.abspath(virtual_env))  # noqa: PTH100  # as above
        if not _is_venv(venv):
            raise ToolFault(f"{venv} is not a virtual environment (it has no pyvenv.cfg). Name another one.")
        return venv
    if python is not None:
        prefix = Path(os.path.abspath(python)).parent.parent  # noqa: PTH100  # as above
        return prefix if _is_venv(prefix) else None
    for name in _VENV_NAMES:
        if _is_venv(root / name):
            return root / name
    nested = [path for path in sorted(root.glob("*/.venv")) if _is_venv(path) and not path.is_symlink()]
    # With several, which one a command means is a guess; the caller names it.
    return nested[0] if len(nested) == 1 else None


def _is_venv(folder: Path) -> bool:
    return (folder / "pyvenv.cfg").is_file() and _has_library(folder)


def _dependency_folders(root: Path) -> Iterator[Path]:
    for pattern in _DEPENDENCY_GLOBS:
        for folder in sorted(root.glob(pattern)):
            # A link could point at anything, the whole disk included: only a real folder is bound.
            if folder.is_dir() and not folder.is_symlink() and not folder.parent.is_symlink():
                yield folder


def _venv_python(venv: Path) -> Path:
    for name in ("python", "python3"):
        if os.path.lexists(venv / "bin" / name):
            return venv / "bin" / name
    raise ToolFault(f"The virtual environment {venv} has no bin/python. Create it again.")


def _venv_mounts(venv: Path, python: Path, root: Path) -> tuple[Path, ...]:
    if _is_too_wide(venv, root):
        raise ToolFault(f"{venv} holds more than a virtual environment (a home or the repository). Name another one.")
    home = _home_of(venv)
    if not home.is_dir():
        raise ToolFault(f"{venv}/pyvenv.cfg names {home}, which does not exist. Create the environment again.")
    base = (home.parent, home.resolve().parent)
    return (*_interpreter_mounts(python, root), *(mount for prefix in base for mount in _prefix_mounts(prefix, root)))


def _home_of(venv: Path) -> Path:
    for line in (venv / "pyvenv.cfg").read_text(encoding="utf-8", errors="replace").splitlines():
        key, _, value = line.partition("=")
        if key.strip().lower() == "home" and Path(value.strip()).is_absolute():
            return Path(value.strip())
    raise ToolFault(f"{venv}/pyvenv.cfg has no absolute 'home ='. Create the environment again.")


def _interpreter_mounts(python: Path, root: Path) -> tuple[Path, ...]:
    """Mounts for every place that the links of `python` pass through; ToolFault when no binary is behind them."""
    hops = tuple(_hops(python))
    final = python.resolve()
    if not _is_elf(final):
        raise ToolFault(
            f"{python} leads to {final}, which is not an interpreter binary (missing, or a shim script). "
            "Name the real interpreter, or create the virtual environment again."
        )
    found = list(_prefix_mounts(final.parent.parent, root))
    for hop in hops:
        prefix = hop.parent.parent
        if _is_venv(prefix) or any(hop.is_relative_to(system) for system in _SYSTEM_PREFIXES):
            continue
        # A link that lies alone (in ~/.local/bin, say) is mounted alone: it leads to the binary checked above.
        found += _prefix_mounts(prefix, root) if _has_library(prefix) else (hop,)
    return tuple(found)


def _hops(path: Path) -> Iterator[Path]:
    for _ in range(_MAX_LINKS):
        yield path
        if not path.is_symlink():
            return
        path = Path(os.path.normpath(path.parent / path.readlink()))
    raise ToolFault(f"{path} is behind more than {_MAX_LINKS} links. Correct the links.")


def _prefix_mounts(prefix: Path, root: Path) -> tuple[Path, ...]:
    """The prefix itself; only its interpreter and library where the prefix is a home or contains the repository."""
    if any(prefix.is_relative_to(system) for system in _SYSTEM_PREFIXES) or prefix == Path("/"):
        return ()
    if not _has_library(prefix):
        # A link can be made to point anywhere (at a private key, say): only a Python installation is worth a mount.
        raise ToolFault(f"{prefix} is not a Python installation (no lib/python3.*). Create the environment again.")
    if not _is_too_wide(prefix, root):
        return (prefix,)
    binaries = (path for path in sorted((prefix / "bin").glob("python3*")) if _is_elf(path.resolve()))
    return (*binaries, *sorted((prefix / "lib").glob("libpython3*")), *sorted((prefix / "lib").glob("python3.*")))


def _node_mounts(node: Path) -> tuple[Path, ...]:
    prefixes = (node.parent.parent, node.resolve().parent.parent)
    if not _is_elf(node.resolve()):
        raise ToolFault(f"{node} is not a Node.js binary (missing, or a shim script). Name the real one.")
    outside = [path for path in prefixes if not any(path.is_relative_to(system) for system in _SYSTEM_PREFIXES)]
    for prefix in outside:
        if _is_too_wide(prefix, prefix) or not (prefix / "lib" / "node_modules").is_dir():
            raise ToolFault(f"{prefix} is not a Node.js installation of its own. Name the binary of one.")
    return tuple(outside)


def _has_library(prefix: Path) -> bool:
    return any(path.is_dir() for folder in ("lib", "lib64") for path in (prefix / folder).glob("python3.*"))


def _is_too_wide(prefix: Path, root: Path) -> bool:
    real = prefix.resolve()
    home = (
        real.parent == Path("/home") or real.name == ".local" or any((real / name).exists() for name in _HOME_MARKERS)
    )
    contains = root != prefix and root.resolve().is_relative_to(real)
    return real in _NEVER_WHOLE or home or contains


def _is_elf(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == b"\x7fELF"
    except OSError:
        return False


def _outermost(paths: list[Path]) -> tuple[Path, ...]:
    unique = sorted(set(paths))
    return tuple(path for path in unique if not any(path != other and path.is_relative_to(other) for other in unique))
