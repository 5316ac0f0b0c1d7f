"""The index of code: what is listed and what is left out, what files define, who uses whom, and the map."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from backend_crew.tools.errors import ToolRefused
from backend_crew.tools.index import graph, sources
from backend_crew.tools.index.build import build
from backend_crew.tools.index.facts import CHARACTERS, Index, render
from backend_crew.tools.index.grammars import BY_SUFFIX
from backend_crew.tools.index.outline import outline
from backend_crew.tools.index.resolve import Resolver
from backend_crew.tools.index.store import Store
from backend_crew.tools.index.symbols import symbols

SHOP = {
    "pyproject.toml": "[project]\nname = 'shop'\n",
    "shop/__init__.py": "",
    "shop/api/__init__.py": "",
    "shop/api/orders.py": "from shop.services.orders import place_order, OrderService\n\n\ndef post_order(data):\n    return place_order(OrderService(), data)\n",
    "shop/services/__init__.py": "",
    "shop/services/orders.py": "from shop.models import Order, Refund\n\n\nclass OrderService:\n    def refund_order(self, order: Order) -> Refund:\n        return Refund(order)\n\n\ndef place_order(service, data):\n    return Order(data)\n",
    "shop/models.py": "LIMIT = 3\n\n\nclass Order:\n    def total(self) -> int:\n        return LIMIT\n\n\nclass Refund:\n    pass\n",
    "tests/test_orders.py": "from shop.models import Order\n\n\ndef test_order():\n    assert Order\n",
}


def write(root: Path, files: Mapping[str, str | bytes]) -> Path:
    """Files with their text below a folder."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(text.encode() if isinstance(text, str) else text)
    return root


def indexed(root: Path, feature: str = "", budget: int = 500) -> Index:
    """The index of a folder, without a cache."""
    return build(sources.inventory(root), Store(None), feature, budget)


SYMBOLS: dict[str, tuple[str, list[tuple[int, str, str]]]] = {
    "Python": (
        "X = 1\nclass A(B):\n    async def m(self, a: int = 3) -> str:\n        def inner(): pass\ndef f(\n  a,\n): pass\n",
        [(1, "constant", "X"), (2, "class", "A"), (3, "method", "A.m"), (5, "function", "f")],
    ),
    "JavaScript": (
        "const x = 1;\nexport class A extends B {\n  m(a) {\n  }\n}\nfunction f(a) { function i() {} }\n",
        [(1, "constant", "x"), (2, "class", "A"), (3, "method", "A.m"), (6, "function", "f")],
    ),
    "TypeScript": (
        "export interface I { a: string }\ntype T = { a: 1 }\nenum E { A }\nexport abstract class C {\n  async m<T>(a: T) {\n  }\n}\n",
        [(1, "interface", "I"), (2, "type", "T"), (3, "enum", "E"), (4, "class", "C"), (5, "method", "C.m")],
    ),
    "TSX": ("export const App = () => <div/>;\n", [(1, "constant", "App")]),
    "Go": (
        "package a\nconst A = 1\ntype S struct { X int }\nfunc (s *S) M(a int) error { return nil }\nfunc F[T any](a T) {}\n",
        [(2, "constant", "A"), (3, "type", "S"), (4, "method", "S.M"), (5, "function", "F")],
    ),
    "Java": (
        "public class A extends B {\n  public A(int x) {}\n  List<String> m(int a) { return null; }\n  enum E { X }\n}\n",
        [(1, "class", "A"), (2, "method", "A.A"), (3, "method", "A.m"), (4, "enum", "A.E")],
    ),
    "Ruby": (
        "module M\n class A < B\n  def m(a, b: 1)\n  end\n  def self.s; end\n end\nend\nY = 2\n",
        [(1, "module", "M"), (2, "class", "M.A"), (3, "method", "M.A.m"), (5, "method", "M.A.s"), (8, "constant", "Y")],
    ),
    "PHP": (
        "<?php\nfinal class A extends B {\n public function m(int $a): string { return ''; }\n}\nfunction f() {}\ntrait T {}\n",
        [(2, "class", "A"), (3, "method", "A.m"), (5, "function", "f"), (6, "trait", "T")],
    ),
}


