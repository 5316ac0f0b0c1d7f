"""The person's repository, read without a trace; our private clone of it; and the one write: publishing a branch."""

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from backend_crew.tools import process
from backend_crew.tools.deny import is_write_denied
from backend_crew.tools.errors import ToolFault, ToolRefused, ToolRetry
from backend_crew.tools.gitcall import Git, as_owner, find_git, give, owner_of, scratch
from backend_crew.tools.workspace import MissingPathError, clean_path, open_parent, read_file, replace_file

DIRTY_MESSAGE = "Uncommitted work included by the person"
_DIRTY_FILE_LIMIT = 50_000_000
_HEX = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
# Settings of the repository that decide which bytes a file has; none of them can name a program.
_BYTE_SETTINGS = ("core.autocrlf", "core.eol", "core.filemode", "core.symlinks", "core.ignorecase")
_POINTER = "version https://git-lfs.github.com/spec/"
_SUBMODULE = "160000"


@dataclass(frozen=True)
class Repository:
    """The person's repository as it was looked at."""

    root: Path
    head: str
    branch: str | None
    git: Path = Path("/usr/bin/git")

    @cached_property
    def dirty(self) -> tuple[str, ...]:
        """Changed and untracked files, ignored ones left out; looked for once, when they are first asked for."""
        return _dirty(Git(self.git, owner=owner_of(self.root / ".git")), self.root, self.head)


@dataclass(frozen=True)
class Clone:
    """Our bare clone and a plain tree of its HEAD; `base` is the commit that the work starts from."""

    git_dir: Path
    tree: Path
    base: str
    git: Path = Path("/usr/bin/git")


@dataclass(frozen=True)
class Change:
    """One changed file; added and removed count lines, 0 for a binary file."""

    path: str
    status: str
    added: int
    removed: int


def inspect(path: Path, *, search_path: str = process.SEARCH_PATH) -> Repository:
    """Look at the repository that holds `path`, as its owner, changing nothing.

    Raises ToolRefused when it is no folder, no git repository, bare, without commits, or a partial clone.
    """
    if not path.is_dir():
        raise ToolRefused(f"{path} is not a folder: name the folder of a git repository.")
    path = path.resolve()
    program = find_git(search_path, outside=path)
    root = _toplevel(Git(program, owner=owner_of(path)), path)
    git = Git(find_git(search_path, outside=root), owner=owner_of(root / ".git"))
    commit = git.run("rev-parse", "--verify", "-q", "HEAD^{commit}", cwd=root, ok=())
    if not commit.ok:
        raise ToolRefused(f"{root} has no commits yet: commit something first.")
    partial = git.run(
        "config", "--get-regexp", r"^(remote\..*\.promisor|extensions\.partialclone)$", cwd=root, ok=(0, 1)
    )
    if partial.stdout.strip():
        raise ToolRefused(f"{root} is a partial clone, its objects are incomplete: clone it without --filter.")
    branch = git.run("symbolic-ref", "-q", "--short", "HEAD", cwd=root, ok=(0, 1)).stdout.strip()
    return Repository(root, commit.stdout.strip(), branch or None, git.program)


def clone(repository: Repository, into: Path, *, include_dirty: bool, denied: Callable[[str], bool]) -> Clone:
    """Make a private clone and tree in the folder `into`; uncommitted files become a commit, but no denied one.

    Raises ToolRefused when `into` is not empty, the repository moved on, or a dirty file cannot be taken.
    """
    into.mkdir(mode=0o700, parents=True, exist_ok=True)
    into = into.resolve()
    if any(into.iterdir()):
        raise ToolRefused(f"{into} is not empty: a clone needs a new folder.")
    git_dir, tree = into / "repository.git", into / "tree"
    _clone_bare(repository, git_dir)
    tree.mkdir(mode=0o755)
    made = Clone(git_dir, tree, repository.head, repository.git)
    git = _git(made)
    if not git.run("cat-file", "-e", f"{repository.head}^{{commit}}", cwd=tree, ok=()).ok:
        raise ToolRefused(f"{repository.root} changed while it was read: start again.")
    git.run("update-ref", "--no-deref", "HEAD", repository.head, cwd=tree)
    _copy_settings(repository, made)
    reset(made, repository.head)
    if not include_dirty or not repository.dirty:
        return made
    _take_dirty(repository, made, denied)
    # The person may include CI files of their own: only agents are held to is_write_denied.
    base = _commit_tree(made, _snapshot(made, denied=denied), DIRTY_MESSAGE)
    return Clone(git_dir, tree, base, repository.git)


