"""Alterations of existing definitions: found where code changed, silent where only words or additions did."""

import pytest

from backend_crew.tools.definitions import Altered, altered

MODELS = '''"""Models."""
import os
from app.db import Base

LIMIT = 10


class User(Base):
    """A user."""

    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    orders: Mapped[list["Order"]] = relationship(back_populates="user")

    @property
    def name(self) -> str:
        """The name."""
        return self.first + self.last

    @name.setter
    def name(self, value: str) -> None:
        self.first, self.last = value.split()


def total(a, b=1):
    # adds
    return a + b


app.include_router(users)
'''
LINK = "relationship(back_populates='user"


def changes(old: str, new: str, path: str = "app/models.py") -> list[tuple[str, str, str]]:
    return [(item.name, item.kind, item.what) for item in altered({path: old}, {path: new})]


def edited(before: str, after: str) -> list[tuple[str, str, str]]:
    assert before in MODELS
    return changes(MODELS, MODELS.replace(before, after))


def test_two_long_texts_are_shown_from_where_they_part() -> None:
    route = "@router.post('/subjects', response_model=SubjectResponse, status_code=201, summary='Make one'%s)\ndef make(): ...\n"
    ((_, _, what),) = changes(route % "", route % ", responses={409: 1}")
    assert what == "decorators changed: …, summary='Make one') -> …, summary='Make one', responses={409: 1})"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"""A user."""', '"""A person who buys."""'),
        ('    """A user."""\n', ""),
        ("    # adds\n", ""),
        ("return a + b", "return (a\n        + b)"),
        ("import os\n", "import os\nimport json\n"),
        ("LIMIT = 10\n", "LIMIT = 10\nOTHER = 11\n"),
        ("app.include_router(users)", "app.include_router(users)\napp.include_router(orders)"),
        ("    @name.setter", "    @name.deleter\n    def name(self): ...\n\n    @name.setter"),
        ("(primary_key=True)\n", "(primary_key=True)\n    nickname: Mapped[str | None]\n"),
    ],
)  # fmt: skip
def test_words_formatting_and_additions_are_no_alterations(before: str, after: str) -> None:
    assert edited(before, after) == []


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("return a + b", "return a - b", ("total", "function", "body changed")),
        ("total(a, b=1)", "total(a, b=1, c=2)", ("total", "function", "signature changed: (a, b=1) -> (a, b=1, c=2)")),
        ("total(a, b=1)", "total(a, b=2)", ("total", "function", "signature changed: (a, b=1) -> (a, b=2)")),
        ("def total(a", "async def total(a", ("total", "function", "calling style changed: plain -> async")),
        ("def total(a", "@cached\ndef total(a", ("total", "function", "decorators changed: none -> cached")),
        ("def total(a", "def sum_up(a", ("total", "function", "removed")),
        ("class User(Base)", "class User(Base, Mixin)", ("User", "class", "bases changed: (Base) -> (Base, Mixin)")),
        ("LIMIT = 10", "LIMIT = 20", ("LIMIT", "assignment", "value changed: 10 -> 20")),
        ("LIMIT = 10\n", "if DEBUG:\n    LIMIT = 10\n", ("LIMIT", "assignment", "condition changed: none -> if DEBUG")),
        ('(back_populates="user")', '(back_populates="user", cascade="all")', (
            "User.orders", "assignment",
            f"value changed: {LINK}') -> {LINK}', cascade='all')")),
        ('list["Order"]', 'set["Order"]', (
            "User.orders", "assignment", "annotation changed: Mapped[list['Order']] -> Mapped[set['Order']]")),
        ("self.first + self.last", "self.last", ("User.name", "function", "body changed")),
        ("value.split()", "value.split(' ')", ("User.name", "function", "body changed")),
        ("app.include_router(users)", "app.include_router(orders)", (
            "app.include_router(users)", "statement", "removed")),
    ],
)  # fmt: skip
def test_each_alteration_is_named_at_its_smallest_definition(
    before: str, after: str, expected: tuple[str, str, str]
) -> None:
    assert edited(before, after) == [expected]


def test_the_line_is_where_the_definition_stands_now_or_stood() -> None:
    moved = altered({"m.py": "A = 1\n"}, {"m.py": "import x\n\nA = 2\n"})
    gone = altered({"m.py": "B = 0\nA = 1\n"}, {"m.py": "B = 0\n"})
    assert [item.line for item in moved] == [3]
    assert gone == (Altered("m.py", "A", "assignment", "removed", 2),)


def test_a_second_definition_below_replaces_the_first() -> None:
    old = "def allowed(user):\n    return user.admin\n"
    new = old + "\n\ndef allowed(user):\n    return True\n"
    assert new.startswith(old)  # the weak control: comparing text by prefix sees an addition alone
    assert changes(old, new) == [("allowed", "function", "defined again at line 5")]
    assert changes("class A:\n    def f(self): ...\n", "class A:\n    def f(self): ...\nA.f = None\n") == [
        ("A.f", "function", "defined again at line 3")
    ]


