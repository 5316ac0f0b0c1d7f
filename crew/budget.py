"""Prices and caps: what a call costs, and when a run has to pause."""

from collections.abc import Mapping
from typing import Any

from backend_crew.crew.errors import UsageError
from backend_crew.crew.journal import Journal, Totals
from backend_crew.crew.settings import Caps


def cost_of(model: str, prompt_tokens: int, completion_tokens: int) -> float | None:
    """US dollars for one call, or None when the price is unknown; never 0 for want of knowledge."""
    from genai_prices import Usage, calc_price

    provider, _, name = model.partition("/")
    try:
        usage = Usage(input_tokens=prompt_tokens, output_tokens=completion_tokens)
        return float(calc_price(usage, model_ref=name or provider, provider_id=provider if name else None).total_price)
    except LookupError:
        return None


def caps_from(options: Mapping[str, Any]) -> Caps:
    """The caps as they are kept with a run."""
    return Caps(**options.get("caps", {}))


def seconds_of_passes(journal: Journal, run: str) -> float:
    """Seconds that the passes over a run have taken, those that ended."""
    return sum(float(one.get("seconds", 0)) for one in journal.events(run, "pass ended"))


def reached(caps: Caps, total: Totals, stage: Totals, minutes: float) -> str | None:
    """Which cap is used up, in words that say how to go on; None while none is."""
    pairs: tuple[tuple[str, str, float, float | None], ...] = (
        ("calls", "--max-calls", total.calls, caps.calls),
        ("tokens", "--max-tokens", total.tokens, caps.tokens),
        ("minutes", "--max-minutes", minutes, caps.minutes),
        ("dollars", "--max-cost", total.cost or 0.0, caps.cost),
        ("calls in this stage", "--max-stage-calls", stage.calls, caps.stage_calls),
    )
    for what, flag, used, cap in pairs:
        if cap is not None and used >= cap:
            return f"{used:g} of {cap:g} {what} are used; resume with a larger {flag}"
    if caps.cost is not None and total.cost is None:
        return "a cost cap is set, but the model's price is unknown; resume with --max-cost none and a --max-tokens"
    return None


def larger(old: Caps, new: Mapping[str, float | int | None]) -> Caps:
    """Caps with the stated ones put in place; raises UsageError for one that is not larger."""
    values = dict(vars(old))
    for name, value in new.items():
        before = values[name]
        if value is not None and before is not None and value <= before:
            raise UsageError(f"the new cap on {name} ({value:g}) must be larger than the old one ({before:g})")
        values[name] = value
    return Caps(**values)


def cost_words(totals: Totals) -> str:
    """The cost as people read it."""
    return "cost unknown" if totals.cost is None else f"${totals.cost:.2f}"