def open_clone(folder: Path, base: str, *, search_path: str = process.SEARCH_PATH) -> Clone:
    """Open the clone that `clone` made in the folder; raises ToolFault when it is not there any more."""
    folder = folder.resolve()
    made = Clone(folder / "repository.git", folder / "tree", base, find_git(search_path, outside=folder))
    if not made.git_dir.is_dir() or not made.tree.is_dir():
        raise ToolFault(f"the clone in {folder} is gone: discard this run and start another.")
    _git(made).run("cat-file", "-e", f"{_sha(base)}^{{commit}}", cwd=made.tree)
    return made


def commit(clone: Clone, message: str, *, trailers: Mapping[str, str] | None = None) -> str:
    """Commit everything in the tree but write-denied paths; give its sha, or HEAD's when nothing changed."""
    text = message.strip()
    if not text or "\0" in text:
        raise ToolRetry("a commit needs a message without NUL characters.")
    for name, value in (trailers or {}).items():
        if not re.fullmatch(r"[A-Za-z0-9-]+", name) or not value.isprintable():
            raise ToolRetry(f"{name!r}: {value!r} is no trailer: use letters, digits and '-', and one line of text.")
    closing = "\n".join(f"{name}: {value}" for name, value in (trailers or {}).items())
    return _commit_tree(clone, _snapshot(clone), f"{text}\n\n{closing}" if closing else text)


def head(clone: Clone) -> str:
    """Give the sha of the clone's last commit."""
    return _git(clone).line("rev-parse", "--verify", "HEAD", cwd=clone.tree)


def tree_id(clone: Clone, sha: str) -> str:
    """Give the id of a commit's tree: equal files give equal ids, whoever committed them when."""
    return _git(clone).line("rev-parse", "--verify", f"{_sha(sha)}^{{tree}}", cwd=clone.tree)


def reset(clone: Clone, sha: str) -> None:
    """Make tree and index exactly that commit; what is not tracked is removed, ignored files too."""
    git = _git(clone)
    git.run("reset", "--quiet", "--hard", _sha(sha), cwd=clone.tree)
    git.run("clean", "-ffdxq", cwd=clone.tree)


def export(clone: Clone, sha: str, folder: Path) -> None:
    """Write a commit's files into the new folder `folder`, from the objects alone: the tree may hold others by now."""
    folder.mkdir(mode=0o700)
    with scratch() as private:
        flags = ("--reset", "-u", "--quiet")
        replace(_git(clone), tree=folder).run("read-tree", *flags, _sha(sha), cwd=folder, index=private / "index")


def changes(clone: Clone, old: str, new: str | None = None) -> tuple[Change, ...]:
    """Name what changed between two commits, or between one and the tree as it is; write-denied paths left out."""
    ends = (_sha(old), _sha(new) if new else tree_now(clone))
    compare = ("diff-tree", "-r", "-z", "--no-renames", "--no-ext-diff", "--no-textconv")
    git = _git(clone)
    words = git.run(*compare, "--name-status", *ends, cwd=clone.tree).stdout.split("\0")[:-1]
    kinds = {"A": "added", "D": "deleted"}
    statuses = {path: kinds.get(letter, "modified") for letter, path in zip(words[::2], words[1::2], strict=True)}
    counts: dict[str, tuple[int, int]] = {}
    for line in git.run(*compare, "--numstat", *ends, cwd=clone.tree).stdout.split("\0")[:-1]:
        added, removed, path = line.split("\t", 2)
        counts[path] = (0, 0) if added == "-" else (int(added), int(removed))
    return tuple(Change(path, status, *counts.get(path, (0, 0))) for path, status in sorted(statuses.items()))


