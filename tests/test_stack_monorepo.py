"""Services of a repository, and which one a feature is about: by its words, or not at all."""

import pytest
from analysis.stacks import small

from backend_crew.tools import stack
from backend_crew.tools.monorepo import choose, name_units, units
from backend_crew.tools.stack_facts import Service
from backend_crew.tools.stack_files import File


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> tuple[Service, ...]:
    """The services of the repository that has three."""
    root = tmp_path_factory.mktemp("several")
    return stack.survey(next(one for one in small() if one.name.startswith("three services")).put(root)).services


@pytest.mark.parametrize(
    ("feature", "path"),
    [
        ("Let people cancel an order", "services/orders"),
        ("Billing: send a reminder", "services/billing"),
        ("Invoices as PDF", "services/billing"),  # the composed service's own name
        ("Faster pages", None),
        ("Add an order to its invoice", None),
        ("", None),
    ],
)
def test_the_service_that_the_words_name(several: tuple[Service, ...], feature: str, path: str | None) -> None:
    chosen = choose(several, feature)
    assert (chosen.service.path if chosen.service else None) == path
    assert chosen.reason


def test_more_words_tell_services_apart(several: tuple[Service, ...]) -> None:
    assert choose(several, "Refunds").service is None
    chosen = choose(several, "Refunds", {"services/billing": ["/refunds", "POST"], "services/orders": ["/orders"]})
    assert chosen.service is not None
    assert chosen.service.path == "services/billing"
    assert "refund" in chosen.reason


def test_the_only_backend_is_the_one(several: tuple[Service, ...]) -> None:
    front_and_one = [one for one in several if one.role != "backend" or one.path == "services/orders"]
    assert len(front_and_one) == 3
    chosen = choose(front_and_one, "whatever").service
    assert chosen is not None
    assert chosen.path == "services/orders"
    assert choose([one for one in several if one.role != "backend"], "orders").service is None


def test_facts_are_of_each_service(several: tuple[Service, ...]) -> None:
    by_path = {one.path: {(fact.kind, fact.value) for fact in one.facts} for one in several}
    assert ("framework", "FastAPI") in by_path["services/orders"]
    assert ("framework", "FastAPI") not in by_path["services/billing"]
    assert not [one for one in several if one.traps], "two services with a framework each contradict nothing"


def test_a_manage_py_below_its_manifest_is_no_unit_of_its_own() -> None:
    assert set(units(["pyproject.toml", "src/manage.py"])) == {""}
    assert set(units(["src/manage.py", "other/manage.py"])) == {"", "src", "other"}
    assert set(units(["api/go.mod", "tests/fixtures/go.mod"])) == {"", "api"}


def test_compose_files_name_what_they_build() -> None:
    known = units(["a/go.mod", "b/go.mod", "c/go.mod"])
    text = (
        "x-common: &common\n  image: none\nservices:\n    # a comment\n    one:\n        build: ./a\n    two:\n"
        "        build:\n            dockerfile: D\n            context: '../repo/../b'\n    three:\n        build: ../..\n"
        "    four:\n        image: x\n    five:\n        context: ./c\nvolumes:\n    six:\n        build: ./c\n"
    )
    name_units(known, File("deploy/docker-compose.yml", text.replace("./a", "../a").replace("./c", "../c")))
    assert {path: unit.names for path, unit in known.items()} == {
        "": ["three"],
        "a": ["a", "one"],
        "b": ["b", "two"],
        "c": ["c"],
    }
