"""The contract check on a corpus of honest and broken implementations."""

import pytest
from verification.contract_corpus import Outcome, figures, outcomes

from backend_crew.tools.sandbox import Sandbox


@pytest.fixture(scope="module")
def corpus(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    return outcomes(sandbox, tmp_path_factory.mktemp("corpus"))


def test_every_broken_implementation_is_found_and_no_honest_one_is_blocked(corpus: list[Outcome]) -> None:
    wrong = [
        (
            one.case.name,
            one.case.rule,
            one.result.status,
            one.result.reason,
            [(f.rule, f.text) for f in one.result.findings],
        )
        for one in corpus
        if not one.right
    ]
    assert wrong == []
    assert figures(corpus) == (1.0, 1.0)
