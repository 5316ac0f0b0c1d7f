"""Files are read and written inside one folder, whatever links, races and names are tried."""

import hashlib
import os
import socket
from pathlib import Path

import pytest
from ways import way  # noqa: F401  # a fixture: every test that asks for it, or for `root`, runs both ways

from backend_crew.tools.deny import fold, is_env_file
from backend_crew.tools.errors import ToolFault, ToolRefused, ToolRetry
from backend_crew.tools.secrets import Redactor
from backend_crew.tools.workspace import (
    MissingPathError,
    ReadOnly,
    Workspace,
    clean_path,
    is_read_denied,
    is_write_denied,
)


class Anything:
    """A scope that allows every path, so that only the workspace's own rules are tested."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def check_write(self, path: str, act: str = "") -> None:
        self.asked.append(path)


@pytest.fixture
def root(tmp_path: Path, way: str) -> Path:  # noqa: F811  # pytest takes a fixture by its name
    """A small tree, with the kernel's call and without it."""
    root = tmp_path / "tree"
    (root / "app").mkdir(parents=True)
    (root / "app/models.py").write_text("class User:\n    name = 1\n\n\nclass Order:\n    name = 2\n")
    (root / "app/main.py").write_text("import models\n")
    (root / ".env").write_text("KEY=secret-value\n")
    (root / ".env.example").write_text("KEY=\n")
    return root


@pytest.fixture
def files(root: Path) -> Workspace:
    return Workspace(root, Anything())


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/etc/passwd",
            "../x",
            "app/../../x",
            "~/x",
            "C:/x",
            "app\\..\\x",
            "a\0b",
            "a\nb",
            "a\x1b[0m",
            "a\u202etxt.py",
        ),
        *("a\u200bb", "\uff0e\uff0e/x", "app/\u2025/x", "a\uff0f..\uff0fb", "x.py.", "x.py ", "a" * 256, "\ud800"),
    ],
)
def test_paths_that_lead_elsewhere_or_hide_are_refused(path: str, files: Workspace, root: Path) -> None:
    for act in (
        lambda: files.read(path),
        lambda: files.write(path, "", expected=None),
        lambda: files.delete(path),
        lambda: files.list(path),
    ):
        with pytest.raises(ToolRefused):
            act()


def test_weak_control_plain_joining_leaves_the_folder(root: Path) -> None:
    (root.parent / "outside").write_text("theirs")
    assert (root / "app/../../outside").read_text() == "theirs"


def test_ordinary_paths_are_cleaned() -> None:
    assert clean_path("./app//main.py") == "app/main.py"
    assert clean_path("src/[id]/página (1).tsx") == "src/[id]/página (1).tsx"


SECRET = [
    *(".env", ".ENV", "app/.env.production", "\uff0eenv", ".e\u200bnv", ".env.", ".envrc", "prod.env", ".env/x"),
    *(".git/config", ".GIT/config", "sub/.git", ".g\u200cit/HEAD", "server.pem", "SERVER.PEM", "config/master.key"),
    *("id_rsa", ".ssh/config", ".aws/credentials", ".npmrc", "db.sqlite3", "app.db", "app.db-wal", "credentials.json"),
    *("terraform.tfstate", "gcp-service-account-1.json", ".netrc", "certs/a.p12"),
]
RUN_BY_OTHERS = [
    *(".github/workflows/ci.yml", ".GitHub/Workflows/ci.yml", ".gitlab-ci.yml", ".husky/pre-commit", ".githooks/x"),
    *(".vscode/tasks.json", ".idea/x.xml", "lib/evil.pth", "sitecustomize.py", "app/usercustomize.py", "Jenkinsfile"),
    *("app/.gitattributes", ".nvim/x.lua", "shop.code-workspace", ".azure-pipelines/x.yml", "lefthook.yaml", ".exrc"),
    *(".crewai/x", ".backend-crew/policy.yaml", ".gitmodules", ".pre-commit-config.yaml", ".devcontainer/x.json"),
]
ORDINARY = [
    *(
        "app/environment.py",
        ".env.example",
        ".env.sample",
        ".ENV.Template",
        "app/models.py",
        "app/keys.py",
        "secrets.py",
    ),
    *("db/schema.sql", "alembic/env.py", ".gitignore", "docs/git.md", "id_rsa.pub", ".github/README.md", "app/db.py"),
]