def diff(clone: Clone, old: str, new: str | None = None, *, paths: Sequence[str] = (), limit: int = 60_000) -> str:
    """Give the patch between two commits, or one and the tree, `limit` characters at most; a cut is said."""
    ends = (_sha(old), _sha(new) if new else tree_now(clone))
    flags = ("-r", "-p", "--no-renames", "--no-ext-diff", "--no-textconv", "--no-color")
    text = _git(clone).run("diff-tree", *flags, *ends, "--", *paths, cwd=clone.tree).stdout
    if len(text) <= limit:
        return text
    kept = text[: text.rfind("\n", 0, limit) + 1]  # whole lines: half a line could be half a secret
    return f"{kept}\n[the diff is cut here: {limit:,} of {len(text):,} characters are shown]\n"


def show(clone: Clone, sha: str, path: str) -> bytes | None:
    """Give a file's bytes at a commit; None when there is no file of that name."""
    entry = _git(clone).run("ls-tree", "-z", _sha(sha), "--", clean_path(path), cwd=clone.tree).stdout
    if not entry.startswith("100"):
        return None
    blob = entry.split("\t", 1)[0].split()[2]
    return _git(clone).run("cat-file", "blob", blob, cwd=clone.tree).raw


def log(clone: Clone, path: str | None, limit: int) -> str:
    """Give the newest commits, one a line: sha, date, author, subject; of one path when it is given."""
    count = max(1, min(limit, 500))
    paths = ("--", clean_path(path)) if path else ()
    form = "--format=%h %ad %an: %s"
    return _git(clone).run("log", form, "--date=short", "--no-color", f"-n{count}", *paths, cwd=clone.tree).stdout


def tracked(clone: Clone) -> tuple[str, ...]:
    """Name the files and submodules of HEAD."""
    return tuple(_git(clone).run("ls-tree", "-r", "-z", "--name-only", "HEAD", cwd=clone.tree).stdout.split("\0")[:-1])


def special_paths(clone: Clone) -> Mapping[str, str]:
    """Name the paths of HEAD whose content is not in the clone: path -> "submodule" or "lfs"."""
    git = _git(clone)
    entries = git.run("ls-tree", "-r", "-z", "HEAD", cwd=clone.tree).stdout.split("\0")[:-1]
    modes = {path: facts.split()[0] for facts, _, path in (entry.partition("\t") for entry in entries)}
    special = {path: "submodule" for path, mode in modes.items() if mode == _SUBMODULE}
    special |= dict.fromkeys(_lfs_paths(git, clone.tree, [path for path in modes if path not in special]), "lfs")
    # Pointers may also stand where no attribute says so (any more).
    pointers = git.run("grep", "--cached", "-l", "-z", "-I", "-e", f"^{_POINTER}", cwd=clone.tree, ok=(0, 1)).stdout
    for path in pointers.split("\0")[:-1]:
        data = show(clone, "HEAD", path) or b""
        if len(data) < 1024 and data.startswith(_POINTER.encode()):
            special[path] = "lfs"
    return special


