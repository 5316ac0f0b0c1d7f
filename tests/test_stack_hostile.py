"""Repositories that are broken, huge or made to mislead: a survey ends soon, says what it saw, and raises nothing."""

import os
import time
from pathlib import Path

import pytest
from test_stack import put

from backend_crew.tools import stack, stack_files
from backend_crew.tools.manifests import borrowed, declared


def values(root: Path) -> set[tuple[str, str]]:
    return {(fact.kind, fact.value) for fact in stack.survey(root).facts}


def test_a_repository_of_words_has_no_stack(tmp_path: Path) -> None:
    put(tmp_path, {"README.md": "Uses Django, `import flask` and postgresql://db/x\n", "docs/a.md": "# FastAPI\n"})
    found = stack.survey(tmp_path)
    assert (found.facts, found.traps, found.services, found.complete) == ((), (), (), True)


def test_what_is_generated_vendored_or_elsewhere_does_not_count(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "app.py": "import bottle\n",
            "vendor/github.com/gin-gonic/gin/gin.go": 'package gin\nimport "github.com/labstack/echo"\n',
            "node_modules/koa/index.js": "require('express')\n",
            "third_party/x/setup.py": "import tornado\n",
            "static/js/lib.js": "require('fastify')\n",
            "lib/jquery.min.js": "require('hapi')\n",
            "api_pb2.py": "import grpc\n",
            ".gitmodules": '[submodule "other"]\n\tpath = other\n',
        },
    )
    (tmp_path / "other").mkdir()
    with (tmp_path / "huge.py").open("wb") as stream:
        stream.write(b"import sanic\n")
        stream.truncate(10_000_000)
    (tmp_path / "huge.json").write_text('{"dependencies": {"koa": "1"}, "x": "' + "y" * 10_000_000 + '"}')
    assert values(tmp_path) == {("language", "Python"), ("framework", "Bottle")}


def test_links_loops_depth_and_strange_names(tmp_path: Path) -> None:
    put(tmp_path, {"app/a.py": "import bottle\n"})
    (tmp_path / "app/loop").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to("self")
    deep = tmp_path.joinpath(*["d"] * 60)
    deep.mkdir(parents=True)
    (deep / "x.py").write_text("import flask\n")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.py")).write_text("import tornado\n")
    (tmp_path / "new\nline.py").write_text("import sanic\n")
    assert values(tmp_path) == {("language", "Python"), ("framework", "Bottle")}


def test_other_encodings_and_line_ends(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b"# caf\xe9\r\n\r\nimport bottle\r\n")
    (tmp_path / "requirements.txt").write_bytes(b"# caf\xe9\r\nbottle==0.13\r\nflask\r\n")
    found = stack.survey(tmp_path)
    facts = {fact.value: fact for fact in found.facts}
    assert (facts["Bottle"].line, facts["Bottle"].quote) == (3, "import bottle")
    (trap,) = found.traps
    assert (trap.rule, trap.evidence[0].line) == ("trap.declared-not-imported", 3)


def test_many_empty_files_cost_next_to_nothing(tmp_path: Path) -> None:
    for part in range(20):
        folder = tmp_path / f"p{part}"
        folder.mkdir()
        for number in range(500):
            os.close(os.open(folder / f"m{number}.py", os.O_CREAT | os.O_WRONLY))
    (tmp_path / "app.py").write_text("import bottle\n")
    started = time.process_time()
    assert ("framework", "Bottle") in values(tmp_path)
    assert time.process_time() - started < 2  # 0.1 s on an idle machine


def test_more_sources_than_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack_files, "_SOURCE_FILES", 40)
    put(tmp_path, {f"services/a/m{number}.py": "x = 1\n" for number in range(100)})
    put(tmp_path, {"services/z/main.py": "import bottle\n", "requirements.txt": "flask\n"})
    found = stack.survey(tmp_path)
    assert not found.complete
    assert ("framework", "Bottle") in {(fact.kind, fact.value) for fact in found.facts}, "each part has its share"
    assert ("framework", "Flask") in {(fact.kind, fact.value) for fact in found.facts}, "not read is not: not imported"
    assert not [trap for trap in found.traps if trap.rule == "trap.declared-not-imported"]


# Each made a regular expression of the rules, or one much like them, take time that grows with the square.
SLOW = (" \n", "image: a/", "@app.", "(err, req, res, ", "from a import (", "offset: ", '= """ ', "# via ", "a==1 # via b\n",
        "x-api-key ", "build:\n  ", "router.route(", '"test": "jest ', "postgres+a", "/v1/v")  # fmt: skip


@pytest.mark.parametrize("name", ["a.py", "a.ts", "a.go", "a.java", "a.rb", "a.php", "a.rs", "a.yml", "pyproject.toml",
                                  "package.json", "requirements.txt", "setup.cfg", "docker-compose.yml", "pom.xml"])  # fmt: skip
def test_no_text_makes_a_rule_slow(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("".join(seed * (30_000 // len(seed)) for seed in SLOW))
    started = time.process_time()
    stack.survey(tmp_path)
    assert time.process_time() - started < 5


def test_packages_that_are_there_for_another_are_told_apart() -> None:
    pinned = "a==1  # via -r in.txt\nb==2\n    # via a\nc==3\n    # via\n    #   a\n    #   x (pyproject.toml)\nd==4\n# a comment\n"
    assert borrowed("requirements.txt", pinned) == {"pypi:b"}
    assert [name for name, _ in declared("requirements.txt", pinned)] == ["pypi:a", "pypi:b", "pypi:c", "pypi:d"]
    assert borrowed("go.mod", "require (\n\ta.org/x v1\n\tb.org/y v2 // indirect\n)\n") == {"go:b.org/y"}
    assert borrowed("Gemfile", "gem 'a' # via b\n") == frozenset()
