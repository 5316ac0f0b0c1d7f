"""The migration guard on real-shaped migrations: each gets the verdict that it must get, and for the reason it must.

A known miss is asserted as it is today: a change that repairs one fails here until its mark is taken off.
"""

from collections import Counter
from pathlib import Path

import pytest
from migrations.cases import CLEAN, KINDS, Case
from migrations.corpus import CORPUS, judge, told

from backend_crew.tools.sandbox import Sandbox


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case.title)
def test_verdict(case: Case, sandbox: Sandbox, tmp_path: Path) -> None:
    found = judge(case, sandbox, tmp_path)
    said = [found.status, found.reason, *(f"{one.severity} {one.rule}: {one.text}" for one in found.findings)]
    if case.today is None:
        assert told(found, case.must), (case.must, said)
    else:
        assert not told(found, case.must), "it is right now: take its `miss` and `today` away"
        assert told(found, case.today), (case.today, said)


def test_the_corpus_is_what_it_says() -> None:
    titles = Counter(case.title for case in CORPUS)
    assert len(CORPUS) >= 40 and max(titles.values()) == 1
    places = {(case.family, case.engine) for case in CORPUS}
    assert places == {
        (family, engine) for family in ("alembic", "django", "sql") for engine in ("sqlite", "postgresql")
    }
    assert {case.kind for case in CORPUS} == set(KINDS)
    for place in places:
        statuses = [case.must.status for case in CORPUS if (case.family, case.engine) == place]
        assert CLEAN in statuses and set(statuses) != {CLEAN}, place
    assert all(bool(case.miss) == (case.today is not None) for case in CORPUS)