@pytest.mark.parametrize("language", sorted(set(BY_SUFFIX.values())))
def test_definitions_come_from_the_syntax(language: str) -> None:
    text, expected = SYMBOLS[language]
    assert [(one.line, one.kind, one.qualified) for one in symbols(language, text.encode())] == expected


@pytest.mark.parametrize("language", sorted(set(BY_SUFFIX.values())))
def test_the_quick_outline_misses_no_definition_that_the_syntax_has(language: str) -> None:
    """Constants aside: they are shown in their file, but nobody is ranked by them."""
    text, expected = SYMBOLS[language]
    names = {name.rpartition(".")[2].encode() for _, kind, name in expected if kind != "constant"}
    # Java's method without a modifier looks like a call from afar
    assert names - set(outline(language, text.encode()).defined) <= ({b"m"} if language == "Java" else set())


def test_what_stands_in_a_docstring_is_neither_defined_nor_imported() -> None:
    text = b'"""Use:\n\nfrom shop import nothing\ndef example(): pass\n"""\nimport os\ndef real(): pass\n'
    found = outline("Python", text)
    assert (found.defined, found.imports) == ((b"real",), (b"os",))


def test_imports_over_several_lines_are_read() -> None:
    text = b"from a.b import (\n    c,  # why\n    d as e,\n)\nfrom . import f\nimport g.h as i, j\n"
    assert outline("Python", text).imports == (b"a.b:c", b"a.b:d", b".:f", b"g.h", b"j")


@pytest.mark.parametrize(
    ("path", "language", "name", "expected"),
    [
        ("app/api/users.py", "Python", "app.models:User", "app/models.py"),
        ("app/api/users.py", "Python", "..models:User", "app/models.py"),
        ("app/api/users.py", "Python", "app:models", "app/models.py"),
        ("other/src/x.py", "Python", "inner:Thing", "other/src/inner.py"),
        ("app/api/users.py", "Python", "sqlalchemy:Column", None),
        ("web/src/a/b.ts", "TypeScript", "../c", "web/src/c.ts"),
        ("web/src/a/b.ts", "TypeScript", "../c.js", "web/src/c.ts"),
        ("web/src/a/b.ts", "TypeScript", "@/d", "web/src/d/index.ts"),
        ("web/src/a/b.ts", "TypeScript", "express", None),
        ("svc/main.go", "Go", "example.com/svc/store", "svc/store/store.go"),
        ("svc/main.go", "Go", "fmt", None),
        ("j/src/main/java/a/App.java", "Java", "a.b.Order", "j/src/main/java/a/b/Order.java"),
        ("p/app/Http/X.php", "PHP", r"App\Models\User", "p/app/Models/User.php"),
        ("r/app/x.rb", "Ruby", "./y", "r/app/y.rb"),
    ],
)
def test_an_import_leads_to_its_file(path: str, language: str, name: str, expected: str | None) -> None:
    paths = ["app/__init__.py", "app/api/users.py", "app/models.py", "j/src/main/java/a/b/Order.java"]
    paths += ["other/src/inner.py", "other/pyproject.toml", "p/app/Models/User.php", "r/app/y.rb", "svc/store/store.go"]
    paths += ["svc/store/store_test.go", "web/src/c.ts", "web/src/d/index.ts", "models.py"]
    resolver = Resolver(paths, [("example.com/svc", "svc")])
    assert [paths[number] for number in resolver.targets(path, language, name)] == ([expected] if expected else [])


def test_the_map_shows_what_others_use_with_its_line(tmp_path: Path) -> None:
    text = render(indexed(write(tmp_path, SHOP)).places)
    assert "shop/models.py:\n" in text
    assert "    4 class Order" in text
    assert "def refund_order(self, order: Order) -> Refund" in text
    assert "test_order" not in text, "tests are read for nobody's sake"


