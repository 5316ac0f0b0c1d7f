"""Settings of a change that decide which tests run or what their outcome counts: runners, coverage, scripts."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Literal

from backend_crew.tools.change_finding import ChangeFinding
from backend_crew.tools.honesty.findings import finding
from backend_crew.tools.honesty.patterns import hits, lies_under, matches
from backend_crew.tools.honesty.runner_settings import Settings, line_with, read_settings

_SELECTS = re.compile(
    r"^(-k|-m|--deselect|--ignore|--ignore-glob|--collect-only|--co|-t|--testNamePattern|--testPathIgnorePatterns|--grep|-g"
    r"|--fgrep|--invert|--exclude|--test-name-pattern|--test-skip-pattern|--test-only|--passWithNoTests|--pass-with-no-tests"
    r"|--allow-empty-coverage|--dangerouslyIgnoreUnhandledErrors|--cov-fail-under)(=.*)?$"
)
_BY_PATH = frozenset({"--ignore", "--ignore-glob", "--exclude", "--testPathIgnorePatterns"})
_RUNNER = re.compile(
    r"\b(jest|vitest|mocha|tap|ava|c8|nyc|borp|pytest|unittest|manage\.py|node\s+(--\S+\s+)*--test|playwright|tsd|nx"
    r"|turbo|lerna)\b"
)
_ALWAYS = re.compile(
    r"(\|\||;)\s*(true|exit 0|:)\s*(;|&&|\||$)|^\s*(exit 0|true|echo\b[^&|;]*)\s*$"  # whatever came before, or nothing did
)
_ALWAYS_LINE = re.compile(r"\|\|\s*(true|exit 0|:)(\s|$)|;\s*(true|exit 0)\s*[\"']?\s*$")
_COMMAND_FILES = re.compile(
    r"(^|/)(Makefile|[Jj]ustfile|tox\.ini|noxfile\.py|Dockerfile[^/]*|[^/]+\.sh|[^/]+\.mk|Jenkinsfile|\.gitlab-ci\.yml"
    r"|\.travis\.yml|Taskfile\.ya?ml)$|(^|/)\.(github|ci|circleci)/"
)
_LIMITS = frozenset({"fail_under", "branches", "functions", "lines", "statements"})
_PLACES = frozenset({"testpaths", "roots", "spec", "files"})
_NAMES = frozenset({"testMatch", "testRegex", "include", "python_files"})
_LEAVES_OUT = frozenset({"testPathIgnorePatterns", "exclude", "ignore", "norecursedirs"})
_SWITCHES = frozenset(
    {"passWithNoTests", "invert", "dangerouslyIgnoreUnhandledErrors", "disable-coverage", "allow-empty-coverage"}
)
_FIX = "Let every test run and count; change the setting only for a reason that a person accepts."
_Said = tuple[str, Literal["error", "warning"], str]
"""Rule, severity and text; where it stands is added for all of a file in one place."""


def compare_settings(
    before: Mapping[str, str], after: Mapping[str, str], tests: Sequence[str]
) -> Iterator[ChangeFinding]:
    """What settings in a change take away; `tests` are the paths of all test files, which patterns are tried on."""
    # A limit may have moved to another file, or to the settings of another runner.
    held = {
        key: words for path, text in after.items() for key, words in read_settings(path, text).items() if _is_limit(key)
    }
    for path, text in after.items():
        was, now = read_settings(path, before.get(path, "")), read_settings(path, text)
        base = str(PurePosixPath(path).parent)
        for key, words in now.items():
            if was.get(key) != words:
                for rule, severity, said in _setting(key, was.get(key), words, tests, base):
                    yield finding(rule, severity, path, line_with(text, key), said, _FIX)
        for rule, severity, said in _lost(was, {**held, **now}):
            yield finding(rule, severity, path, 1, said, _FIX)
        if _COMMAND_FILES.search(path):
            yield from _commands(path, before.get(path, ""), text)
    for path in before.keys() - after.keys():
        for rule, severity, said in _lost(read_settings(path, before[path]), held):
            yield finding(rule, severity, path, 0, said, _FIX)


def _setting(
    key: str, was: Sequence[str] | None, now: Sequence[str], tests: Sequence[str], base: str
) -> Iterator[_Said]:
    name = key.rpartition(".")[2]
    if name == "addopts" or key.startswith("script."):
        yield from _options(key, was or (), now, tests)
    if key.startswith("script.test") and was is not None:
        yield from _script(key.partition(".")[2], " ".join(was), " ".join(now))
    elif name in _PLACES | _NAMES:
        yield from _narrowed(name, was, now, tests, base)
    elif name in _LEAVES_OUT:
        hit = [one for one in now if one not in (was or ()) and any(hits(one, test) for test in tests)]
        if hit:
            yield "collection-narrowed", "error", f"{name} now leaves out {', '.join(hit)}, where there are tests"
    else:
        yield from _value(name, was, now)


def _value(name: str, was: Sequence[str] | None, now: Sequence[str]) -> Iterator[_Said]:
    """What a setting does by its value alone."""
    said = " ".join(now)
    if name in _SWITCHES and said.lower() == "true":
        yield "outcome-changed", "error", f"{name} is set: a run without tests, or with errors, counts as green"
    elif name in ("grep", "fgrep", "testNamePattern"):
        yield "collection-narrowed", "error", f"{name} selects tests by name: {said}"
    elif name in ("retry", "retries"):
        yield "outcome-changed", "warning", f"failing tests are tried again: {name} {said}"
    elif was is None:
        return
    elif name in ("python_functions", "python_classes") and (lost := [one for one in was if one not in now]):
        yield "collection-narrowed", "error", f"{name} no longer has {', '.join(lost)}"
    elif name == "xfail_strict" and said.lower() != "true":
        yield "outcome-changed", "warning", "xfail_strict was turned off"
    elif name in ("omit", "exclude_lines", "exclude_also"):
        yield "coverage-lowered", "warning", f"coverage leaves out more: {name}"
    elif name in _LIMITS and _number(now) < _number(was):
        yield "coverage-lowered", "error", f"the limit {name} went from {' '.join(was)} to {said}"


def _options(key: str, was: Sequence[str], now: Sequence[str], tests: Sequence[str]) -> Iterator[_Said]:
    known, given = _given(was), _given(now)
    name = key.partition(".")[2]
    for option, value in given:
        if (option, value) in known or option == "--cov-fail-under":
            continue
        if option == "-m" and key.startswith("script."):
            continue  # `python -m pytest`
        harmless = option in _BY_PATH and not any(hits(value, test) for test in tests)
        text = f"{name} now has {option} {value}: by default not every test runs and counts"
        yield "collection-narrowed", "warning" if harmless else "error", text
    limits = [dict(one).get("--cov-fail-under") for one in (known, given)]
    if limits[0] is not None and (limits[1] is None or _number([limits[1]]) < _number([limits[0]])):
        yield "coverage-lowered", "error", f"the limit --cov-fail-under went from {limits[0]} to {limits[1] or 'none'}"


def _given(words: Sequence[str]) -> list[tuple[str, str]]:
    """The options among some words that choose tests or set a limit, each with its value."""
    found: list[tuple[str, str]] = []
    for place, word in enumerate(words):
        if _SELECTS.match(word):
            option, sign, value = word.partition("=")
            following = words[place + 1] if place + 1 < len(words) and not words[place + 1].startswith("-") else ""
            found.append((option, value if sign else following))
    return found


def _script(name: str, was: str, now: str) -> Iterator[_Said]:
    if _ALWAYS.search(now) and not _ALWAYS.search(was):
        yield "script-replaced", "error", f"the script {name} became `{now}`, which succeeds whatever the tests say"
    elif _RUNNER.search(was) and not _RUNNER.search(now) and not re.search(r"\b(npm|yarn|pnpm|bun)\b", now):
        yield "script-replaced", "error", f"the script {name} became `{now}`, which starts no test runner that is known"


def _narrowed(
    name: str, was: Sequence[str] | None, now: Sequence[str], tests: Sequence[str], base: str
) -> Iterator[_Said]:
    meets = lies_under if name in _PLACES else matches
    lost = [one for one in was or () if one not in now]
    missed = [one for one in tests if not any(meets(pattern, one, base) for pattern in now)]
    known = [one for one in missed if was is None or any(meets(pattern, one, base) for pattern in was)]
    if not known or not (lost or was is None):
        return
    # Patterns that may be read wrong here block nothing by themselves.
    plain = all(re.fullmatch(r"[\w./*{},@-]+", one) for one in now)
    more = f" and {len(known) - 1} more" if len(known) > 1 else ""
    text = f"{name} became {' '.join(now)}, which leaves out {known[0]}{more}"
    yield "collection-narrowed", "error" if lost or plain else "warning", text


def _lost(was: Settings, now: Settings) -> Iterator[_Said]:
    """What settings that are gone had held."""
    for key, words in was.items():
        if key in now:
            continue
        name = key.rpartition(".")[2]
        if key == "script.test":
            yield "script-replaced", "error", "the script `test` was removed"
        elif _is_limit(key) and not any(one.endswith(name) and _number(now[one]) >= _number(words) for one in now):
            yield "coverage-lowered", "error", f"the limit {name} {' '.join(words)} was removed"
        elif name == "addopts":
            yield from _options(key, words, (), ())


def _is_limit(key: str) -> bool:
    return key.rpartition(".")[2] in _LIMITS


def _commands(path: str, was: str, now: str) -> Iterator[ChangeFinding]:
    known = {line.strip() for line in was.splitlines()}
    for number, line in enumerate(now.splitlines(), 1):
        if line.strip() in known:
            continue
        if _RUNNER.search(line) and _ALWAYS_LINE.search(line):
            text = f"`{line.strip()[:160]}` succeeds whatever the tests say"
            yield finding("script-replaced", "error", path, number, text, _FIX)
        elif re.search(r"continue-on-error:\s*true", line):
            yield finding(
                "outcome-changed", "warning", path, number, "a failing step no longer fails the pipeline", _FIX
            )


def _number(words: Sequence[str]) -> float:
    try:
        return float(words[0].rstrip("%")) if words else 0.0
    except ValueError:
        return 0.0
