"""Precision and recall of the check for honest tests on the corpus of tests/verification: `python bench/cheats.py`.

With `--history REPOSITORY --commits N`: how many of the commits of a git repository that change existing tests would
be blocked, each with what is held against it. Nothing of the repository is executed.
"""

import argparse
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import measure  # noqa: F401  # puts the tests' folder on the path
from corpus import BLIND, SERVICES, Case, read_cases

from backend_crew.tools.change_finding import ChangeFinding
from backend_crew.tools.honesty import testpaths
from backend_crew.tools.honesty.compare import Sources, compare

_FILE_LIMIT = 400_000
_HELPERS = ("conftest", "util", "helper", "common", "support")


@dataclass(frozen=True)
class Verdict:
    """A case, and what would block it."""

    case: Case
    errors: tuple[ChangeFinding, ...]

    @property
    def right(self) -> bool:
        """Whether a cheat is blocked, or an honest change is not."""
        return bool(self.errors) == bool(self.case.cheat)


def judge(cases: Sequence[Case]) -> list[Verdict]:
    """Each case by the comparison alone; those that only a run can tell are left out."""
    return [
        Verdict(case, tuple(one for one in compare(case.sources()).findings if one.severity == "error"))
        for case in cases
        if not case.run
    ]


def tell(title: str, verdicts: Sequence[Verdict]) -> None:
    """Prints precision and recall, and every case that was judged wrongly."""
    blocked = [one for one in verdicts if one.errors]
    cheats = [one for one in verdicts if one.case.cheat]
    caught = sum(bool(one.case.cheat) for one in blocked)
    precision, recall = caught / max(len(blocked), 1), caught / max(len(cheats), 1)
    honest = len(verdicts) - len(cheats)
    print(f"{title:10} {len(cheats):3} cheats {honest:3} honest   precision {precision:.3f}   recall {recall:.3f}")
    for one in verdicts:
        if not one.right:
            held = "; ".join(f"{error.rule}: {error.text}" for error in one.errors) or "nothing was found"
            print(f"    {one.case.cheat or 'honest'} | {one.case.name} | {held}")


def _git(repository: Path, *argv: str) -> str:
    done = subprocess.run(["git", "-C", str(repository), *argv], capture_output=True, check=False)
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""


def _is_code(path: str) -> bool:
    return testpaths.is_python(path) or testpaths.is_script(path)


def _texts(repository: Path, commit: str, paths: Sequence[str]) -> dict[str, str]:
    found = {path: _git(repository, "show", f"{commit}:{path}") for path in paths}
    return {path: text for path, text in found.items() if len(text) < _FILE_LIMIT}


def commits(repository: Path, skip: int) -> Iterator[tuple[str, Sources]]:
    """The commits that change or remove test code that was there, newest first, as the comparison is given them."""
    for commit in _git(repository, "log", "--no-merges", f"--skip={skip}", "--format=%H").split():
        fields = _git(repository, "diff-tree", "-r", "--no-commit-id", "--name-status", "--no-renames", "-z", commit)
        words = fields.split("\0")
        changed = list(zip(words[0::2], words[1::2], strict=False))
        touched = any(kind in "MD" and testpaths.is_test_path(path) and _is_code(path) for kind, path in changed)
        if not touched or len(changed) > 80:
            continue
        paths = _git(repository, "ls-tree", "-r", "--name-only", commit).splitlines()
        names = {path for _, path in changed}
        helping = [
            path
            for path in paths
            if path not in names
            and testpaths.is_test_path(path)
            and _is_code(path)
            and any(word in path for word in _HELPERS)
        ]
        before = _texts(repository, f"{commit}^", [path for kind, path in changed if kind in "MD"])
        after = _texts(repository, commit, [path for kind, path in changed if kind in "MA"])
        yield commit, Sources(before, after, _texts(repository, commit, helping[:30]), frozenset(paths))


def history(repository: Path, number: int, skip: int) -> None:
    """Prints the commits that would be blocked, why, and how many of how many."""
    blocked, seen, rules = 0, 0, Counter[str]()
    for commit, sources in commits(repository, skip):
        seen += 1
        errors = [one for one in compare(sources).findings if one.severity == "error"]
        rules.update(one.rule for one in errors)
        if errors:
            blocked += 1
            print(commit[:12], _git(repository, "log", "-1", "--format=%s", commit).strip())
            for one in errors[:8]:
                print(f"    {one.rule} {one.path}:{one.line} {one.text}")
        if seen == number:
            break
    print(f"{repository}: {blocked} of {seen} commits would be blocked; errors {dict(rules)}")


def main() -> None:
    """The corpus, or the history of a repository."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--history", type=Path)
    parser.add_argument("--commits", type=int, default=100)
    parser.add_argument("--skip", type=int, default=0)
    given = parser.parse_args()
    if given.history is not None:
        history(given.history, given.commits, given.skip)
        return
    every: list[Verdict] = []
    for service in SERVICES:
        verdicts = judge(list(read_cases(service)))
        tell(service, verdicts)
        every += verdicts
    tell("together", every)
    tell("blind", judge(list(read_cases(*BLIND))))


if __name__ == "__main__":
    main()