def publish(clone: Clone, repository: Repository, branch: str) -> str:
    """Put the clone's HEAD as a new branch into the person's repository, written by its owner; give its sha.

    Touches only objects and that one reference. Raises ToolRefused when the branch exists with another commit.
    """
    root, sha = repository.root, head(clone)
    git = Git(repository.git, owner=owner_of(root / ".git"))
    reference = f"refs/heads/{branch}"
    if branch.startswith("-") or not git.run("check-ref-format", reference, cwd=root, ok=()).ok:
        raise ToolRefused(f"{branch!r} is no branch name: use letters, digits, '-', '_' and '/'.")
    there = git.run("rev-parse", "--verify", "-q", reference, cwd=root, ok=(0, 1)).stdout.strip()
    if there == sha:
        return sha
    if there:
        raise ToolRefused(f"the branch {branch} exists at {there[:12]}: rename or delete it, or publish another name.")
    _send_objects(clone, git, root, known=repository.head)
    # An empty old value means "must not exist": whoever made the branch in between wins.
    done = git.run("update-ref", "-m", "backend-crew: publish", reference, sha, "", cwd=root, ok=())
    if not done.ok:
        raise ToolRefused(f"the branch {branch} could not be made in {root}: {done.stderr.strip()[-500:]}")
    return sha


def delete_branch(repository: Repository, branch: str) -> bool:
    """Remove a branch from the person's repository; False when there is none, ToolRefused while it is checked out."""
    if repository.branch == branch:
        raise ToolRefused(f"the branch {branch} is checked out: switch to another one first.")
    git = Git(repository.git, owner=owner_of(repository.root / ".git"))
    reference = f"refs/heads/{branch}"
    there = git.run("rev-parse", "--verify", "-q", reference, cwd=repository.root, ok=(0, 1)).stdout.strip()
    if not there:
        return False
    git.run("update-ref", "-m", "backend-crew: discard", "-d", reference, there, cwd=repository.root)
    return True


def _toplevel(git: Git, path: Path) -> Path:
    found = git.run("rev-parse", "--is-bare-repository", cwd=path, ok=())
    if not found.ok:
        raise ToolRefused(
            f"{path} is not in a git repository: {found.stderr.strip()[-300:]}. Run `git init` and commit."
        )
    if found.stdout.strip() == "true":
        raise ToolRefused(f"{path} is a bare repository: name a clone of it that has files.")
    inside = git.run("rev-parse", "--show-toplevel", cwd=path, ok=())
    root = Path(inside.stdout.rstrip("\n"))
    # A repository can say that its files are elsewhere (core.worktree): those are not what the person named.
    if not inside.ok or not path.is_relative_to(root) or not os.path.lexists(root / ".git"):
        raise ToolRefused(f"{path} is no ordinary working tree (core.worktree, or inside .git): name its top folder.")
    return root


def _git(clone: Clone) -> Git:
    return Git(clone.git, git_dir=clone.git_dir, tree=clone.tree)


def _sha(text: str) -> str:
    if text != "HEAD" and not _HEX.fullmatch(text):
        raise ToolRetry(f"{text!r} is not a full commit id.")
    return text


def _dirty(git: Git, root: Path, commit: str) -> tuple[str, ...]:
    """Compare the tree through a git directory of our own: the repository's would run its fsmonitor and filters."""
    common = (root / git.line("rev-parse", "--git-common-dir", cwd=root)).resolve()
    index_path, _, form = git.line("rev-parse", "--git-path", "index", "--show-object-format", cwd=root).rpartition(
        "\n"
    )
    index = root / index_path
    with scratch() as folder:
        ours = Git(git.program, git_dir=folder / "scan.git", settings=_byte_settings(git, root))
        ours.run("init", "--quiet", "--bare", "--template=", f"--object-format={form}", cwd=folder)
        (folder / "scan.git/HEAD").write_text(f"{commit}\n")
        (folder / "scan.git/info").mkdir()
        (folder / "scan.git/info/exclude").write_bytes(git.read(common / "info/exclude"))
        (folder / "scan.git/objects/info/alternates").write_text(f"{common / 'objects'}\n")
        for source in (index, *index.parent.glob("sharedindex.*")):
            if data := git.read(source):
                copy = folder / "scan.git" / source.name
                copy.write_bytes(data)
                # git compares an entry's second with the index's own: a younger copy would hide a change of equal size
                os.utime(copy, ns=(source.stat().st_atime_ns, source.stat().st_mtime_ns))
        if not (folder / "scan.git/index").exists():
            ours.run("read-tree", "HEAD", cwd=folder)
        give(folder, git.owner)
        scan = replace(ours, tree=root, owner=git.owner)
        flags = ("--porcelain", "-z", "--untracked-files=all", "--no-renames", "--ignore-submodules=all")
        lines = scan.run("status", *flags, cwd=root).stdout.split("\0")[:-1]
    # A name with "/" at its end is another repository inside this one.
    return tuple(sorted(line[3:] for line in lines if not line.endswith("/")))


