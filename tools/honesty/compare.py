"""What a change took from the tests that were there: compared by syntax tree, a test with the one it became.

An error is a loss that nothing in the change accounts for. Where the code that was tested went too, where the demand
stands somewhere else now, or where a condition decides, a person is shown a warning or nothing.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from backend_crew.tools.change_finding import ChangeFinding
from backend_crew.tools.honesty import demands, pairing, patched, testpaths
from backend_crew.tools.honesty.aware import compare_awareness
from backend_crew.tools.honesty.config import compare_settings
from backend_crew.tools.honesty.findings import finding
from backend_crew.tools.honesty.hooks import compare_hooks
from backend_crew.tools.honesty.pairing import Key
from backend_crew.tools.honesty.testcode import STRENGTH, Assertion, Test, TestFile
from backend_crew.tools.honesty.vanished import vanished

_WORD = re.compile(r"[A-Za-z_$][\w$]{2,}|/[\w/{}:.-]+")
_COVERED = 0.7
_SHARED = 0.5
_CASES = 50
_ASSERTING = frozenset(
    {"node:assert", "assert", "node:assert/strict", "assert/strict", "chai", "vitest", "@jest/globals", "pytest"}
)
_VALUE = re.compile(r"[\w.-]+")
_EXISTS = STRENGTH["present"]
_LOOKS = frozenset({"hasattr", "getattr", "callable", "isinstance", "issubclass", "type", "dir", "len", "expect", "ok"})
"""Functions that look at a name without doing what it is for."""


@dataclass(frozen=True)
class Sources:
    """The texts of a change by path: as they were, as they are, and the unchanged test code that helps them.

    A path that is missing in `before` is new, one that is missing in `after` is gone. `paths` are all files there are.
    """

    before: Mapping[str, str]
    after: Mapping[str, str]
    support: Mapping[str, str] = field(default_factory=dict)
    paths: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Compared:
    """What was found, and what else the comparison knows of tests, each by path and name.

    `became` holds what each old test became whose name changed, None for those that are gone, and `deleted` those gone
    without anything that accounts for it. `names` are the tests of the changed files, `weak` why some show nothing.
    """

    findings: tuple[ChangeFinding, ...]
    became: Mapping[Key, Key | None]
    deleted: frozenset[Key]
    names: frozenset[Key]
    weak: Mapping[Key, str]


def compare(sources: Sources) -> Compared:
    """Every weakening of the tests between the two sides of a change; pure, and without exceptions on broken code."""
    before, after = (
        pairing.read_tests(sources.before, sources.support),
        pairing.read_tests(sources.after, sources.support),
    )
    old = {(path, name): test for path, file in before.items() for name, test in file.tests.items()}
    new = {(path, name): test for path, file in after.items() for name, test in file.tests.items()}
    pairs, became = pairing.paired(old, new)
    comparison = _Comparison(sources, old, new, pairs)
    paths = sorted(
        {path for path in (*sources.after, *sources.support, *sources.paths) if testpaths.is_test_path(path)}
    )
    findings = [
        *comparison.findings(),
        *comparison.autouse(before, after),
        *comparison.redefined(before, after),
        *_broken(before, after),
        *_exits(before, after),
        *compare_settings(sources.before, sources.after, paths),
        *compare_hooks(sources.before, sources.after),
        *compare_awareness(sources.before, sources.after),
    ]
    unique = {(one.rule, one.path, one.line, one.text): one for one in findings}
    ordered = tuple(sorted(unique.values(), key=lambda one: (one.path, one.line, one.rule)))
    weak = {key: why for key, test in new.items() if (why := _weakness(test))}
    return Compared(ordered, became, frozenset(comparison.deleted), frozenset(new), weak)


def _weakness(test: Test) -> str:
    """Why a test cannot show anything, "" where it can."""
    if test.empty:
        return "its body is empty"
    if any(one.certain and one.kind in ("skip", "todo") for one in test.disabled):
        return "it is skipped"
    if test.exit_line:
        return f"it returns at line {test.exit_line}, before its assertions"
    if test.assertions and not test.demands:
        return "its assertions cannot fail"
    called = {one.rpartition(".")[2] for one in test.calls}
    if test.demands and all(one.strength <= _EXISTS for one in test.demands) and called <= _LOOKS:
        return "it calls nothing, and demands only that names exist"
    return ""


def _broken(before: Mapping[str, TestFile], after: Mapping[str, TestFile]) -> Iterator[ChangeFinding]:
    for path, file in after.items():
        if file.broken and not (path in before and before[path].broken):
            yield finding(
                "unreadable-tests",
                "error",
                path,
                1,
                "the test file has no syntax tree, so what it shows is not known",
                "Correct its syntax.",
            )


def _exits(before: Mapping[str, TestFile], after: Mapping[str, TestFile]) -> Iterator[ChangeFinding]:
    for path, file in after.items():
        known = len(before[path].exits) if path in before else 0
        for line in file.exits[known:]:
            yield finding(
                "exit-in-tests",
                "error",
                path,
                line,
                "test code ends the test process itself",
                "Let the runner end; a process that ends early reports nothing of the tests after it.",
            )


class _Comparison:
    """One change at hand: what may account for a loss is looked up in it."""

    def __init__(
        self, sources: Sources, old: Mapping[Key, Test], new: Mapping[Key, Test], pairs: Mapping[Key, Key]
    ) -> None:
        self._sources, self._old, self._new, self._pairs = sources, old, new, pairs
        self._gone = vanished(sources.before, sources.after)
        self._base, self._now = patched.Definitions.of(sources.before), patched.Definitions.of(sources.after)
        every = {*sources.before, *sources.after, *sources.paths}
        self._modules = frozenset(patched.module_of(path) for path in every if testpaths.is_product_code(path))
        self._kept = frozenset(pairs.values())
        self.deleted: set[Key] = set()
        self._gone_files = dict(self._removed_files())
        self._broader = demands.Exceptions.of([*sources.after.values(), *sources.support.values()])
        # Demands that a test did not make before: where a lost one may stand now.
        by_new = {key: old[was] for was, key in pairs.items()}
        # One with parameters may take in a test for each of its cases.
        self._added: list[tuple[Assertion, Test]] = []
        for key, test in new.items():
            known = Counter(map(_shape, by_new[key].demands)) if key in by_new else Counter()
            for one in test.demands:
                if known[_shape(one)]:
                    known[_shape(one)] -= 1
                else:
                    self._added += [(one, test)] * max(1, min(len(test.cases), _CASES))

    def findings(self) -> Iterator[ChangeFinding]:
        """All of them, in no order."""
        for key, test in self._old.items():
            if key in self._pairs:
                yield from self._changed(self._pairs[key], test, self._new[self._pairs[key]])
            else:
                yield from self._deleted(key, test)
        for key in self._new:
            if key not in self._kept:
                yield from self._fresh(key, self._new[key])

    def _removed_files(self) -> Iterator[tuple[str, str]]:
        """Test files that are gone, most of whose tests name code that went too, each with such a name."""
        for path in {one for one, _ in self._old} - self._sources.after.keys():
            lost = [self._with_code(test.words | test.calls) for key, test in self._old.items() if key[0] == path]
            named = [one for one in lost if one]
            if len(named) > len(lost) / 2:
                yield path, named[0]

    def _deleted(self, key: Key, test: Test) -> Iterator[ChangeFinding]:
        path, name = key
        kept = [one for one in test.demands if self._stands_elsewhere(one, test)]
        if test.demands and len(kept) >= _COVERED * len(test.demands):
            return
        if any(one.certain for one in test.disabled) or test.empty or self._has_twin(test):
            return  # it showed nothing, or nothing of its own
        where = (path, test.line if path in self._sources.after else 0)
        if reason := self._with_code(test.words | test.calls) or self._gone_files.get(path, ""):
            yield finding(
                "test-deleted",
                "warning",
                *where,
                f"the test {name} was removed; so was {reason}, which it names",
                "Check that what it tested is meant to go.",
            )
        else:
            self.deleted.add(key)
            yield finding(
                "test-deleted",
                "error",
                *where,
                f"the test {name} was removed, and what it tested is still there",
                "Put it back, or say why it may go.",
            )

    def _has_twin(self, test: Test) -> bool:
        """Whether another test that was there before, and still is, says the same."""
        demands = Counter(map(_shape, test.demands))
        return bool(demands) and any(
            self._new[new].words >= test.words and not demands - Counter(map(_shape, self._new[new].demands))
            for new in self._pairs.values()
        )

    def _fresh(self, key: Key, test: Test) -> Iterator[ChangeFinding]:
        path, name = key
        if test.focused:
            yield finding(
                "test-focused",
                "error",
                path,
                test.line,
                f"{name} is marked `only`, so the other tests do not run",
                "Remove the mark.",
            )
        for one in test.disabled:
            yield finding(
                "new-test-disabled",
                "warning",
                path,
                one.line,
                f"the new test {name} does not count: {one.text}",
                "Let it run, or leave it out.",
            )
        if test.exit_line:
            yield finding(
                "early-return",
                "error",
                path,
                test.exit_line,
                f"the new test {name} ends before its assertions",
                "Remove what ends it.",
            )
        elif test.assertions and not test.demands and not test.disabled:
            dropped = any(one.swallowed for one in test.assertions)
            rule, text = ("assertion-swallowed", "are caught and dropped") if dropped else ("tautology", "cannot fail")
            yield finding(
                rule,
                "error",
                path,
                test.assertions[0].line,
                f"all assertions of the new test {name} {text}: {test.assertions[0].text}",
                "Assert what the code returns or changes.",
            )
        elif test.empty:
            yield finding(
                "test-emptied",
                "error" if not test.disabled else "warning",
                path,
                test.line,
                f"the new test {name} has an empty body",
                "Write it, or leave it out.",
            )
        for patch in patched.own_subject(test, self._modules):
            yield finding(
                "subject-mocked",
                "error",
                path,
                patch.line,
                f"the new test {name} replaces {patch.target} and then calls it: it tests its own mock",
                "Call the real one.",
            )

    def _changed(self, key: Key, was: Test, now: Test) -> Iterator[ChangeFinding]:
        path, name = key
        yield from self._disabled(key, was, now)
        if now.focused and not was.focused:
            yield finding(
                "test-focused",
                "error",
                path,
                now.line,
                f"{name} is marked `only`, so the other tests do not run",
                "Remove the mark.",
            )
        if now.empty and not was.empty:
            yield finding(
                "test-emptied", "error", path, now.line, f"the body of {name} was emptied", "Put its statements back."
            )
            return
        if now.exit_line and not was.exit_line:
            yield finding(
                "early-return",
                "error",
                path,
                now.exit_line,
                f"{name} now ends before its assertions",
                "Remove what ends it.",
            )
            return
        yield from self._cases(key, was, now)
        yield from self._mocked(key, was, now)
        yield from demands.weakened(path, name, was, now, self)

    def _disabled(self, key: Key, was: Test, now: Test) -> Iterator[ChangeFinding]:
        path, name = key
        known = Counter(one.kind for one in was.disabled)
        texts = {one.text for one in was.disabled}
        for one in now.disabled:
            if one.text in texts:
                continue
            if known[one.kind] and not (one.certain and not any(old.certain for old in was.disabled)):
                known[one.kind] -= 1
                continue
            rule = "test-xfailed" if one.kind == "xfail" else "test-skipped"
            word = "may fail now" if one.kind == "xfail" else "is skipped now"
            certain = one.certain or self._never_there(one.text)
            condition = "" if certain else " where its condition holds"
            yield finding(
                rule,
                "error" if certain else "warning",
                path,
                one.line,
                f"{name} {word}{condition}: {one.text}",
                "Let it run; repair what it shows.",
            )

    def _never_there(self, text: str) -> bool:
        """Whether an optional import is of a module that nothing in the change's files imports."""
        found = re.search(r"""importorskip\(\s*['"]([\w.]+)""", text)
        if found is None:
            return False
        word = re.compile(rf"^\s*(?:import|from)\s+{re.escape(found[1])}\b", re.MULTILINE)
        return not any(word.search(one) for one in (*self._sources.before.values(), *self._sources.support.values()))

    def _cases(self, key: Key, was: Test, now: Test) -> Iterator[ChangeFinding]:
        path, name = key
        lost = [case for case in was.cases if case not in now.cases]
        if not was.cases or len(now.cases) >= len(was.cases) or not lost:
            return
        if not now.cases:
            return  # no longer parametrised; its assertions are compared
        words = frozenset(_WORD.findall(" ".join(lost)))
        explained = self._with_code(words) or self._cases_elsewhere(lost)
        yield finding(
            "cases-removed",
            "warning" if explained else "error",
            path,
            now.line,
            f"{name} lost {len(was.cases) - len(now.cases)} of its {len(was.cases)} cases: {', '.join(lost[:3])}",
            "Put them back, or say why they may go.",
        )

    def _cases_elsewhere(self, lost: Sequence[str]) -> bool:
        held = {case for test in self._new.values() for case in test.cases}
        words = [one.words for key, one in self._new.items() if key not in self._kept]
        literals = [set(re.findall(r"""['"]([^'"]+)['"]|([\d.]+)""", case)) for case in lost]
        flat = [{a or b for a, b in one} for one in literals]
        return all(
            case in held or any(one and one <= some for some in words) for case, one in zip(lost, flat, strict=True)
        )

    def _mocked(self, key: Key, was: Test, now: Test) -> Iterator[ChangeFinding]:
        path, name = key
        known = {one.target for one in was.patches}
        for patch in now.patches:
            called = patched.calls(was, patch.target) and patched.is_own(patch.target, self._modules)
            if patch.target in known or not (called or self._base.find(patch.target)):
                continue
            sure = called or patched.changed(patch.target, self._base, self._now)
            yield finding(
                "subject-mocked",
                "error" if sure else "warning",
                path,
                patch.line,
                f"{name} now replaces {patch.target}, which it used for real",
                "Test the real one; replace only what lies outside the service.",
            )

    def autouse(self, before: Mapping[str, TestFile], after: Mapping[str, TestFile]) -> Iterator[ChangeFinding]:
        """Fixtures that every test gets, and that replace code of the service from now on."""
        for path, file in after.items():
            known = {one.target for one in before[path].autouse_patches} if path in before else set()
            for patch in file.autouse_patches:
                if patch.target in known or self._base.find(patch.target) is None:
                    continue
                sure = patched.changed(patch.target, self._base, self._now)
                yield finding(
                    "subject-mocked",
                    "error" if sure else "warning",
                    path,
                    patch.line,
                    f"a fixture that every test gets replaces {patch.target}",
                    "Test the real one; replace only what lies outside the service.",
                )

    def redefined(self, before: Mapping[str, TestFile], after: Mapping[str, TestFile]) -> Iterator[ChangeFinding]:
        """Names of the service, or of an assertion library, to which a test file gives a meaning of its own now."""
        for path in before.keys() & after.keys():
            for name, line in after[path].defines.items():
                target = before[path].imports.get(name, "")
                if not target or name in before[path].defines:
                    continue
                if patched.is_own(target, self._modules) or target.partition(".")[0] in _ASSERTING:
                    text = f"{name} is no longer {target}, but what this file says it is"
                    yield finding("subject-mocked", "error", path, line, text, "Import what is to be tested.")

    def _stands_elsewhere(self, lost: Assertion, was: Test) -> bool:
        """Whether a test that does much the same demands as much of the same names now; that demand is used up."""
        for place, (one, test) in enumerate(self._added):
            named = one.names and (one.names == lost.names or lost.names <= _all_names(one))
            if named and one.strength >= lost.strength and _does_the_same(was, lost, test, one):
                del self._added[place]
                return True
        return False

    def accounted(self, lost: Assertion, was: Test) -> Literal["", "moved", "gone"]:
        """What accounts for a demand that a test lost: it stands elsewhere, or what it looked at went too."""
        if self._stands_elsewhere(lost, was):
            return "moved"
        return "gone" if self._with_code(lost.names | frozenset(_WORD.findall(lost.expected))) else ""

    def _with_code(self, words: frozenset[str]) -> str:
        """A name among `words` that the change took out of the code of the service."""
        tails = {one.rpartition(".")[2] for one in words} | words
        texts = "\n".join(one for one in words if " " in one)
        named = sorted(one for one in self._gone if one in tails or (len(one) > 7 and " " in one and one in texts))
        return named[0] if named else ""

    def broader(self, was: str, now: str) -> bool:
        """Whether exceptions `now` take in more than `was`."""
        return self._broader.broader(was, now)


def _shape(one: Assertion) -> tuple[str, str, frozenset[str]]:
    return one.kind, one.expected, one.names


def _all_names(one: Assertion) -> frozenset[str]:
    return one.names | frozenset(_WORD.findall(one.expected))


def _does_the_same(was: Test, lost: Assertion, now: Test, made: Assertion) -> bool:
    """Whether another test acts as the old one did, and knows the value that was expected there."""
    if not was.words or len(was.words & now.words) < _SHARED * len(was.words):
        return False
    values = set(_VALUE.findall(lost.expected))
    known = set(_VALUE.findall(" ".join((made.expected, *now.words, *now.cases))))
    return len(values & known) >= _COVERED * len(values)
