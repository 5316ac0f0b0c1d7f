"""Caps and prices: what is unknown is said to be, and a cap names the flag that raises it."""

from pathlib import Path
from typing import Any

import pytest
from records import make_journal

from backend_crew.crew import budget, flags
from backend_crew.crew.budget import Spent
from backend_crew.crew.errors import UsageError
from backend_crew.crew.journal import Totals
from backend_crew.crew.settings import Caps

NONE = Caps(**dict.fromkeys(vars(Caps())))
STAGED: dict[str, Any] = {"stage_calls": 2, "stage_tokens": 10, "stage_minutes": 1.5, "stage_cost": 0.25}


def test_a_known_model_has_a_price_that_grows_with_its_tokens() -> None:
    small, large = (
        budget.cost_of("anthropic/claude-sonnet-4-6", 1000, 100),
        budget.cost_of("anthropic/claude-sonnet-4-6", 2000, 200),
    )
    assert small is not None
    assert large is not None
    assert 0 < small < large


@pytest.mark.parametrize("model", ["nosuch/model", "anthropic/no-such-model", "ollama/llama3-mine", "", "x", "/"])
def test_an_unknown_price_is_unknown_and_never_nothing(model: str) -> None:
    assert budget.cost_of(model, 1000, 1000) is None


def test_costs_in_words() -> None:
    assert budget.cost_words(Totals(1, 1, 1, None)) == "cost unknown"
    assert budget.cost_words(Totals(1, 1, 1, 1.239)) == "$1.24"


@pytest.mark.parametrize(
    ("caps", "spent", "says"),
    [
        (Caps(calls=3), Spent(Totals(calls=3)), "3 of 3 calls are used; resume with a larger --max-calls"),
        (Caps(tokens=100), Spent(Totals(1, 60, 40)), "100 of 100 tokens are used; resume with a larger --max-tokens"),
        (Caps(minutes=1.5), Spent(minutes=2.0), "2 of 1.5 minutes are used; resume with a larger --max-minutes"),
        (Caps(cost=0.5), Spent(Totals(1, 1, 1, 0.75)), "0.75 of 0.5 dollars are used; resume with a larger --max-cost"),
        (
            Caps(cost=9.0),
            Spent(Totals(1, 1, 1, None)),
            "price is unknown; resume with --max-cost none and a --max-tokens",
        ),
        (Caps(calls=0), Spent(), "0 of 0 calls"),
    ],
)
def test_a_cap_that_is_used_up_says_how_to_go_on(caps: Caps, spent: Spent, says: str) -> None:
    assert says in str(budget.reached(caps, spent, Spent()))


@pytest.mark.parametrize(
    ("name", "spent", "says"),
    [
        ("stage_calls", Spent(Totals(calls=2)), "2 of 2 calls in this stage are used; resume with a larger --max-stage-calls"),
        ("stage_tokens", Spent(Totals(1, 6, 4)), "10 of 10 tokens in this stage are used; resume with a larger --max-stage-tokens"),
        ("stage_minutes", Spent(minutes=1.5), "1.5 of 1.5 minutes in this stage are used; resume with a larger --max-stage-minutes"),
        ("stage_cost", Spent(Totals(1, 1, 1, 0.5)), "0.5 of 0.25 dollars in this stage are used; resume with a larger --max-stage-cost"),
        ("stage_cost", Spent(Totals(1, 1, 1, None)), "resume with --max-stage-cost none and a --max-stage-tokens"),
    ],
)  # fmt: skip
def test_each_cap_of_a_stage_looks_at_that_stage_alone(name: str, spent: Spent, says: str) -> None:
    caps = Caps(**{**vars(NONE), name: STAGED[name]})
    assert says in str(budget.reached(caps, Spent(), spent))
    assert budget.reached(caps, spent, Spent()) is None, "what other stages spent is not this one's"
    assert budget.reached(NONE, spent, spent) is None


def test_below_every_cap_nothing_is_reached() -> None:
    whole, stage = Spent(Totals(399, 1, 1, 1.0), 119.0), Spent(Totals(1, 5, 4, 0.24), 1.4)
    assert budget.reached(Caps(**STAGED), whole, stage) is None
    assert budget.reached(NONE, Spent(Totals(10**9, 10**12, 0, None), 10**9), Spent(Totals(10**9), 10**9)) is None


def test_the_time_of_a_stage_is_that_of_its_tasks_in_all_passes(tmp_path: Path) -> None:
    journal = make_journal(tmp_path)
    journal.event("r-1", "pass ended", seconds=600.0, stages={"design": 120.0, "testing": 60.0})
    journal.event("r-1", "pass ended", seconds=30.0)  # as versions before this one wrote it
    clock = budget.Clock(journal, "r-1")
    assert 10.5 <= clock.minutes() < 11
    assert clock.minutes_in("analysis") == 0
    with clock.at_work("design"):
        assert 2 < clock.minutes_in("design") < 2.5, "the task at hand counts"
        assert clock.minutes_in("testing") == 1
    with pytest.raises(KeyError), clock.at_work("testing"):
        raise KeyError  # a task that fails has taken its time as well
    assert clock.minutes_in("testing") > 1
    assert set(clock.ended()["stages"]) == {"design", "testing"}
    journal.close()


def test_caps_only_grow() -> None:
    assert budget.larger(Caps(calls=3), {"calls": 4}).calls == 4
    assert budget.larger(Caps(calls=3), {"calls": None}).calls is None
    assert budget.larger(Caps(cost=None), {"cost": 2.0}).cost == 2.0
    for number in (3, 2, 0, -1):
        with pytest.raises(UsageError, match=r"the new cap on calls .* must be larger than the old one \(3\)"):
            budget.larger(Caps(calls=3), {"calls": number})


def test_caps_come_back_from_a_runs_options() -> None:
    assert budget.caps_from({}) == Caps()
    assert budget.caps_from({"caps": {"calls": 7, "cost": 1.0}}) == Caps(calls=7, cost=1.0)


def test_every_cap_has_a_flag() -> None:
    given = {"max_" + name: 2.5 if name.endswith(("minutes", "cost")) else 2.0 for name in vars(Caps())}
    assert Caps(**flags.given_caps(dict(given))) == Caps(2, 2, 2.5, 2.5, 2, 2, 2.5, 2.5)