def test_the_order_of_fields_counts_and_a_removed_class_is_one_alteration() -> None:
    assert changes("class P:\n    a: int\n    b: int\n", "class P:\n    b: int\n    a: int\n") == [
        ("P", "class", "order of attributes changed")
    ]
    assert changes("class P:\n    a: int\n    def f(self): ...\n", "X = 1\n") == [("P", "class", "removed")]


def test_moving_to_another_file_or_deleting_a_file_counts_as_removed() -> None:
    old = {"a.py": "def f():\n    return 1\n", "b.py": "X = 1\n", "c.txt": "x"}
    new = {"b.py": "X = 1\ndef f():\n    return 1\n"}
    assert altered(old, new) == (
        Altered("a.py", "a.py", "file", "removed, with f", 1),
        Altered("c.txt", "c.txt", "file", "removed", 1),
    )


def test_added_files_are_no_alterations() -> None:
    assert altered({}, {"new.py": "X = 1\n"}) == ()


def test_python_that_cannot_be_parsed_is_compared_as_a_file() -> None:
    assert changes("def f(:\n", "def g(:\n") == [("app/models.py", "file", "changed from line 1 on, 1 -> 1 lines")]


def test_dependencies_and_settings_of_a_pyproject() -> None:
    old = '[project]\nname = "shop"\ndependencies = [\n  "fastapi>=0.1",\n  "SQLAlchemy>=2",\n]\n'
    old += "[tool.ruff]\nline-length = 100\n"
    new = (
        old.replace("fastapi>=0.1", "fastapi>=0.9").replace('  "SQLAlchemy>=2",\n', '  "httpx",\n').replace("100", "90")
    )
    assert changes(old, new, "pyproject.toml") == [
        ("fastapi", "assignment", "value changed: fastapi>=0.1 -> fastapi>=0.9"),
        ("sqlalchemy", "assignment", "removed"),
        ("tool.ruff.line-length", "assignment", "value changed: 100 -> 90"),
    ]
    assert changes(old, old.replace('"fastapi>=0.1",', '"fastapi>=0.1", "httpx",'), "pyproject.toml") == []
    lines = [item.line for item in altered({"pyproject.toml": old}, {"pyproject.toml": new})]
    assert lines == [4, 5, 8]


def test_dependencies_of_requirements_and_package_json() -> None:
    assert changes("Flask==1.0\nx==1\n", "flask==2.0  # why\nx==1\ny\n", "requirements-dev.txt") == [
        ("flask", "assignment", "value changed: Flask==1.0 -> flask==2.0")
    ]
    old = '{"dependencies": {"express": "^4"}, "scripts": {"test": "jest"}}'
    new = '{"dependencies": {"express": "^5", "pg": "8"}, "scripts": {"test": "jest", "dev": "x"}}'
    assert changes(old, new, "package.json") == [("express", "assignment", 'value changed: "^4" -> "^5"')]


def test_other_files_are_altered_as_a_whole() -> None:
    found = altered({"app.ts": "a\nb\n"}, {"app.ts": "a\nc\nd\n"})
    assert found == (Altered("app.ts", "app.ts", "file", "changed from line 2 on, 2 -> 3 lines", 2),)


def test_a_longer_all_and_prose_are_no_alterations() -> None:
    old = {"m.py": '__all__ = ["a"]\n', "README.md": "old\n"}
    assert altered(old, {"m.py": '__all__ = ["a", "b"]\n', "README.md": "new\n"}) == ()
    names = [one.name for one in altered(old, {"m.py": '__all__ = ["b"]\n'})]
    assert names == ["README.md", "__all__"]


MENU = (
    "MENU = {'title': 'Administration', 'sidebar': [{'title': 'Users', 'items': [{'title': 'All users', 'link': link('users')}"
    "%s]}, {'title': 'Background tasks', 'collapsible': %s}]%s}\n"
)


@pytest.mark.parametrize(
    ("after", "what"),
    [
        (
            (", {'title': 'Addresses'}", "True", ""),
            "1 entry added ({'title': 'Addresses'} in ['sidebar'][0]['items'])",
        ),
        (("", "False", ""), "1 entry changed (True -> False in ['sidebar'][1]['collapsible'])"),
        (
            (", 1, 2, 3", "True", ", 'x': 1"),
            "4 entries added (1 in ['sidebar'][0]['items']; 2 in ['sidebar'][0]['items'] and 2 more)",
        ),
    ],
)
def test_a_long_value_is_told_by_what_was_added_or_taken_out(after: tuple[str, str, str], what: str) -> None:
    old, new = MENU % ("", "True", ""), MENU % after
    assert changes(old, new) == [("MENU", "assignment", f"value changed: {what}")]
    ((_, _, back),) = changes(new, old)
    assert back.startswith("value changed: ") and ("added" not in back or "removed" in back)


def test_a_long_value_of_another_kind_is_shown_from_where_it_parts() -> None:
    old, new = f"TEXT = '{'a' * 200}b'\n", f"TEXT = '{'a' * 200}c'\n"
    ((_, _, what),) = changes(old, new)
    assert what.startswith("value changed: …aaa") and what.endswith("b' -> …aaaaaaaaaaaaaaaaaaaac'")
    ((_, _, what),) = changes(MENU % ("", "True", ""), "MENU = load_menu()\n")
    assert what.endswith("-> load_menu()")
