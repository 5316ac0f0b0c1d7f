"""The person's repository is looked at, cloned, and given one branch; test_git_hostile.py has the attacks."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from backend_crew.tools import git
from backend_crew.tools.deny import is_read_denied
from backend_crew.tools.errors import ToolFault, ToolRefused, ToolRetry
from backend_crew.tools.gitcall import find_git


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


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "shop")


@pytest.fixture
def clone(repository: Path, tmp_path: Path) -> git.Clone:
    return git.clone(git.inspect(repository), tmp_path / "state", include_dirty=False, denied=denied)


def test_inspect_reads_branch_head_and_dirty_files(repository: Path) -> None:
    (repository / "app/main.py").unlink()
    (repository / "näme.txt").write_text("new")
    (repository / "x.log").write_text("ignored")
    (repository / "staged.txt").write_text("s")
    (repository / ".git/info/exclude").write_text("private.txt\n")
    (repository / "private.txt").write_text("excluded by the person")
    plain(repository, "add", "staged.txt")
    found = git.inspect(repository / "app") if (repository / "app").is_dir() else git.inspect(repository)
    assert found.root == repository
    assert found.head == plain(repository, "rev-parse", "HEAD")
    assert found.branch == "main"
    assert found.dirty == ("app/main.py", "näme.txt", "staged.txt")


def test_inspect_works_on_a_detached_head_and_from_a_subfolder(repository: Path, tmp_path: Path) -> None:
    plain(repository, "checkout", "-q", "--detach")
    found = git.inspect(repository / "app")
    assert (found.root, found.branch, found.dirty) == (repository, None, ())
    clone = git.clone(found, tmp_path / "state", include_dirty=False, denied=denied)
    (clone.tree / "new.py").write_text("")
    sha = git.commit(clone, "new")
    git.publish(clone, found, "result")
    assert plain(repository, "rev-parse", "result") == sha


def _not_a_folder(root: Path) -> Path:
    return root / "missing"


def _no_repository(root: Path) -> Path:
    root.mkdir()
    return root


def _no_commits(root: Path) -> Path:
    root.mkdir()
    plain(root, "init", "-q")
    return root


def _bare(root: Path) -> Path:
    plain(make_repository(root), "clone", "-q", "--bare", ".", "../bare.git")
    return root.parent / "bare.git"


def _partial(root: Path) -> Path:
    plain(make_repository(root), "config", "uploadpack.allowFilter", "true")
    plain(root, "clone", "-q", "--filter=blob:none", f"file://{root}", "../partial")
    return root.parent / "partial"


def _elsewhere(root: Path) -> Path:
    plain(make_repository(root), "config", "core.worktree", str(root.parent))
    return root


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_not_a_folder, "not a folder"),
        (_no_repository, "not in a git repository"),
        (_no_commits, "no commits"),
        (_bare, "bare repository"),
        (_partial, "partial clone"),
        (_elsewhere, "core.worktree"),
    ],
)
def test_inspect_refuses_with_the_reason(make: Callable[[Path], Path], words: str, tmp_path: Path) -> None:
    with pytest.raises(ToolRefused, match=words):
        git.inspect(make(tmp_path / "it"))


def test_a_shallow_clone_works(repository: Path, tmp_path: Path) -> None:
    (repository / "more.txt").write_text("more\n")
    plain(repository, "add", "-A")
    plain(repository, "commit", "-qm", "second")
    plain(tmp_path, "clone", "-q", "--depth=1", f"file://{repository}", "shallow")
    found = git.inspect(tmp_path / "shallow")
    clone = git.clone(found, tmp_path / "state", include_dirty=False, denied=denied)
    (clone.tree / "new.py").write_text("")
    sha = git.commit(clone, "new")
    git.publish(clone, found, "result")
    assert plain(tmp_path / "shallow", "log", "--format=%H", "-1", "result") == sha
    plain(tmp_path / "shallow", "fsck", "--strict")


def test_b3_dirty_files_become_a_first_commit_but_never_the_environment_file(repository: Path, tmp_path: Path) -> None:
    (repository / ".env").write_text("API_KEY=abcdefghij\n")
    (repository / "app/main.py").write_text("x = 2\n")
    (repository / "run.sh").write_text("#!/bin/sh\n")
    (repository / "run.sh").chmod(0o755)
    (repository / "README.md").unlink()
    (repository / "link").symlink_to("app/main.py")
    plain(repository, "add", "--dry-run", "-A")
    assert ".env" in plain(repository, "add", "--dry-run", "-A"), "weak control: plain git would take it"
    found = git.inspect(repository)
    assert ".env" in found.dirty
    clone = git.clone(found, tmp_path / "state", include_dirty=True, denied=denied)
    assert git.tracked(clone) == (".gitignore", "app/main.py", "link", "run.sh")
    assert git.log(clone, None, 1).strip().endswith(f"backend-crew: {git.DIRTY_MESSAGE}")
    assert clone.base != found.head
    assert (clone.tree / "run.sh").stat().st_mode & 0o111
    assert not (clone.tree / ".env").exists()
    ignored = git.clone(found, tmp_path / "clean", include_dirty=False, denied=denied)
    assert ignored.base == found.head
    assert (ignored.tree / "app/main.py").read_text() == "x = 1\n"


def test_a_file_that_became_a_folder_and_back_is_taken(tmp_path: Path) -> None:
    root = make_repository(tmp_path / "shop", {"a": "file\n", "b/c": "inner\n", "keep": ""})
    (root / "a").unlink()
    (root / "a").mkdir()
    (root / "a/inner").write_text("now a folder\n")
    shutil.rmtree(root / "b")
    (root / "b").write_text("now a file\n")
    clone = git.clone(git.inspect(root), tmp_path / "state", include_dirty=True, denied=denied)
    assert git.tracked(clone) == ("a/inner", "b", "keep")


def test_a_tracked_link_does_not_lead_dirty_files_outside(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    root = make_repository(tmp_path / "shop", {"keep": ""})
    (root / "link").symlink_to(outside)
    plain(root, "add", "-A")
    plain(root, "commit", "-qm", "link")
    (root / "link").unlink()
    (root / "link").mkdir()
    (root / "link/x").write_text("mine")
    clone = git.clone(git.inspect(root), tmp_path / "state", include_dirty=True, denied=denied)
    assert list(outside.iterdir()) == []
    assert git.show(clone, "HEAD", "link/x") == b"mine"


def test_line_ends_follow_the_setting_of_the_repository(tmp_path: Path) -> None:
    root = make_repository(tmp_path / "shop", {"a.txt": "one\n", "b.txt": "two\n"})
    plain(root, "config", "core.autocrlf", "true")
    for name in ("a.txt", "b.txt"):
        (root / name).unlink()
        plain(root, "checkout", "--", name)
    assert (root / "a.txt").read_bytes() == b"one\r\n"
    os.utime(root / "a.txt", (1, 1))
    assert git.inspect(root).dirty == ()
    (root / "b.txt").write_bytes(b"three\r\n")
    clone = git.clone(git.inspect(root), tmp_path / "state", include_dirty=True, denied=denied)
    assert git.show(clone, clone.base, "b.txt") == b"three\n", "committed as the person would commit it"


def test_commit_leaves_out_denied_paths_and_embedded_repositories(clone: git.Clone) -> None:
    (clone.tree / ".env").write_text("SECRET=1")
    (clone.tree / ".github/workflows").mkdir(parents=True)
    (clone.tree / ".github/workflows/ci.yml").write_text("on: push")
    make_repository(clone.tree / "nested")
    assert git.commit(clone, "nothing to see") == clone.base, "an unchanged tree makes no commit"
    assert git.changes(clone, clone.base) == ()
    (clone.tree / "app/new.py").write_text("a = 1\nb = 2\n")
    (clone.tree / "app/main.py").write_text("x = 9\n")
    (clone.tree / "README.md").unlink()
    expected = (
        git.Change("README.md", "deleted", 0, 1),
        git.Change("app/main.py", "modified", 1, 1),
        git.Change("app/new.py", "added", 2, 0),
    )
    assert git.changes(clone, clone.base) == expected
    sha = git.commit(clone, "Change things", trailers={"Backend-Crew-Run": "r1"})
    assert git.changes(clone, clone.base, sha) == expected
    assert git.head(clone) == sha
    assert git.show(clone, sha, "app/new.py") == b"a = 1\nb = 2\n"
    assert git.show(clone, sha, "README.md") is None
    assert git.show(clone, sha, "app") is None


def test_commits_carry_our_name_and_the_trailers(clone: git.Clone, repository: Path) -> None:
    (clone.tree / "new.py").write_text("")
    git.commit(clone, "Change things\n\nBecause.", trailers={"Backend-Crew-Run": "r1"})
    git.publish(clone, git.inspect(repository), "result")
    form = "--format=%an <%ae> %cn <%ce>|%(trailers:key=Backend-Crew-Run,valueonly)"
    who, trailer = plain(repository, "log", "-1", form, "result").split("|")
    assert who == "backend-crew <backend-crew@localhost> backend-crew <backend-crew@localhost>"
    assert trailer.strip() == "r1"
    with pytest.raises(ToolRetry, match="no trailer"):
        git.commit(clone, "x", trailers={"A": "one\ntwo"})
    with pytest.raises(ToolRetry, match="message"):
        git.commit(clone, " ")


def test_reset_restores_exactly_the_commit(clone: git.Clone) -> None:
    before = contents(clone.tree)
    (clone.tree / "x.log").write_text("ignored")
    (clone.tree / "new").mkdir()
    (clone.tree / "new/file.py").write_text("")
    (clone.tree / "app/main.py").write_text("broken")
    git.commit(clone, "later")
    git.reset(clone, clone.base)
    assert contents(clone.tree) == before
    assert git.head(clone) == clone.base
    with pytest.raises(ToolRetry, match="not a full commit id"):
        git.reset(clone, "--hard")


def test_diff_is_bounded_and_takes_paths_literally(clone: git.Clone) -> None:
    (clone.tree / "app/main.py").write_text("".join(f"line {number}\n" for number in range(1_000)))
    (clone.tree / "*.py").write_text("star\n")
    assert "+star" in git.diff(clone, clone.base, paths=["*.py"])
    assert "line 5" not in git.diff(clone, clone.base, paths=["*.py"])
    cut = git.diff(clone, clone.base, limit=500)
    assert "500 of" in cut and len(cut) < 700


def test_show_gives_binary_bytes_unchanged(tmp_path: Path) -> None:
    root = make_repository(tmp_path / "shop")
    data = bytes(range(256)) * 40
    (root / "logo.png").write_bytes(data)
    plain(root, "add", "-A")
    plain(root, "commit", "-qm", "logo")
    clone = git.clone(git.inspect(root), tmp_path / "state", include_dirty=False, denied=denied)
    assert git.show(clone, clone.base, "logo.png") == data


def test_open_clone_finds_it_again_or_says_that_it_is_gone(clone: git.Clone, tmp_path: Path) -> None:
    assert git.open_clone(tmp_path / "state", clone.base) == clone
    with pytest.raises(ToolFault, match="is gone"):
        git.open_clone(tmp_path / "nowhere", clone.base)


def test_publish_refuses_another_branch_of_that_name_and_repeats_itself(clone: git.Clone, repository: Path) -> None:
    found = git.inspect(repository)
    (clone.tree / "new.py").write_text("")
    sha = git.commit(clone, "new")
    assert git.publish(clone, found, "crew/one") == sha
    assert git.publish(clone, found, "crew/one") == sha, "publishing again is no error"
    with pytest.raises(ToolRefused, match="exists at"):
        git.publish(clone, found, "main")
    with pytest.raises(ToolRefused, match="could not be made"):
        git.publish(clone, found, "crew")
    for bad in ("-f", "a..b", "", "a b"):
        with pytest.raises(ToolRefused, match="no branch name"):
            git.publish(clone, found, bad)
    assert plain(repository, "rev-parse", "main") == found.head
    assert plain(repository, "status", "--porcelain") == ""


def test_publishing_without_new_commits_makes_the_branch(clone: git.Clone, repository: Path) -> None:
    found = git.inspect(repository)
    assert git.publish(clone, found, "same") == found.head == plain(repository, "rev-parse", "same")


def test_a_linked_worktree_is_read_and_published_to(repository: Path, tmp_path: Path) -> None:
    plain(repository, "worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    (tmp_path / "side/side.txt").write_text("side\n")
    plain(tmp_path / "side", "add", "-A")
    plain(tmp_path / "side", "commit", "-qm", "side")
    found = git.inspect(tmp_path / "side")
    assert (found.root, found.branch, found.dirty) == (tmp_path / "side", "side", ())
    clone = git.clone(found, tmp_path / "state", include_dirty=False, denied=denied)
    (clone.tree / "new.py").write_text("")
    sha = git.commit(clone, "new")
    git.publish(clone, found, "result")
    assert plain(repository, "rev-parse", "result") == sha
    assert git.tracked(clone) == (".gitignore", "README.md", "app/main.py", "new.py", "side.txt")


def test_a_dirty_file_that_shares_its_bytes_is_refused(repository: Path, tmp_path: Path) -> None:
    (repository / "a.txt").write_text("a")
    os.link(repository / "a.txt", tmp_path / "other-name")
    with pytest.raises(ToolRefused, match="hard link"):
        git.clone(git.inspect(repository), tmp_path / "state", include_dirty=True, denied=denied)


def test_publish_works_after_the_person_rewrote_and_pruned_their_history(clone: git.Clone, repository: Path) -> None:
    found = git.inspect(repository)
    (clone.tree / "new.py").write_text("")
    sha = git.commit(clone, "new")
    plain(repository, "commit", "-q", "--amend", "-m", "rewritten")
    plain(repository, "reflog", "expire", "--expire=now", "--all")
    plain(repository, "gc", "-q", "--prune=now")
    assert git.publish(clone, found, "result") == sha
    plain(repository, "fsck", "--strict")
    assert plain(repository, "log", "--format=%s", "result").split() == ["new", "first"]


def test_special_paths_are_submodules_and_lfs_pointers(tmp_path: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 3\n"
    lfs = {".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n", "data.bin": pointer, "old.dat": pointer}
    root = make_repository(tmp_path / "shop", {**lfs, "docs.md": f"A pointer:\n{pointer}" + "text\n" * 300})
    inner = make_repository(tmp_path / "inner")
    plain(root, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner), "vendor/inner")
    plain(root, "commit", "-qm", "submodule")
    (root / "vendor/inner/app/main.py").write_text("changed inside the submodule")
    found = git.inspect(root)
    assert found.dirty == ()
    clone = git.clone(found, tmp_path / "state", include_dirty=False, denied=denied)
    assert git.special_paths(clone) == {"vendor/inner": "submodule", "data.bin": "lfs", "old.dat": "lfs"}
    (root / "data.bin").write_text("the real content")
    with pytest.raises(ToolRefused, match=r"data\.bin.*lfs.*commit or stash"):
        git.clone(git.inspect(root), tmp_path / "dirty", include_dirty=True, denied=denied)


def test_clone_refuses_a_folder_in_use_and_a_head_that_is_gone(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used/file").write_text("")
    found = git.inspect(repository)
    with pytest.raises(ToolRefused, match="not empty"):
        git.clone(found, tmp_path / "used", include_dirty=False, denied=denied)
    gone = git.Repository(found.root, "0" * 40, "main", found.git)
    with pytest.raises(ToolRefused, match="changed while"):
        git.clone(gone, tmp_path / "state", include_dirty=False, denied=denied)


def test_git_never_comes_from_the_repository(repository: Path) -> None:
    planted = repository / "bin/git"
    planted.parent.mkdir()
    planted.write_text("#!/bin/sh\nexit 0\n")
    planted.chmod(0o755)
    search_path = f"{planted.parent}:bin:.:/usr/local/bin:/usr/bin:/bin"
    assert shutil.which("git", path=search_path) == str(planted), "weak control: a plain look-up takes it"
    assert not find_git(search_path, outside=repository).is_relative_to(repository)
    assert not git.inspect(repository, search_path=search_path).git.is_relative_to(repository)
    with pytest.raises(ToolFault, match="install git"):
        git.inspect(repository, search_path=str(repository / "app"))
