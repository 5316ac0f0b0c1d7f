"""Nothing that a hostile repository plants is run, and what is written to it belongs to its owner."""

import hashlib
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend_crew.tools import git
from backend_crew.tools.deny import is_read_denied
from backend_crew.tools.errors import ToolRefused

STRANGER = 54_321
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes the owner of files")


def denied(path: str) -> bool:
    return is_read_denied(path) is not None


def plain(root: Path, *words: str, check: bool = True) -> str:
    """Git as anyone would call it: with all that the repository configures."""
    env = {"PATH": os.defpath + ":/usr/local/bin", "HOME": str(root.parent), "LC_ALL": "C", "GIT_CONFIG_NOSYSTEM": "1"}
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "init.defaultBranch=main")
    done = subprocess.run(["git", *who, *words], cwd=root, env=env, capture_output=True, check=False)
    assert not check or done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def make_repository(root: Path, files: dict[str, str] | None = None) -> Path:
    root.mkdir(parents=True)
    plain(root, "init", "-q")
    for name, text in (files or {"app/main.py": "x = 1\n", ".gitignore": "*.log\n", "README.md": "shop\n"}).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    plain(root, "add", "-A")
    plain(root, "commit", "-qm", "first")
    return root


def picture(root: Path) -> dict[str, tuple[int, int, int, str]]:
    """Every file and folder with mode, owner, time and content."""
    found = {}
    for folder, inner, names in os.walk(root):
        for path in (Path(folder, name) for name in (*inner, *names)):
            facts = path.lstat()
            regular = stat.S_ISREG(facts.st_mode)
            content = hashlib.sha256(path.read_bytes()).hexdigest() if regular else ""
            content = str(path.readlink()) if path.is_symlink() else content
            found[str(path.relative_to(root))] = (facts.st_mode, facts.st_uid, facts.st_mtime_ns, content)
    return found


HOOKS = """reference-transaction post-checkout post-index-change pre-commit commit-msg prepare-commit-msg post-commit
    post-update update pre-receive post-receive push-to-checkout post-merge post-rewrite pre-push pre-auto-gc"""
FIRED_BY_PLAIN_GIT = {
    "reference-transaction",
    "post-checkout",
    "post-index-change",
    "fsmonitor",
    "smudge",
    "clean",
    "gpg",
}


class Hostile:
    """A repository that plants a canary in everything that git may run."""

    def __init__(self, folder: Path, hooks_path: str) -> None:
        self.canaries = folder / "canaries"
        self.canaries.mkdir()
        self.canaries.chmod(0o777)
        self.root = make_repository(
            folder / "hostile", {"app/main.py": "x = 1\n", ".gitattributes": "* filter=evil diff=evil\n"}
        )
        hooks = self.root / hooks_path
        hooks.mkdir(parents=True, exist_ok=True)
        for name in HOOKS.split():
            self._script(hooks / name, name)
        if hooks_path == ".husky":
            plain(self.root, "add", "-A")
            plain(self.root, "commit", "-qm", "hooks")
            plain(self.root, "config", "core.hooksPath", ".husky")
        other = make_repository(folder / "other")
        (self.root / ".git/objects/info/alternates").write_text(f"{other}/.git/objects\n")
        tools = self.root / ".git/tools"
        tools.mkdir()
        for key, name in {
            "core.fsmonitor": "fsmonitor",
            "filter.evil.smudge": "smudge",
            "filter.evil.clean": "clean",
            "gpg.program": "gpg",
            "core.alternateRefsCommand": "alternate-refs",
            "diff.evil.textconv": "textconv",
            "diff.external": "external-diff",
            "core.sshCommand": "ssh",
            "core.pager": "pager",
            "core.editor": "editor",
            "credential.helper": "credential",
            "uploadpack.packObjectsHook": "pack-objects",
        }.items():
            plain(self.root, "config", key, str(self._script(tools / name, name)))
        plain(self.root, "config", "commit.gpgsign", "true")
        plain(self.root, "config", "filter.evil.required", "true")
        plain(self.root, "config", f"url.ext::sh -c touch% {self.canaries}/instead% .insteadOf", "/")
        (self.root / "app/main.py").write_text("x = 2\n")
        (self.root / "new.py").write_text("y = 1\n")

    def _script(self, path: Path, name: str) -> Path:
        copies = "exec cat" if name in ("smudge", "clean") else "exit 0"
        path.write_text(f"#!/bin/sh\n: > {self.canaries}/{name}\n{copies}\n")
        path.chmod(0o755)
        return path

    def fired(self) -> set[str]:
        return {path.name for path in self.canaries.iterdir()}


