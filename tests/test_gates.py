"""Gates: a closed vocabulary, a digest over all that is shown, and nothing that counts by accident."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import make_journal, open_gate

from backend_crew.crew import approvers, gates
from backend_crew.crew.approvers import By, Callback, Ruling
from backend_crew.crew.errors import DecisionRefused
from backend_crew.crew.gates import Packet
from backend_crew.crew.journal import GateRow

BY = By("test", "ann")


@pytest.mark.parametrize("word", ["approve", " Approve\n", "REQUEST-CHANGES", "reject"])
def test_the_exact_words_count(word: str) -> None:
    assert gates.parse(word) == word.strip().lower()


@pytest.mark.parametrize(
    "word",
    ["", " ", "y", "yes", "ok", "lgtm", "approved", "approve it", "approve.", "approve!", "I approve", "aprove", "true",
     "approve\nreject", "request changes", "answered", "1", "🙂", "approve\x00", "approve\u200b"],
)  # fmt: skip
def test_no_other_word_counts(word: str) -> None:
    assert gates.parse(word) is None


@given(st.text())
def test_any_text_is_a_verdict_or_nothing(word: str) -> None:
    assert gates.parse(word) in (None, *gates.VERDICTS)


@pytest.mark.parametrize("name", ["run", "gate", "question", "text", "bound", "data"])
def test_the_digest_covers_every_part_of_a_packet(name: str) -> None:
    packet = Packet("r", "design", "Good?", "# Text", {"design": "a"}, {"body": "b"})
    other: dict[str, object] = {name: {"x": 1} if name in ("bound", "data") else "another"}
    assert replace(packet, **other).digest != packet.digest  # type: ignore[arg-type]  # the field is chosen by name


def test_the_digest_does_not_depend_on_the_order_of_keys() -> None:
    one = Packet("r", "g", "q", "t", {"a": 1, "b": 2})
    assert one.digest == replace(one, bound={"b": 2, "a": 1}).digest


def _row(packet: Packet, **record: object) -> GateRow:
    return GateRow(packet.gate, 1, {**packet.as_json(), **record}, packet.digest, "", None, True)


def test_a_recorded_packet_comes_back_whole() -> None:
    packet = Packet("r", "design", "Good?", "# Text", {"design": "a"}, {"body": "b"})
    assert gates.packet_of(_row(packet)) == packet


@pytest.mark.parametrize("change", [{"text": "# Other"}, {"bound": {}}, {"extra": 1}, {"data": {"body": "c"}}])
def test_a_record_that_was_changed_cannot_be_decided_about(change: dict[str, object]) -> None:
    packet = Packet("r", "design", "Good?", "# Text", {"design": "a"}, {"body": "b"})
    with pytest.raises(DecisionRefused, match="was changed after it was recorded"):
        gates.packet_of(_row(packet, **change))


def test_a_record_that_lacks_a_field_cannot_be_decided_about() -> None:
    packet = Packet("r", "design", "Good?", "# Text")
    row = GateRow("design", 1, {"run": "r"}, packet.digest, "", None, True)
    with pytest.raises(DecisionRefused, match="was changed"):
        gates.packet_of(row)


@pytest.mark.parametrize(
    ("gate", "verdict", "reason", "to", "says"),
    [
        ("design", "answered", "", "", "say one of: approve, request-changes, reject"),
        ("design", "yes", "", "", "'yes' is not possible at gate 'design'"),
        ("design", "", "", "", "say one of"),
        ("answers", "approve", "", "", "backend-crew answer"),
        ("scope", "request-changes", "why", "", "say one of: approve, reject"),
        ("design", "reject", " ", "", "reject needs a reason"),
        ("design", "request-changes", "", "", "request-changes needs a reason"),
        ("design", "request-changes", "why", "testing", "to design, clarification, analysis, not to 'testing'"),
        ("migrations", "request-changes", "why", "design", "to implementation, not to 'design'"),
    ],
)
def test_a_verdict_that_does_not_fit_is_refused_with_what_would(
    gate: str, verdict: str, reason: str, to: str, says: str
) -> None:
    with pytest.raises(DecisionRefused) as caught:
        gates.check(gate, verdict, reason, to)
    assert says in str(caught.value)


def test_changes_go_to_the_gates_own_stage_unless_another_is_named() -> None:
    assert gates.check("design", "request-changes", "why", "") == "design"
    assert gates.check("design", "request-changes", "why", "analysis") == "analysis"
    assert gates.check("design", "approve", "", "analysis") == ""
    assert gates.check("answers", "answered", "", "") == ""


# -- channels ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("digest", ["ffffffff", "0", "abc", ""])
def test_a_decision_about_another_digest_is_refused(tmp_path: Path, digest: str) -> None:
    journal = make_journal(tmp_path)
    row = open_gate(journal, "design")
    with pytest.raises(DecisionRefused, match="the decision names digest"):
        approvers.decide(journal, "r-1", row, Ruling("approve", digest=digest), BY)
    with pytest.raises(DecisionRefused, match="the decision names digest"):
        approvers.decide(journal, "r-1", row, Ruling("approve", digest=row.digest[:7]), BY)
    assert approvers.decide(journal, "r-1", row, Ruling("approve", digest=row.digest[:8]), BY).actor == "ann"
    journal.close()


def test_a_packet_that_was_changed_in_the_database_cannot_be_approved(tmp_path: Path) -> None:
    journal = make_journal(tmp_path)
    row = open_gate(journal, "design")
    changed = replace(row, packet={**row.packet, "text": "# Harmless"})
    with pytest.raises(DecisionRefused, match="was changed after"):
        approvers.decide(journal, "r-1", changed, Ruling("approve"), BY)
    assert journal.decisions("r-1") == ()
    journal.close()


def test_the_newest_open_gate_is_the_one_that_waits(tmp_path: Path) -> None:
    journal = make_journal(tmp_path)
    with pytest.raises(DecisionRefused, match=r"waits at no gate; see"):
        approvers.waiting(journal, "r-1")
    open_gate(journal, "design")
    row = open_gate(journal, "scope", bound={"path": "x"})
    assert approvers.waiting(journal, "r-1").gate == "scope"
    approvers.decide(journal, "r-1", row, Ruling("approve"), BY)
    assert approvers.waiting(journal, "r-1").gate == "design"
    approvers.decide(journal, "r-1", approvers.waiting(journal, "r-1"), Ruling("reject", "no"), BY)
    with pytest.raises(DecisionRefused, match=r"gate 'design' was decided \(reject\) by ann"):
        approvers.waiting(journal, "r-1")
    journal.close()


@pytest.mark.parametrize(
    "verdict", [{}, {"verdict": ""}, {"verdict": "yes"}, {"verdict": True}, {"verdict": "answered"}]
)
def test_a_callback_that_says_anything_else_approves_nothing(tmp_path: Path, verdict: dict[str, object]) -> None:
    journal = make_journal(tmp_path)
    row = open_gate(journal, "design")
    with pytest.raises(DecisionRefused):
        Callback(lambda _: verdict, "bot").ask(journal, "r-1", row)
    assert journal.decisions("r-1") == ()
    assert not Callback(lambda _: None, "bot").ask(journal, "r-1", row)
    assert Callback(lambda packet: {"verdict": "approve"}, "bot").ask(journal, "r-1", row)
    assert journal.decisions("r-1")[0].channel == "callback"
    journal.close()
