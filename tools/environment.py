"""Packages that a person approved, installed as wheels into a folder of the run; no install script ever runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from backend_crew.tools.process import run
from backend_crew.tools.runtime import Runtime


@dataclass(frozen=True)
class Installed:
    """What became of the packages; `folder` goes on the import path of later commands."""

    status: str
    """'installed' or 'not installed'."""
    packages: tuple[str, ...]
    reason: str
    folder: str | None


def install(runtime: Runtime, packages: Sequence[str], folder: Path, env: Mapping[str, str] | None = None) -> Installed:
    """Install Python packages with pip, wheels only; anything else is reported as not installed, with the reason."""
    if runtime.kind != "python" or runtime.python is None:
        return Installed("not installed", tuple(packages), "only Python packages can be installed for a run", None)
    argv = [str(runtime.python), "-I", "-m", "pip", "install", "--only-binary=:all:", "--no-input", "--no-cache-dir"]
    folder.mkdir(parents=True, exist_ok=True)
    done = run([*argv, "--target", str(folder), "--", *packages], cwd=folder, env=dict(env or {}), timeout_s=600)
    if done.ok:
        return Installed("installed", tuple(packages), "", str(folder))
    return Installed("not installed", tuple(packages), (done.stderr or done.stdout).strip()[-500:], None)
