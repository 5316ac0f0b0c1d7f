"""How git is called: found by absolute path, with our configuration only, as the owner of what it touches."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from backend_crew.tools import process
from backend_crew.tools.errors import ToolFault

NAME = "backend-crew"
EMAIL = "backend-crew@localhost"
_OUTPUT_LIMIT = 64_000_000
# Everything in a repository's own configuration that makes git run a program or clean up behind our back.
_HARDENED = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    # The repository may set it to a command that git runs for its alternates; an empty one is an error.
    "core.alternateRefsCommand=:",
    "core.attributesFile=/dev/null",
    "core.pager=cat",
    "commit.gpgsign=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "submodule.recurse=false",
    "diff.ignoreSubmodules=all",
)
_GLOBAL = f"""[user]
\tname = {NAME}
\temail = {EMAIL}
[safe]
\tdirectory = *
[init]
\tdefaultBranch = main
[advice]
\tdetachedHead = false
"""


@dataclass(frozen=True)
class Owner:
    """The user and group that git has to run as."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Git:
    """One way to call git: which program, on which git directory and tree, as whom (None = as we are)."""

    program: Path
    git_dir: Path | None = None
    tree: Path | None = None
    owner: Owner | None = None
    settings: Mapping[str, str] = field(default_factory=dict)

    def run(
        self,
        *arguments: str,
        cwd: Path,
        stdin: bytes | None = None,
        index: Path | None = None,
        ok: tuple[int, ...] = (0,),
        timeout_s: float = 300,
    ) -> process.Completed:
        """Run git; raises ToolFault with git's words when the exit code is not in `ok` (empty = any), or cut short."""
        with _global_config() as config:
            env = environment(config, str(self.program.parent))
            if index is not None:
                env["GIT_INDEX_FILE"] = str(index)
            argv = [*as_owner(self.owner), str(self.program), *self._flags(), *arguments]
            done = process.run(argv, cwd=cwd, env=env, stdin=stdin, timeout_s=timeout_s, output_limit=_OUTPUT_LIMIT)
        if done.exit_code is None or done.truncated:
            cause = "wrote more than we can hold" if done.truncated else f"took longer than {timeout_s:.0f} s"
            raise ToolFault(f"git {arguments[0]} in {cwd} {cause}.")
        if ok and done.exit_code not in ok:
            words = (done.stderr.strip() or done.stdout.strip())[-2_000:]
            raise ToolFault(f"git {arguments[0]} in {cwd} failed with exit code {done.exit_code}: {words}")
        return done

    def line(self, *arguments: str, cwd: Path) -> str:
        """Run git and give its output without the line end."""
        return self.run(*arguments, cwd=cwd).stdout.rstrip("\n")

    def read(self, path: Path) -> bytes:
        """Read a file as the owner would; b"" when it is missing or they may not read it."""
        argv = [*as_owner(self.owner), "cat", "--", str(path)]
        done = process.run(argv, cwd=Path("/"), env={"PATH": process.SEARCH_PATH}, output_limit=_OUTPUT_LIMIT * 8)
        if done.truncated:
            raise ToolFault(f"{path} is too large to be read.")
        return done.raw if done.ok else b""

    def _flags(self) -> Iterator[str]:
        yield from ("--no-pager", "--literal-pathspecs")
        for setting in _HARDENED:
            yield from ("-c", setting)
        for name, value in self.settings.items():
            yield from ("-c", f"{name}={value}")
        if self.git_dir is not None:
            yield f"--git-dir={self.git_dir}"
        if self.tree is not None:
            yield from (f"--work-tree={self.tree}", "-c", "core.bare=false")


def find_git(search_path: str = process.SEARCH_PATH, *, outside: Path | None = None) -> Path:
    """Find git in a PATH string; relative entries and those inside `outside` (the repository) are passed over.

    Raises ToolFault when there is none.
    """
    for entry in search_path.split(os.pathsep):
        folder = Path(entry)
        if not folder.is_absolute() or (outside is not None and folder.resolve().is_relative_to(outside.resolve())):
            continue
        if (found := shutil.which("git", path=entry)) is not None:
            return Path(found)
    raise ToolFault(f"git was not found in {search_path}: install git 2.30 or later.")


def owner_of(path: Path) -> Owner | None:
    """Give whom git has to run as for a path: its owner when we are root and it is not ours, else None."""
    facts = path.lstat()
    return None if os.geteuid() != 0 or facts.st_uid == 0 else Owner(facts.st_uid, facts.st_gid)


def as_owner(owner: Owner | None) -> tuple[str, ...]:
    """Give the words that run a command as that user without any other group; raises ToolFault without setpriv."""
    if owner is None:
        return ()
    setpriv = shutil.which("setpriv", path=f"{process.SEARCH_PATH}:/usr/sbin:/sbin")
    if setpriv is None:
        raise ToolFault("setpriv (util-linux) was not found: run as the repository's owner instead of as root.")
    return (setpriv, f"--reuid={owner.uid}", f"--regid={owner.gid}", "--clear-groups", "--")


def environment(config: Path, program_folder: str) -> dict[str, str]:
    """Give the whole environment of a git command whose global configuration is the file `config`."""
    return {
        "PATH": f"{program_folder}:{process.SEARCH_PATH}",
        "HOME": "/nonexistent",
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_GLOBAL": str(config),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": "file",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_NO_LAZY_FETCH": "1",
    }


@contextmanager
def scratch() -> Iterator[Path]:
    """Make a private folder for one call and remove it afterwards."""
    with tempfile.TemporaryDirectory(prefix="backend-crew-") as made:
        yield Path(made).resolve()


def give(folder: Path, owner: Owner | None) -> None:
    """Hand a finished private folder to that user; its own door opens last, so that nobody meddles meanwhile."""
    if owner is None:
        return
    for inner, _, files in os.walk(folder, topdown=False):
        for path in (*(Path(inner, name) for name in files), Path(inner)):
            os.chown(path, owner.uid, owner.gid, follow_symlinks=False)


@contextmanager
def _global_config() -> Iterator[Path]:
    # A file, because git clears `-c` settings for the processes that it starts in another repository.
    with tempfile.TemporaryDirectory(prefix="backend-crew-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        config = folder / "gitconfig"
        config.write_text(_GLOBAL)
        config.chmod(0o644)
        yield config