@pytest.mark.parametrize("path", SECRET)
def test_secret_paths_are_denied_for_reading_and_writing(path: str) -> None:
    assert is_read_denied(path)
    assert is_write_denied(path)


@pytest.mark.parametrize("path", RUN_BY_OTHERS)
def test_paths_that_other_programs_run_are_denied_for_writing_only(path: str) -> None:
    assert is_read_denied(path) is None
    assert is_write_denied(path)


@pytest.mark.parametrize("path", ORDINARY)
def test_ordinary_paths_are_allowed(path: str) -> None:
    assert is_read_denied(path) is None
    assert is_write_denied(path) is None


def test_folding_is_what_a_careless_file_system_sees() -> None:
    assert fold(".ＧＩＴ./Config") == ".git/config"
    assert is_env_file(".env.local") and not is_env_file(".env.local.example")


def test_denied_files_are_refused_with_the_reason(files: Workspace) -> None:
    with pytest.raises(ToolRefused, match="environment file"):
        files.read(".env")
    with pytest.raises(ToolRefused, match="CI workflows"):
        files.write(".github/workflows/x.yml", "on: push", expected=None)
    files.write(".env.example", "KEY=\nOTHER=\n", expected=files.read(".env.example").sha256)


def test_links_are_refused_at_every_place(files: Workspace, root: Path) -> None:
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "x.py").write_text("theirs")
    (root / "folder").symlink_to(outside)
    (root / "file.py").symlink_to(outside / "x.py")
    (root / "inside.py").symlink_to("app/main.py")
    assert (root / "folder/x.py").read_text() == "theirs", "weak control: plain opening follows"
    for path in ("folder/x.py", "file.py", "inside.py"):
        with pytest.raises(ToolRefused, match="symbolic link"):
            files.read(path)
        with pytest.raises(ToolRefused, match="symbolic link"):
            files.write(path, "mine", expected=sha("theirs"))
        with pytest.raises(ToolRefused, match="symbolic link"):
            files.delete(path)
    with pytest.raises(ToolRefused, match="symbolic link"):
        files.write("folder/new.py", "mine", expected=None)
    with pytest.raises(ToolRetry, match="symbolic link"):
        files.write("file.py", "mine", expected=None)
    assert sorted(path.name for path in outside.iterdir()) == ["x.py"]
    assert (outside / "x.py").read_text() == "theirs"
    assert not {"folder/x.py", "file.py"} & set(files.list())


