"""What two recorded runs say: tests that ran before a change, and do not run after it."""

from collections import Counter
from collections.abc import Iterator, Mapping

from backend_crew.tools.change_finding import ChangeFinding
from backend_crew.tools.honesty.compare import Compared
from backend_crew.tools.honesty.findings import finding
from backend_crew.tools.honesty.pairing import Key
from backend_crew.tools.honesty.testids import key_of, known_as, outcomes

_FIX = "Let it run again, or say why it may go."


def gone(before: Mapping[str, str], after: Mapping[str, str]) -> frozenset[str]:
    """The ids that ran in the first of two runs, and are missing or skipped in the second."""
    ran = outcomes(before, "passed", "failed", "error")
    return frozenset(test_id for test_id in ran if after.get(test_id, "skipped") == "skipped")


def compare_runs(compared: Compared, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[ChangeFinding]:
    """Findings for what did not run and is not accounted for by the code; nothing where a run knew no tests."""
    if not before or not after:
        return
    still = {key_of(test_id) for test_id in after}
    said: set[Key] = set()
    for test_id in sorted(gone(before, after) - accounted(compared, before, after)):
        path, name = key = key_of(test_id)
        if key in said or known_as(test_id, compared.deleted) is not None:
            continue  # told by the comparison
        said.add(key)
        if after.get(test_id) == "skipped":
            text = f"{test_id} ran before the change and is skipped now"
            yield finding("test-skipped", "error", path, 0, text, _FIX)
        elif key in still:
            text = f"{test_id} ran before the change; {name} runs with fewer cases now"
            yield finding("cases-removed", "warning", path, 0, text, _FIX)
        else:
            text = f"{test_id} ran before the change and did not run after it"
            yield finding("test-not-run", "error", path, 0, text, _FIX)


def accounted(compared: Compared, before: Mapping[str, str], after: Mapping[str, str]) -> frozenset[str]:
    """The ids of `gone` whose tests were renamed, moved, merged, given other cases, or removed with what they tested."""
    counts = [Counter(key_of(one) for one, outcome in run.items() if outcome != "skipped") for run in (before, after)]
    found: set[str] = set()
    for test_id in gone(before, after):
        if after.get(test_id) == "skipped":
            continue
        key = known_as(test_id, compared.became)
        moved = key is not None and key not in compared.deleted
        if moved or counts[1][key_of(test_id)] >= counts[0][key_of(test_id)]:
            found.add(test_id)
    return frozenset(found)