def test_the_map_leans_to_the_feature_and_keeps_to_its_budget(tmp_path: Path) -> None:
    many = {f"shop/part{n}.py": f"from shop.models import Order\n\n\nclass Thing{n}:\n    pass\n" for n in range(40)}
    root = write(tmp_path, {**SHOP, **many})
    for budget in (20, 60, 200):
        assert len(render(indexed(root, budget=budget).places)) <= budget * CHARACTERS
    plain, leaning = (indexed(root, feature, 60).places for feature in ("", "Refunds for orders"))
    assert "Refund" not in [one.name for one in plain][:2]
    assert "Refund" in [one.name for one in leaning][:2]


def test_the_same_tree_gives_the_same_map_in_every_process(tmp_path: Path) -> None:
    root = write(tmp_path, SHOP)
    code = (
        "import sys; from pathlib import Path; from backend_crew.tools.index import sources\n"
        "from backend_crew.tools.index.build import build; from backend_crew.tools.index.facts import render; from backend_crew.tools.index.store import Store\n"
        "print(render(build(sources.inventory(Path(sys.argv[1])), Store(None)).places))"
    )

    said = [
        subprocess.run(
            [sys.executable, "-c", code, str(root)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert said[0] == said[1] != "\n"


def test_layers_and_what_goes_against_them(tmp_path: Path) -> None:
    found = indexed(write(tmp_path, SHOP)).layering
    assert found is not None
    assert (found.base, found.layers, found.against) == ("shop/", (("api",), ("services",), ("models.py",)), ())
    write(tmp_path, {"shop/models.py": "from shop.api import orders\n\n\nclass Order: ...\nclass Refund: ...\n"})
    broken = indexed(tmp_path).layering
    assert broken is not None
    assert len(broken.against) == 1
    assert broken.against[0].path.startswith("shop/")


def test_nothing_of_the_repository_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evil = "open('ran', 'w').close()\nraise SystemExit\n"
    root = write(
        tmp_path,
        {**SHOP, "shop/__init__.py": evil, "json.py": evil, "grimp/__init__.py": evil, "sitecustomize.py": evil},
    )
    monkeypatch.chdir(root)
    assert indexed(root).layering is not None
    assert not list(root.rglob("ran"))


def test_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ToolRefused, match="not a folder"):
        sources.inventory(tmp_path / "missing")


def test_rank_flows_to_what_is_used() -> None:
    nodes = [
        graph.Node("a.py", "Python", outline("Python", b"from b import Thing\nx = Thing()\n"), (1,)),
        graph.Node("b.py", "Python", outline("Python", b"class Thing: pass\nclass Unused: pass\n"), ()),
    ]
    ranked = graph.rank(nodes)
    assert ranked.files[1] > ranked.files[0]
    assert abs(sum(ranked.files) - 1) < 1e-9
    assert [name for _, name, _ in ranked.definitions] == [b"Thing", b"Unused"]


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        (
            "Python",
            "def f(\n    a,  # why\n    b=1,\n) -> int:  # more\n    return 1\n",
            "def f( a, # why b=1, ) -> int",
        ),
        ("Python", "class A(B):\n    # first a comment\n    x = 1\n", "class A(B)"),
        ("TypeScript", "export const f = async (a: string) => a;\n", "f = async (a: string)"),
        ("Go", "package a\ntype S struct {\n\tX int\n}\n", "type S struct"),
        ("Ruby", "def m(a)\nend\n", "def m(a)"),
        ("Java", "class A {\n  @Override\n  public int m(int a) { return 1; }\n}\n", "class A"),
    ],
)
def test_a_signature_ends_where_the_body_begins(language: str, text: str, expected: str) -> None:
    assert symbols(language, text.encode())[0].signature == expected
