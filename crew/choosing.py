"""How a repository is tested and checked: runners whose reports we read are taken; any other command a person names."""

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from backend_crew.crew import settings
from backend_crew.crew.errors import UsageError
from backend_crew.crew.reporting import in_words
from backend_crew.crew.settings import Options
from backend_crew.tools import build_caches, runtime, stack, test_setup, testrun
from backend_crew.tools.engine import check_variable
from backend_crew.tools.errors import ToolError
from backend_crew.tools.testrun import TestCommand

Ask = Callable[[str, Sequence[TestCommand]], tuple[str, ...]]
#: What stands for the command where a person wants none to be run.
NO_TESTS = ("none",)
_SHELL = re.compile(r"[|&;<>$`*?~()]|^\w+=|^!")
#: What the sandbox sets for every command.
_FIXED = frozenset({"HOME", "LOGNAME", "PATH", "TMPDIR", "USER", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE"})
_TESTS = "How are the tests of this repository run? Nothing is run until you choose; without tests the result stays unverified."
_CHECK = "Which check must hold after each layer, besides syntax?"


def parse(text: str, flag: str) -> tuple[str, ...]:
    """A command as a person writes it; what needs a shell gets one, inside the sandbox. Raises UsageError."""
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise UsageError(f"{flag} {text!r} is not a command: {error}") from error
    if not words:
        raise UsageError(f"{flag} names no command")
    unquoted = re.sub(r"'[^']*'|\"[^\"]*\"", "", text)
    return ("sh", "-c", text) if _SHELL.search(unquoted) else words


def variables(pairs: Sequence[str]) -> dict[str, str]:
    """What NAME=VALUE pairs say, the last of a name; raises UsageError."""
    found = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name.isidentifier():
            raise UsageError(f"--sandbox-env {name!r} is no NAME=VALUE; example: --sandbox-env API_TOKEN=made-up")
        found[name] = value
    return found


def check_variables(given: Mapping[str, str], redact: Callable[[str], str]) -> None:
    """Raises UsageError for variables that the sandbox sets itself, that change what programs load, or that are secret."""
    for name, value in given.items():
        if name in _FIXED:
            raise UsageError(f"--sandbox-env {name}: the sandbox sets {name} itself; leave it out")
        try:
            check_variable(name, value)
        except ToolError as error:
            raise UsageError(f"--sandbox-env {name}: {error}") from error
        if redact(value) != value:
            raise UsageError(
                f"--sandbox-env {name}: its value is, or looks like, a real secret, and the repository's code and the "
                "run's record would hold it. Give a made-up one; in a URL the password can be 'password'"
            )


def runtime_of(root: Path, python: str | None, variables: Mapping[str, str] | None = None) -> runtime.Runtime:
    """What the commands of a repository are run with: its own environment, this process's one, the node on PATH.

    `variables` are what the person made up for them.
    """
    named = settings.get("VIRTUAL_ENV")
    found = runtime.find_runtime(
        root,
        python=Path(python) if python else None,
        virtual_env=Path(named) if named else None,
        node=runtime.find_node(root, settings.get("PATH") or ""),
    )
    if home := settings.get("HOME"):
        found = build_caches.with_caches(found, root, Path(home))
    return replace(found, env={**found.env, **(variables or {})})


def test_command(root: Path, runs: runtime.Runtime, named: Sequence[str]) -> TestCommand | None:
    """The command that the person named, else the one that the repository's configuration names.

    That one is only taken where its report is read, so that tests are known one by one; no other is guessed.
    """
    if tuple(named) == NO_TESTS:
        return None
    if named:
        return TestCommand(testrun.with_interpreter(tuple(named), runs), "generic", "named by the person")
    found = testrun.find_command(root, runs)
    return found if found is not None and found.runner != "generic" else None


def unconfirmed(root: Path) -> str:
    """Why no tests are run where no command was named or confirmed, with the flag that names one."""
    proposed = testrun.propose_commands(root)
    if not proposed:
        setup = test_setup.recommended(root)
        return "no test command was found; name one with --test-command" + (
            f". For tests, {setup.words()}" if setup else ""
        )
    example = f'--test-command "{in_words(proposed[0].argv)}" ({proposed[0].evidence})'
    return f"no test command was confirmed; name it with --test-command, for example {example}"


def settled(
    root: Path, options: Options, ask: Ask | None, say: Callable[[str], None], *, assumed: bool = False
) -> Options:
    """Options with the commands that the person chose; what needs no choice is said.

    Raises UsageError where one has to choose and nobody can be asked. Where no backend is found, and none `assumed`, the
    run is refused for that.
    """
    if options.test_command or not (assumed or stack.has_backend(stack.detect(root))):
        return options
    if (found := test_command(root, runtime_of(root, options.python), ())) is not None:
        say(f"tests: {in_words(found.argv)} ({found.evidence}); another command: --test-command")
        return options
    if ask is None:
        raise UsageError(f"{unconfirmed(root)}. To go on without tests: --test-command none")
    tests = ask(_TESTS, testrun.propose_commands(root)) or NO_TESTS
    proposed = testrun.propose_checks(root)
    check = options.check_command or (ask(_CHECK, proposed) if proposed else ())
    return replace(options, test_command=tests, check_command=check)


def at_terminal(line: Callable[[str], str], say: Callable[[str], None]) -> Ask:
    """Asks a person here: a number, a command of their own, or none; anything else is asked again."""

    def ask(question: str, proposed: Sequence[TestCommand]) -> tuple[str, ...]:
        say(f"\n{question}")
        for number, one in enumerate(proposed, start=1):
            say(f"  {number}. {in_words(one.argv)}   ({one.evidence})")
        while True:
            word = line("Number, your own command, or 'none'").strip()
            if word.casefold() == "none":
                return ()
            if word.isdecimal():
                if 1 <= int(word) <= len(proposed):
                    return proposed[int(word) - 1].argv
                say(f"There are {len(proposed)} proposals.")
                continue
            try:
                return parse(word, "this")
            except UsageError as error:
                say(str(error))

    return ask
