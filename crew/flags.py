"""Flags that several commands have in common, the caps among them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from backend_crew.crew.settings import Caps

Command = TypeVar("Command", bound=Callable[..., Any])

JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
ENV_FILE = click.option(
    "--env-file", type=click.Path(path_type=Path), help="Read keys from this file (no other is ever read)."
)
DIGEST = click.option("--digest", help="What you decide about, as `show` prints it; required off a terminal.")
REASON = click.option("--reason", required=True, help="Why; recorded, and read by the agents.")
TESTS = click.option(
    "--test-command",
    help="How the tests are run, where the repository's configuration does not say; 'none': they are not run.",
)
CHECK = click.option(
    "--check-command", help="A check that must hold after each layer: a linter, a type checker, a build."
)
CHECKS = click.option(
    "--checks",
    type=click.Choice(["full", "quick"]),
    default="full",
    help="quick: without the trials that run tests and application again (mutants, calls). Default: full.",
)
_CAPS = {
    "calls": "model calls",
    "tokens": "tokens",
    "minutes": "minutes of work",
    "cost": "US dollars",
    "stage_calls": "model calls in one stage",
    "stage_tokens": "tokens in one stage",
    "stage_minutes": "minutes of work in one stage",
    "stage_cost": "US dollars in one stage",
}


def caps(*, started: bool) -> Callable[[Command], Command]:
    """One flag a cap; a new run (`started`) has defaults, a run that goes on has its own."""

    def add(command: Command) -> Command:
        for name, what in reversed(_CAPS.items()):
            cap = getattr(Caps(), name)
            usual = ("none" if cap is None else f"{cap:.0f}") if started else "as before"
            said = f"Pause at this many {what}: a number, or 'none'; default: {usual}."
            command = click.option(f"--max-{name.replace('_', '-')}", f"max_{name}", callback=_cap, help=said)(command)
        return command

    return add


def _cap(_: click.Context, __: click.Parameter, value: str | None) -> float | str | None:
    """A number, 'none', or '' when the flag was not given."""
    if value is None:
        return ""
    if value.lower() == "none":
        return None
    try:
        number = float(value)
    except ValueError as error:
        raise click.BadParameter(f"expected a number or 'none', found {value!r}") from error
    if number <= 0:
        raise click.BadParameter("must be above 0")
    return number


EXPIRY = click.option(
    "--decision-expiry",
    default="72",
    metavar="HOURS",
    callback=_cap,
    help="How long an approval is good; 'none': for ever; default: 72.",
)


def _variables(_: click.Context, __: click.Parameter, pairs: tuple[str, ...]) -> dict[str, str]:
    from backend_crew.crew import choosing  # it brings the sandbox, which most commands do without

    return choosing.variables(pairs)


SANDBOX_ENV = click.option(
    "--sandbox-env",
    multiple=True,
    metavar="NAME=VALUE",
    callback=_variables,
    help="A variable for the repository's commands in the sandbox (repeat it for more), where its settings need one. "
    "Made-up values only: the repository's code and the record see them.",
)
DATABASE = click.option(
    "--database-url-env",
    metavar="NAME",
    help="The variable with the URL of the database, as the repository's env.py or settings read it.",
)


def given_caps(values: dict[str, Any]) -> dict[str, Any]:
    """The caps among a command's parameters, taken out of them; None lifts one."""
    given = {name: values.pop(f"max_{name}") for name in _CAPS}
    return {
        name: value if name.endswith(("minutes", "cost")) or value is None else int(value)
        for name, value in given.items()
        if value != ""
    }
