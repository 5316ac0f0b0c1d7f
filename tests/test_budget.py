"""Caps and prices: what is unknown is said to be, and a cap names the flag that raises it."""

import pytest

from backend_crew.crew import budget
from backend_crew.crew.errors import UsageError
from backend_crew.crew.journal import Totals
from backend_crew.crew.settings import Caps

NONE = Caps(None, None, None, None, None)


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
    ("caps", "total", "stage", "minutes", "says"),
    [
        (Caps(calls=3), Totals(calls=3), Totals(), 0.0, "3 of 3 calls are used; resume with a larger --max-calls"),
        (Caps(tokens=100), Totals(1, 60, 40), Totals(), 0.0, "100 of 100 tokens are used"),
        (Caps(minutes=1.5), Totals(), Totals(), 2.0, "2 of 1.5 minutes are used; resume with a larger --max-minutes"),
        (Caps(cost=0.5), Totals(1, 1, 1, 0.75), Totals(), 0.0, "0.75 of 0.5 dollars are used"),
        (Caps(stage_calls=2), Totals(calls=9), Totals(calls=2), 0.0, "calls in this stage are used"),
        (Caps(cost=9.0), Totals(1, 1, 1, None), Totals(), 0.0, "price is unknown"),
        (Caps(calls=0), Totals(), Totals(), 0.0, "0 of 0 calls"),
    ],
)
def test_a_cap_that_is_used_up_says_how_to_go_on(
    caps: Caps, total: Totals, stage: Totals, minutes: float, says: str
) -> None:
    assert says in str(budget.reached(caps, total, stage, minutes))


def test_below_every_cap_nothing_is_reached() -> None:
    assert budget.reached(Caps(), Totals(399, 1, 1, None), Totals(149), 119.0) is None
    assert budget.reached(NONE, Totals(10**9, 10**12, 0, None), Totals(10**9), 10**9) is None


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