@pytest.fixture(params=[".git/hooks", ".husky"])
def hostile(request: pytest.FixtureRequest, tmp_path: Path) -> Hostile:
    return Hostile(tmp_path, request.param)


def test_weak_control_plain_git_fires_the_canaries(hostile: Hostile) -> None:
    plain(hostile.root, "status", check=False)
    plain(hostile.root, "worktree", "add", "-b", "work", str(hostile.root.parent / "worktree"), check=False)
    plain(hostile.root, "add", "-A", check=False)
    plain(hostile.root, "commit", "-m", "mine", check=False)
    plain(hostile.root, "diff", "HEAD", check=False)
    assert hostile.fired() >= FIRED_BY_PLAIN_GIT


def test_weak_control_a_plain_fetch_into_the_repository_runs_its_settings(hostile: Hostile) -> None:
    plain(hostile.root, "config", "--remove-section", f"url.ext::sh -c touch% {hostile.canaries}/instead% ")
    made = make_repository(hostile.root.parent / "result")
    plain(hostile.root, "fetch", str(made), "main:published", check=False)
    assert hostile.fired() >= {"reference-transaction", "alternate-refs"}


def test_b2_nothing_planted_runs_and_nothing_changes_until_publishing(hostile: Hostile, tmp_path: Path) -> None:
    before = picture(hostile.root)
    found = git.inspect(hostile.root)
    assert found.dirty == ("app/main.py", "new.py")
    clone = git.clone(found, tmp_path / "state", include_dirty=True, denied=denied)
    (clone.tree / "app/main.py").write_text("x = 3\n")
    sha = git.commit(clone, "Add it", trailers={"Run": "r1"})
    git.changes(clone, clone.base)
    git.diff(clone, clone.base)
    git.special_paths(clone)
    git.log(clone, "app/main.py", 5)
    git.reset(clone, clone.base)
    git.reset(clone, sha)
    assert picture(hostile.root) == before
    assert git.publish(clone, found, "backend-crew/r1-it") == sha
    assert hostile.fired() == set()
    after = picture(hostile.root)
    assert {name: after[name] for name in before if (hostile.root / name).is_file()} == {
        name: facts for name, facts in before.items() if (hostile.root / name).is_file()
    }
    allowed = (".git/objects/", ".git/refs/heads/backend-crew", ".git/logs/refs/heads/backend-crew")
    new = set(after) - set(before) - {".git/logs", ".git/logs/refs", ".git/logs/refs/heads"}
    assert new and all(name.startswith(allowed) for name in new)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that every user can enter (pytest's own is closed to others)."""
    folder = Path(tempfile.mkdtemp(prefix="shared-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def strangers(root: Path) -> Path:
    for folder, inner, names in os.walk(root):
        for path in (Path(folder), *(Path(folder, name) for name in (*inner, *names))):
            os.chown(path, STRANGER, STRANGER, follow_symlinks=False)
    return root


def owners(root: Path) -> set[int]:
    return {facts[1] for facts in picture(root).values()}


@as_root
def test_b2_publishing_as_root_leaves_every_object_with_the_owner(shared: Path, tmp_path: Path) -> None:
    root = strangers(make_repository(shared / "shop"))
    (root / "dirty.txt").write_text("mine")
    os.chown(root / "dirty.txt", STRANGER, STRANGER)
    weak = make_repository(shared / "weak")
    control = strangers(Path(shutil.copytree(root, shared / "control")))
    plain(control, "-c", f"safe.directory={control}", "fetch", "-q", str(weak), "main:result", check=False)
    assert 0 in owners(control), "weak control: plain git as root leaves objects of root"
    before = picture(root)
    found = git.inspect(root)
    assert found.dirty == ("dirty.txt",)
    clone = git.clone(found, tmp_path / "state", include_dirty=True, denied=denied)
    (clone.tree / "new.py").write_text("")
    git.commit(clone, "new")
    assert picture(root) == before
    git.publish(clone, found, "backend-crew/r1")
    assert owners(root) == {STRANGER}
    assert owners(tmp_path / "state") == {0}


@as_root
def test_root_does_not_read_what_the_owner_could_not(shared: Path, tmp_path: Path) -> None:
    secret = make_repository(tmp_path / "secret")
    head = plain(secret, "rev-parse", "HEAD")
    root = make_repository(shared / "shop", {"mine": "mine\n"})
    (root / ".git/objects/info/alternates").write_text(f"{secret}/.git/objects\n")
    (root / ".git/refs/heads/main").write_text(f"{head}\n")
    assert plain(root, "show", "HEAD:app/main.py") == "x = 1", "weak control: plain git as root reads it"
    strangers(root)
    with pytest.raises(ToolRefused):
        git.inspect(root)


def test_b1_hooks_that_an_agent_edits_in_the_tree_do_not_run_at_its_commits(tmp_path: Path) -> None:
    """With core.hooksPath=.husky, a worktree runs what an agent wrote there at the next commit."""
    root = make_repository(tmp_path / "shop", {"app/main.py": "x = 1\n", ".husky/pre-commit": "#!/bin/sh\nexit 0\n"})
    plain(root, "config", "core.hooksPath", ".husky")
    fired = tmp_path / "fired"
    edit = f"#!/bin/sh\n: > {fired}\n"
    clone = git.clone(git.inspect(root), tmp_path / "state", include_dirty=False, denied=denied)
    (clone.tree / ".husky/pre-commit").write_text(edit)
    (clone.tree / ".husky/pre-commit").chmod(0o755)
    (clone.tree / "app/main.py").write_text("x = 2\n")
    sha = git.commit(clone, "task")
    assert [one.path for one in git.changes(clone, clone.base, sha)] == ["app/main.py"], "nor is it committed"
    git.reset(clone, sha)
    assert not fired.exists()

    plain(root, "worktree", "add", "-q", "-b", "work", str(tmp_path / "worktree"))
    (tmp_path / "worktree/.husky/pre-commit").write_text(edit)
    (tmp_path / "worktree/.husky/pre-commit").chmod(0o755)
    plain(tmp_path / "worktree", "commit", "-qam", "task")
    assert fired.exists(), "weak control: in a worktree the edited hook ran as us"


def test_b1_the_clone_survives_that_the_person_collects_garbage(tmp_path: Path) -> None:
    """A `clone --shared` breaks after `gc --prune=now`; ours holds its own objects."""
    root = make_repository(tmp_path / "shop")
    plain(root, "checkout", "-qb", "short-lived")
    (root / "app/main.py").write_text("x = 2\n")
    plain(root, "commit", "-qam", "second")
    second = plain(root, "rev-parse", "HEAD")
    clone = git.clone(git.inspect(root), tmp_path / "state", include_dirty=False, denied=denied)
    plain(root, "clone", "-q", "--shared", str(root), str(tmp_path / "shared"))
    plain(root, "checkout", "-q", "main")
    plain(root, "branch", "-qD", "short-lived")
    plain(root, "reflog", "expire", "--expire=now", "--all")
    plain(root, "gc", "-q", "--prune=now")
    assert not plain(tmp_path / "shared", "cat-file", "-t", second, check=False), "weak control: its commit is gone"
    assert git.head(clone) == second
    (clone.tree / "new.py").write_text("y = 1\n")
    sha = git.commit(clone, "goes on")
    assert git.publish(clone, git.inspect(root), "backend-crew/after-gc") == sha
    assert plain(root, "show", "backend-crew/after-gc:app/main.py") == "x = 2"


@as_root
def test_b3_a_repository_of_somebody_else_is_read_through_a_configuration_file(shared: Path, tmp_path: Path) -> None:
    """The flag `-c safe.directory` does not reach the process that serves the objects, a file does."""
    root = strangers(make_repository(shared / "shop"))
    weak = tmp_path / "weak"
    plain(tmp_path, "-c", "safe.directory=*", "clone", "-q", "--bare", "--no-local", str(root), str(weak), check=False)
    assert not (weak / "HEAD").exists(), "weak control: git refuses in the process that it starts"
    clone = git.clone(git.inspect(root), tmp_path / "state", include_dirty=False, denied=denied)
    assert (clone.tree / "app/main.py").read_text() == "x = 1\n"