def _byte_settings(git: Git, root: Path) -> dict[str, str]:
    names = "|".join(re.escape(name) for name in _BYTE_SETTINGS)
    said = git.run("config", "-z", "--get-regexp", f"^({names})$", cwd=root, ok=()).stdout
    # a name may be set several times; git uses the last
    pairs = (entry.partition("\n")[::2] for entry in said.split("\0"))
    return {name: value for name, value in pairs if re.fullmatch(r"[A-Za-z0-9]{1,8}", value)}


def _clone_bare(repository: Repository, git_dir: Path) -> None:
    root = repository.root
    git = Git(repository.git)
    reader = as_owner(owner_of(root / ".git"))
    # Whoever serves the objects is the owner too, so that root reads nothing that they could not.
    upload = ("--upload-pack", " ".join((*reader, f"'{git.program}'", "upload-pack"))) if reader else ()
    flags = ("--bare", "--no-local", "--single-branch", "--no-tags", "--template=", "--quiet")
    git.run("clone", *flags, *upload, "--", str(root), str(git_dir), cwd=git_dir.parent, timeout_s=1_800)


def _copy_settings(repository: Repository, made: Clone) -> None:
    git, theirs = _git(made), Git(repository.git, owner=owner_of(repository.root / ".git"))
    git.run("config", "--remove-section", "remote.origin", cwd=made.tree, ok=())
    for name, value in _byte_settings(theirs, repository.root).items():
        git.run("config", name, value, cwd=made.tree)
    common = theirs.line("rev-parse", "--git-common-dir", cwd=repository.root)
    if exclude := theirs.read((repository.root / common).resolve() / "info/exclude"):
        (made.git_dir / "info").mkdir(exist_ok=True)
        (made.git_dir / "info/exclude").write_bytes(exclude)


def _take_dirty(repository: Repository, made: Clone, denied: Callable[[str], bool]) -> None:
    wanted = [path for path in repository.dirty if not denied(path)]
    special = special_paths(made)
    for path in wanted:
        clean_path(path.replace("\ufffd", "\0"))  # a name that is not UTF-8 is refused here, by name
        if path in special:
            raise ToolRefused(
                f"{path!r} ({special[path]}) has uncommitted changes: commit or stash it, then start again."
            )
    # Removals first: a folder can have taken the place of a file, or the other way round.
    kept = [path for path in wanted if not _removed(repository.root, made.tree, path)]
    for path in kept:
        try:
            _take(repository.root, made.tree, path)
        except (MissingPathError, FileNotFoundError):
            raise ToolRefused(f"{path!r} changed while it was read: start again.") from None
    if lfs := _lfs_paths(_git(made), made.tree, wanted):
        raise ToolRefused(f"{', '.join(sorted(lfs))}: stored by Git LFS. Commit or stash it, then start again.")


def _removed(root: Path, tree: Path, path: str) -> bool:
    """Remove from our tree what is no file any more in theirs."""
    source = root / path
    if os.path.lexists(source) and (source.is_symlink() or not source.is_dir()):
        return False
    with suppress(MissingPathError), open_parent(tree, path) as (parent, name):
        os.unlink(name, dir_fd=parent)
    for folder in (tree / path).parents:
        if folder == tree or not _remove_empty(folder):
            break
    return True


