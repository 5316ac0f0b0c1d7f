"""Conventions: what most of a repository does, shown by at least two places; and plans that leave it."""

from pathlib import Path

import pytest

from backend_crew.tools.conventions import Convention, deviations, find_conventions

SHOP = Path(__file__).parent.parent / "examples/shop"


@pytest.fixture(scope="module")
def shop() -> tuple[Convention, ...]:
    return find_conventions(
        (path.relative_to(SHOP).as_posix(), path.read_text(encoding="utf-8")) for path in sorted(SHOP.rglob("*.py"))
    )


def _statements(found: tuple[Convention, ...]) -> dict[str, str]:
    return {one.statement: one.kind for one in found}


def test_the_sample_shows_where_its_files_live_and_how_they_work(shop: tuple[Convention, ...]) -> None:
    said = _statements(shop)
    for words in (
        "routes are in shop/api/*.py (2 of 2 files)",
        "schemas are in shop/schemas/*.py (3 of 3 files)",
        "services are in shop/services/*.py (2 of 2 files)",
        "models are in shop/models/*.py (3 of 3 files)",
        "tests are in tests/*.py (5 of 5 files)",
        "test files are named test_*.py",
        "changes are kept by self._session.commit, in shop/services/ (5 places)",
        "errors are mapped to responses by exception_handler, in shop/api/ (3 places)",
    ):
        assert words in said, words


def test_each_example_stands_at_its_line_and_there_are_two(shop: tuple[Convention, ...]) -> None:
    assert shop
    for one in shop:
        assert len(one.examples) >= 2, one.statement
        for example in one.examples:
            line = (SHOP / example.path).read_text(encoding="utf-8").split("\n")[example.line - 1]
            assert example.quote in line, one.statement


def test_a_plan_that_leaves_the_places_of_its_layer_is_named(shop: tuple[Convention, ...]) -> None:
    plan = [
        ("shop/services/refunds.py", "business_logic"),
        ("shop/api/v2/refunds.py", "presentation"),  # a home that grows a folder is still that home
        ("shop/refund_logic.py", "business_logic"),
        ("refund_routes.py", "presentation"),
        ("migrations/versions/0003_refunds.py", "data_access"),  # where migrations lie, their tool says
        ("docs/refunds.md", "presentation"),  # another kind of file
    ]
    assert [one.path for one in deviations(shop, plan)] == ["shop/refund_logic.py", "refund_routes.py"]
    assert deviations(shop, plan, taken=["shop/refund_logic.py", "refund_routes.py"]) == ()


def test_one_place_is_no_convention_and_neither_is_a_minority() -> None:
    one = [("app/users.py", "@router.get('/users')\ndef users(): ...\n")]
    assert find_conventions(one) == ()
    spread = [(f"{name}/{name}.py", f"@router.get('/{name}')\ndef x(): ...\n") for name in "abcdefghij"]
    assert not [one for one in find_conventions(spread) if one.kind == "layer of files"]


def test_files_named_by_their_role_in_many_folders_are_one_home() -> None:
    nest = [
        (f"src/{name}/{name}.controller.ts", f"@Controller('{name}')\nexport class C {{}}\n")
        for name in ("cats", "dogs")
    ]
    django = [(f"{name}/views.py", "class ListView(View):\n    pass\n") for name in ("shop", "blog")]
    (home,) = [one for one in find_conventions(nest) if one.kind == "layer of files"]
    assert home.pattern == ("src/*/*.controller.ts",)
    (home,) = [one for one in find_conventions(django) if one.kind == "layer of files"]
    assert home.pattern == ("*/views.py",)
    assert deviations([home], [("billing/views.py", "presentation"), ("billing/routes.py", "presentation")])[
        0
    ].path == ("billing/routes.py")


def test_text_that_only_looks_like_code_breaks_nothing() -> None:
    odd = [("a.py", "\0" * 1000), ("b.py", ""), ("c.ts", "@Controller(" * 5000), ("d.py", "raise HTTPException" * 2)]
    find_conventions(odd)
