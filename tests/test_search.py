"""Searching honours the ignore files, shows no denied file and stays bounded."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from backend_crew.tools.errors import ToolFault, ToolRetry
from backend_crew.tools.ripgrep import find_rg
from backend_crew.tools.search import Match, find_symbol, search

FILES = {
    ".gitignore": "ignored/\n*.log\n",
    ".crewignore": "fixtures/\n",
    ".env": "needle=1\n",
    ".env.example": "needle=\n",
    ".git/config": "needle\n",
    ".github/workflows/ci.yml": "run: needle\n",
    ".cache/x": "needle\n",
    "server.pem": "needle\n",
    "app/main.py": "import os\nneedle = 1\nprint(needle)\n",
    "app/sub/deep.py": "# needle\n",
    "app/page.ts": "const needle = 1\n",
    "fixtures/data.py": "needle\n",
    "ignored/x.py": "needle\n",
    "debug.log": "needle\n",
    "node_modules/x.js": "needle\n",
    "wide.txt": "needle " + "x" * 5_000 + "\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    # An ignore file above the root belongs to someone else.
    (tmp_path / ".gitignore").write_text("*\n")
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def paths(found: tuple[Match, ...]) -> list[str]:
    return sorted({match.path for match in found})


def test_it_finds_what_may_be_seen_and_nothing_else(root: Path) -> None:
    plain = subprocess.run([find_rg(), "--hidden", "-l", "needle", "."], cwd=root, capture_output=True, check=False)
    assert b"./.env\n" in plain.stdout, "weak control: plain ripgrep shows secrets"
    found = search(root, "needle")
    assert paths(found) == [
        *(".env.example", ".github/workflows/ci.yml", "app/main.py", "app/page.ts", "app/sub/deep.py", "wide.txt"),
    ]
    assert Match("app/main.py", 2, "needle = 1") in found
    assert max(len(match.text) for match in found) < 400
    assert search(root, "no such text anywhere") == ()


def test_what_the_workspace_hides_is_not_found(root: Path) -> None:
    def hides(path: str) -> bool:
        return path.startswith("app/")

    assert "app/main.py" in paths(search(root, "needle")), "the control: otherwise it is"
    assert paths(search(root, "needle", hides=hides)) == [".env.example", ".github/workflows/ci.yml", "wide.txt"]
    assert [one.path for one in find_symbol(root, "needle")] == ["app/main.py", "app/page.ts"]
    assert find_symbol(root, "needle", hides=hides) == ()


def test_ignore_files_above_the_root_do_not_count(root: Path) -> None:
    shutil.rmtree(root / ".git")
    plain = subprocess.run([find_rg(), "--no-require-git", "-l", "needle"], cwd=root, capture_output=True, check=False)
    assert plain.stdout == b"", "weak control: plain ripgrep finds nothing below an ignored folder"
    assert "app/main.py" in paths(search(root, "needle"))


def test_links_are_not_followed(root: Path) -> None:
    (root.parent / "outside").mkdir()
    (root.parent / "outside/x.py").write_text("unique-outside\n")
    (root / "link").symlink_to(root.parent / "outside")
    (root / "file.py").symlink_to(root.parent / "outside/x.py")
    assert search(root, "unique-outside") == ()


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("*.py", ["app/main.py", "app/sub/deep.py"]),
        ("**/*.py", ["app/main.py", "app/sub/deep.py"]),
        ("app/*.py", ["app/main.py"]),
        ("app/**", ["app/main.py", "app/page.ts", "app/sub/deep.py"]),
        ("app/**/deep.*", ["app/sub/deep.py"]),
        ("*.{ts,txt}", ["app/page.ts", "wide.txt"]),
        ("[mp]a*.??", ["app/main.py", "app/page.ts"]),
        ("ignored/*.py", []),
        (".env", []),
    ],
)
def test_globs_narrow_without_lifting_the_ignore_files(root: Path, glob: str, expected: list[str]) -> None:
    assert paths(search(root, "needle", glob=glob)) == expected


def test_bad_input_goes_back_with_the_reason(root: Path) -> None:
    with pytest.raises(ToolRetry, match="regex parse error"):
        search(root, "unclosed(")
    for pattern in ("", "a\nb", "a\0b"):
        with pytest.raises(ToolRetry, match="pattern"):
            search(root, pattern)
    for glob in ("!x", "/etc/*", "../*", "[z-a]", "a{b"):
        with pytest.raises(ToolRetry):
            search(root, "needle", glob=glob)
    with pytest.raises(ToolRetry, match="identifier"):
        find_symbol(root, "a b")
    with pytest.raises(ToolFault, match="not a folder"):
        search(root / "none", "x")


def test_patterns_that_look_like_flags_are_text(root: Path) -> None:
    (root / "flags.txt").write_text("--pre=touch x\n-e\n")
    assert search(root, "--pre=touch", literal=True) == (Match("flags.txt", 1, "--pre=touch x"),)
    assert search(root, "x(1.", literal=True) == ()


def test_results_are_bounded_and_in_order(root: Path) -> None:
    for number in range(10):
        (root / f"many{number}.txt").write_text("haystack\n" * 100)
    found = search(root, "haystack")
    assert len(found) == 100
    assert [match.path for match in found] == sorted(match.path for match in found)
    assert len([match for match in search(root, "haystack", limit=10_000) if match.path == "many0.txt"]) == 50


def test_a_configuration_of_the_person_is_not_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root.parent / "ripgreprc").write_text("--invalid-flag\n")
    monkeypatch.setenv("RIPGREP_CONFIG_PATH", str(root.parent / "ripgreprc"))
    assert subprocess.run([find_rg(), "needle", "."], cwd=root, capture_output=True, check=False).returncode == 2
    assert search(root, "needle")


def test_a_missing_ripgrep_is_said_with_the_way_to_install_it(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rg = find_rg()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(ToolFault, match=r"pip install ripgrep==14\.1\.0"):
        search(root, "x", search_path=str(tmp_path))
    (tmp_path / "bin").mkdir()
    shutil.copy(rg, tmp_path / "bin/rg")
    assert find_rg(str(tmp_path / "bin")) == tmp_path / "bin/rg"


SYMBOLS = {
    "a.py": "import x\nfrom y import total\n\ntotal(1)\n\n\nclass Order:\n    def total(self) -> int:\n"
    "        return total\n\n"
    'TEXT = """\ndef total():\n"""\nasync def other(total: int = 1) -> None:\n    pass\n',
    "broken.py": "def total(:\n",
    "const.py": "total: int = 1\ndata.total = 2\nf(total=3)\n",
    "b.ts": "import { total } from './c'\nexport function total(a) {}\nconst x = total(1)\ninterface totals {}\n"
    "class A {\n  total(a, b) {\n  }\n}\n",
    "c.go": "func (o *Order) total() int {\n\treturn total()\n}\ntype total struct {}\n",
    "D.java": "class D {\n  public static int total(int a) { return total(a); }\n}\n",
    "e.sql": "CREATE TABLE IF NOT EXISTS total (id int);\nselect * from total;\n",
    "f.rs": "pub fn total(x: i32) -> i32 { total(x) }\n",
    "g.rb": "def total\nend\n",
}


def test_symbols_are_found_where_they_are_defined(tmp_path: Path) -> None:
    for name, text in SYMBOLS.items():
        (tmp_path / name).write_text(text)
    found = {(match.path, match.line) for match in find_symbol(tmp_path, "Order.total")}
    assert found == {
        *(("a.py", 8), ("broken.py", 1), ("const.py", 1), ("b.ts", 2), ("b.ts", 6), ("c.go", 1), ("c.go", 4)),
        *(("D.java", 2), ("e.sql", 1), ("f.rs", 1), ("g.rb", 1)),
    }
    assert [match.path for match in find_symbol(tmp_path, "Order")] == ["a.py"]
    assert len(find_symbol(tmp_path, "total", limit=2)) == 2