def _remove_empty(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return False
    return True


def _take(root: Path, tree: Path, path: str) -> None:
    with open_parent(root, path) as (parent, name):
        kind = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
        link = os.readlink(name, dir_fd=parent) if stat.S_ISLNK(kind) else None
    data, mode = (b"", 0) if link is not None else read_file(root, path, limit=_DIRTY_FILE_LIMIT)
    with open_parent(tree, path, create=True) as (parent, name):
        if link is None:
            replace_file(parent, name, data, 0o755 if mode & stat.S_IXUSR else 0o644)
            return
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=parent)
        os.symlink(link, name, dir_fd=parent)


def _lfs_paths(git: Git, tree: Path, paths: Iterable[str]) -> set[str]:
    names = "".join(f"{path}\0" for path in paths).encode()
    words = git.run("check-attr", "-z", "--stdin", "filter", cwd=tree, stdin=names).stdout.split("\0")[:-1]
    return {path for path, value in zip(words[::3], words[2::3], strict=True) if value == "lfs"}


def _denied_write(path: str) -> bool:
    return is_write_denied(path) is not None


def _snapshot(clone: Clone, *, denied: Callable[[str], bool] = _denied_write, index: Path | None = None) -> str:
    """Stage the whole tree and give the sha of the git tree; denied paths and new submodules stay as HEAD has them."""
    git = _git(clone)
    git.run("add", "--all", "--", ".", cwd=clone.tree, index=index)
    staged = git.run(
        "diff-index", "--cached", "-z", "--no-renames", "--ignore-submodules=none", "HEAD", cwd=clone.tree, index=index
    )
    words = staged.stdout.split("\0")[:-1]
    unwanted = [
        path
        for facts, path in zip(words[::2], words[1::2], strict=True)
        if denied(path) or facts.split()[1] == _SUBMODULE
    ]
    if unwanted:
        names = "".join(f"{path}\0" for path in unwanted).encode()
        flags = ("--quiet", "--pathspec-from-file=-", "--pathspec-file-nul", "HEAD")
        git.run("reset", *flags, cwd=clone.tree, index=index, stdin=names)
    return git.run("write-tree", cwd=clone.tree, index=index).stdout.strip()


def tree_now(clone: Clone) -> str:
    """Give the id that the tree as it is would have as a commit's."""
    with _index_copy(clone) as index:
        return _snapshot(clone, index=index)


@contextmanager
def _index_copy(clone: Clone) -> Iterator[Path]:
    with scratch() as folder:
        copy = folder / "index"
        copy.write_bytes((clone.git_dir / "index").read_bytes())
        yield copy


def _commit_tree(clone: Clone, tree: str, message: str) -> str:
    """Commit by plumbing, which knows neither hooks nor signing; give HEAD when the tree is the same."""
    git, parent = _git(clone), head(clone)
    if tree == git.line("rev-parse", f"{parent}^{{tree}}", cwd=clone.tree):
        return parent
    made = git.run("commit-tree", tree, "-p", parent, "-F", "-", cwd=clone.tree, stdin=f"{message}\n".encode())
    sha = made.stdout.strip()
    git.run("update-ref", "--no-deref", "HEAD", sha, parent, cwd=clone.tree)
    return sha


def _send_objects(clone: Clone, theirs: Git, root: Path, *, known: str) -> None:
    """Pack what they lack and unpack it there; no transport, so none of their settings can redirect or run it."""
    wanted = f"{head(clone)}\n"
    if theirs.run("cat-file", "-e", f"{known}^{{commit}}", cwd=root, ok=()).ok:
        wanted += f"^{known}\n"
    pack = _git(clone).run("pack-objects", "--revs", "--stdout", "-q", cwd=clone.tree, stdin=wanted.encode())
    theirs.run("unpack-objects", "-q", "--strict", cwd=root, stdin=pack.raw, ok=(0,))
    # What fetch does at its end: everything reachable from the new commit is really there.
    theirs.run("rev-list", "--objects", "--quiet", head(clone), "--not", "--all", cwd=root)