def test_what_is_no_plain_file_is_refused_by_name(files: Workspace, root: Path) -> None:
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(root / "sock")[-100:] if len(str(root)) < 90 else os.path.relpath(root / "sock"))
    os.link(root / "app/main.py", root / "hard.py")
    with (root / "sparse").open("wb") as file:
        file.truncate(100_000)
    (root / "binary").write_bytes(b"a\0b")
    (root / "latin").write_bytes("é".encode("latin-1"))
    (root / "big").write_bytes(b"x" * 2_000_001)
    for name, words in {
        **{
            "pipe": "FIFO",
            "sock": "socket|No such device",
            "hard.py": "hard link",
            "sparse": "sparse",
            "app": "a folder",
        },
        **{"binary": "binary", "latin": "not UTF-8", "big": "larger than 2,000,000"},
    }.items():
        with pytest.raises(ToolRefused, match=words):
            files.read(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a device")
def test_devices_are_refused(files: Workspace, root: Path) -> None:
    try:
        os.mknod(root / "null", 0o666 | 0o020000, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("this container may not make devices")
    with pytest.raises(ToolRefused, match="device"):
        files.read("null")


def test_a_missing_file_names_close_ones(files: Workspace) -> None:
    with pytest.raises(MissingPathError, match=r"Close: .*app/models\.py"):
        files.read("app/model.py")
    with pytest.raises(MissingPathError, match=r"app/models\.py"):
        files.read("src/models.py")
    with pytest.raises(MissingPathError, match="no file"):
        files.list("nowhere")
    assert not files.exists("app/other.py")
    assert files.exists("app/main.py")


def test_reading_gives_bounded_numbered_lines(files: Workspace, root: Path) -> None:
    (root / "long.py").write_text("".join(f"line {number}\n" for number in range(1, 1_001)))
    first = files.read("long.py")
    assert (first.start, len(first.lines), first.total, first.lines[-1]) == (1, 400, 1_000, "line 400")
    assert files.read("long.py", 999, 5_000).lines == ("line 999", "line 1000")
    assert files.read("long.py", 7, 7).lines == ("line 7",)
    for start, end in ((0, 5), (5, 4), (1_001, None)):
        with pytest.raises(ToolRetry):
            files.read("long.py", start, end)
    (root / "empty").write_text("")
    assert (files.read("empty").lines, files.read("empty").total) == ((), 0)
    (root / "wide").write_text("x" * 5_000)
    assert len(files.read("wide").lines[0]) == 2_001


def test_writing_needs_the_sha256_of_what_was_read(files: Workspace, root: Path) -> None:
    assert files.write("app/new/deep.py", "a = 1\n", expected=None) == sha("a = 1\n")
    with pytest.raises(ToolRetry, match="exists already"):
        files.write("app/new/deep.py", "b\n", expected=None)
    with pytest.raises(ToolRetry, match="is not what you read"):
        files.write("app/main.py", "b\n", expected=sha("other"))
    with pytest.raises(MissingPathError):
        files.write("app/none.py", "b\n", expected=sha("other"))
    (root / "app/main.py").chmod(0o755)
    files.write("app/main.py", "b\n", expected=sha("import models\n"))
    assert (root / "app/main.py").read_text() == "b\n"
    assert (root / "app/main.py").stat().st_mode & 0o777 == 0o755
    assert [path.name for path in root.rglob("*.tmp")] == []


def test_writing_is_bounded_text(files: Workspace) -> None:
    for text in ("x" * 1_000_001, "a\0b", "\ud800"):
        with pytest.raises(ToolRetry):
            files.write("app/x.py", text, expected=None)


def test_the_scope_is_asked_with_the_clean_path(root: Path) -> None:
    scope = Anything()
    files = Workspace(root, scope)
    files.write("./app//x.py", "", expected=None)
    files.delete("app/x.py")
    assert scope.asked == ["app/x.py", "app/x.py"]
    closed = Workspace(root, ReadOnly())
    closed.read("app/main.py")
    for act in (
        lambda: closed.write("x.py", "", expected=None),
        lambda: closed.edit("app/main.py", "import", "x"),
        lambda: closed.delete("app/main.py"),
    ):
        with pytest.raises(ToolRefused, match="only reads"):
            act()
    assert (root / "app/main.py").read_text() == "import models\n"


def test_edit_replaces_the_one_match(files: Workspace, root: Path) -> None:
    with pytest.raises(ToolRetry, match="not read yet"):
        files.edit("app/models.py", "class User", "class Person")
    files.read("app/models.py", 1, 1)
    files.edit("app/models.py", "class User", "class Person")
    files.edit("app/models.py", "name = 2", "name = 3")
    assert (root / "app/models.py").read_text() == "class Person:\n    name = 1\n\n\nclass Order:\n    name = 3\n"
    (root / "app/models.py").write_text("changed by someone\n")
    with pytest.raises(ToolRetry, match="changed since"):
        files.edit("app/models.py", "changed", "x")


def test_edit_says_where_the_text_stands(files: Workspace) -> None:
    files.read("app/models.py")
    with pytest.raises(ToolRetry, match=r"2 times.*lines 2, 6"):
        files.edit("app/models.py", "    name = ", "x")
    with pytest.raises(ToolRetry, match="closest line is 5"):
        files.edit("app/models.py", "class Orders:", "x")
    with pytest.raises(ToolRetry, match="first line is at line 5"):
        files.edit("app/models.py", "class Order:\n  name = 2", "x")
    for old, new in (("", "x"), ("name", "name")):
        with pytest.raises(ToolRetry, match="exact text"):
            files.edit("app/models.py", old, new)


def test_edit_keeps_the_line_ends(files: Workspace, root: Path) -> None:
    (root / "dos.py").write_bytes(b"a = 1\r\nb = 2\r\n")
    assert files.read("dos.py").lines == ("a = 1", "b = 2")
    files.edit("dos.py", "a = 1\nb = 2", "a = 1\nnew = 5\nb = 3")
    assert (root / "dos.py").read_bytes() == b"a = 1\r\nnew = 5\r\nb = 3\r\n"
    files.edit("dos.py", "new = 5", "x = 1\ny = 2")
    assert (root / "dos.py").read_bytes() == b"a = 1\r\nx = 1\r\ny = 2\r\nb = 3\r\n"
    (root / "mixed.py").write_bytes(b"a\nb\r\nc\n")
    files.read("mixed.py")
    files.edit("mixed.py", "a\n", "z\n")
    assert (root / "mixed.py").read_bytes() == b"z\nb\r\nc\n"


def test_listing_leaves_out_what_is_denied(files: Workspace, root: Path) -> None:
    (root / ".git").mkdir()
    (root / ".git/config").write_text("")
    (root / "app/shop.db").write_text("")
    (root / "node_modules/x").mkdir(parents=True)
    (root / "node_modules/x/index.js").write_text("")
    assert files.list() == (".env.example", "app/main.py", "app/models.py")
    assert files.list("app") == files.list("app/") == ("app/main.py", "app/models.py")
    assert files.list(limit=1) == (".env.example",)
    files.delete("app/main.py")
    assert files.list("app") == ("app/models.py",)


def test_what_an_ignore_file_names_is_neither_read_nor_listed_nor_written(root: Path) -> None:
    files = Workspace(root, Anything(), ignored=lambda path: path.startswith("app/models"))
    assert (root / "app/models.py").read_text(), "the control: it is there"
    assert files.list() == (".env.example", "app/main.py")
    assert files.hides("app/models.py") and files.hides(".env") and not files.hides("app/main.py")
    for act in (
        lambda: files.read("app/models.py"),
        lambda: files.exists("app/models.py"),
        lambda: files.write("app/models.py", "x", expected=None),
    ):
        with pytest.raises(ToolRefused, match="crewignore names it"):
            act()


def test_secrets_and_their_marks_are_not_written_and_what_was_there_stays_editable(root: Path) -> None:
    key = "AKIA" + "IOSFODNN7EXAMPLE"
    files = Workspace(root, Anything(), redact=Redactor(()))
    (root / "app/keys.py").write_text(f'KEY = "{key}"\nNAME = "a"\n')
    read = files.read("app/keys.py")
    with pytest.raises(ToolRefused, match="stands for a value that is not shown"):
        files.write("app/keys.py", 'KEY = "[secret]"\nNAME = "b"\n', expected=read.sha256)
    with pytest.raises(ToolRefused, match="looks like a password or key"):
        files.write("app/new.py", f'COPY = "{key}"\n', expected=None)
    with pytest.raises(ToolRefused, match="looks like a password or key"):
        files.edit("app/keys.py", 'NAME = "a"', f'NAME = "{key}"')
    assert not (root / "app/new.py").exists()
    files.edit("app/keys.py", 'NAME = "a"', 'NAME = "b"')
    assert (root / "app/keys.py").read_text() == f'KEY = "{key}"\nNAME = "b"\n'
    Workspace(root, Anything()).write("app/new.py", key, expected=None)  # the control: without a redactor it lands


def test_forgetting_makes_every_file_unread(files: Workspace) -> None:
    files.read("app/main.py")
    assert files.seen("app/main.py")
    files.forget()
    with pytest.raises(ToolRetry, match="not read yet"):
        files.edit("app/main.py", "import", "x")


def test_a_refused_write_leaves_no_folder_behind(files: Workspace, root: Path) -> None:
    with pytest.raises(MissingPathError):
        files.write("app/new/deep.py", "x", expected=sha("what was never there"))
    assert not (root / "app/new").exists()


def test_a_root_that_is_gone_is_said_to_the_operator(tmp_path: Path) -> None:
    with pytest.raises(ToolFault, match="cannot be opened"):
        Workspace(tmp_path / "gone", Anything()).list()


@pytest.mark.parametrize(
    "path",
    [
        ".secrets.toml",
        "auth.json",
        "a/local.settings.json",
        "client_secret_1.json",
        "google-credentials.json",
        "x.auto.tfvars",
    ],
)
def test_common_credential_files_are_denied_and_their_neighbours_are_not(path: str) -> None:
    assert is_read_denied(path)
    assert not is_read_denied(path.rsplit(".", 1)[0] + ".py")
