"""Prices and caps: what a call costs, and when a run has to pause."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
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


def seconds_of_stages(journal: Journal, run: str) -> dict[str, float]:
    """Seconds that the tasks of each stage have taken, in the passes that ended."""
    found: dict[str, float] = {}
    for one in journal.events(run, "pass ended"):
        for stage, seconds in dict(one.get("stages") or {}).items():
            found[stage] = found.get(stage, 0.0) + float(seconds)
    return found


class Clock:
    """The time that a run takes: as a whole, and by the stage of the tasks that it is spent on."""

    def __init__(self, journal: Journal, run: str) -> None:
        self._journal, self._run = journal, run
        self._task: tuple[str, float] | None = None
        self.begin()

    def begin(self) -> None:
        """A pass begins; what earlier ones took is read from the journal when it is asked for."""
        self._began, self._stages = time.monotonic(), dict[str, float]()
        self._earlier: float | None = None
        self._stages_earlier: Mapping[str, float] | None = None

    @contextmanager
    def at_work(self, stage: str) -> Iterator[None]:
        """Count the time of a task for its stage, however the task ends."""
        self._task = stage, time.monotonic()
        try:
            yield
        finally:
            self._stages[stage] = self._this_pass(stage)
            self._task = None

    def minutes(self) -> float:
        """Minutes of all passes, this one included."""
        if self._earlier is None:
            self._earlier = seconds_of_passes(self._journal, self._run)
        return (self._earlier + time.monotonic() - self._began) / 60

    def minutes_in(self, stage: str) -> float:
        """Minutes of the tasks of a stage, the one at hand included."""
        if self._stages_earlier is None:
            self._stages_earlier = seconds_of_stages(self._journal, self._run)
        return (self._stages_earlier.get(stage, 0.0) + self._this_pass(stage)) / 60

    def _this_pass(self, stage: str) -> float:
        running = time.monotonic() - self._task[1] if self._task and self._task[0] == stage else 0.0
        return self._stages.get(stage, 0.0) + running

    def ended(self) -> dict[str, Any]:
        """What is kept of a pass that ended."""
        stages = {stage: round(seconds, 1) for stage, seconds in self._stages.items()}
        return {"seconds": round(time.monotonic() - self._began, 1), "stages": stages}


@dataclass(frozen=True)
class Spent:
    """What a run, or one stage of it, has used of everything that has a cap."""

    totals: Totals = field(default_factory=Totals)
    minutes: float = 0.0


def reached(caps: Caps, whole: Spent, stage: Spent) -> str | None:
    """Which cap is used up, in words that say how to go on; None while none is."""
    return _used_up(caps, whole, "", "") or _used_up(caps, stage, "stage_", " in this stage")


def _used_up(caps: Caps, spent: Spent, prefix: str, where: str) -> str | None:
    used: Mapping[str, tuple[float | None, str]] = {
        "calls": (spent.totals.calls, "calls"),
        "tokens": (spent.totals.tokens, "tokens"),
        "minutes": (spent.minutes, "minutes"),
        "cost": (spent.totals.cost, "dollars"),
    }
    for name, (number, what) in used.items():
        cap = getattr(caps, prefix + name)
        flag = f"--max-{prefix}{name}".replace("_", "-")
        if cap is not None and number is None:
            tokens = f"--max-{prefix}tokens".replace("_", "-")
            return f"a cost cap is set, but the model's price is unknown; resume with {flag} none and a {tokens}"
        if cap is not None and number is not None and number >= cap:
            return f"{number:g} of {cap:g} {what}{where} are used; resume with a larger {flag}"
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
