"""Decisions in the database: appended to the chain, read back from it, and used once; each within a transaction."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from backend_crew.crew.chain import LINKED, Chain
from backend_crew.crew.errors import DecisionRefused, JournalError
from backend_crew.crew.rows import Decision, canonical, now, sha256
from backend_crew.crew.tables import DECISIONS, GATES, INTENTS


def decisions_of(run: str) -> sa.Select[Any]:
    """The query for a run's decisions, oldest first."""
    return sa.select(DECISIONS).where(DECISIONS.c.run == run).order_by(DECISIONS.c.seq)


def decision(row: Any) -> Decision:
    """A row as a value."""
    values = {name: row._mapping[name] for name in (*LINKED, "hash")}
    return Decision(**{**values, "payload": json.loads(row.payload)})


def check(chain: Chain, rows: Sequence[Any]) -> str:
    """The head of the chain that rows form; raises JournalError naming the first broken link."""
    return chain.check([dict(row._mapping) for row in rows])


def check_shown(run: str, decisions: Sequence[Any], gates: Sequence[Any]) -> None:
    """Whether what each decision was about is still there as it was shown; raises JournalError."""
    shown = {(row.gate, row.round): row for row in gates}
    for number, one in enumerate(decisions, start=1):
        row = shown.get((one.gate, one.round))
        if row is None or row.digest != one.digest or not _as_shown(row):
            raise JournalError(
                f"what decision {number} of run {run} was about (gate {one.gate!r}, round {one.round}) was changed "
                "or removed after it was decided"
            )


def append(connection: sa.Connection, chain: Chain, new: Decision) -> None:
    """Add a decision about an open gate to a chain that holds, and close the gate; raises DecisionRefused."""
    _check_open(connection, new)
    values = {**vars(new), "payload": canonical(new.payload), "at": now()}
    values["previous"] = check(chain, connection.execute(decisions_of(new.run)).all())
    values["hash"] = chain.link(values)
    connection.execute(sa.insert(DECISIONS).values(**values))
    where = (GATES.c.run == new.run, GATES.c.gate == new.gate, GATES.c.round == new.round)
    connection.execute(sa.update(GATES).where(*where).values(open=False))


def approval(connection: sa.Connection, chain: Chain, gate: str, digest: str) -> Decision:
    """The approval of the newest round of a gate, if it is about exactly this digest; raises DecisionRefused."""
    check(chain, connection.execute(decisions_of(chain.run)).all())
    query = sa.select(GATES).where(GATES.c.run == chain.run, GATES.c.gate == gate).order_by(GATES.c.round.desc())
    row = connection.execute(query).first()
    if row is None or row.digest != digest or not _as_shown(row):
        raise DecisionRefused(f"gate {gate!r} of run {chain.run} does not show what was to be done; nothing was done")
    query = decisions_of(chain.run).where(DECISIONS.c.gate == gate, DECISIONS.c.round == row.round)
    found = connection.execute(query).first()
    if found is None or found.digest != digest or found.verdict != "approve":
        raise DecisionRefused(f"gate {gate!r} of run {chain.run} has no approval of this; nothing was done")
    return decision(found)


def begin_use(connection: sa.Connection, grant: Decision, effect: str, detail: Mapping[str, Any]) -> None:
    """Record the one use of an approval; raises DecisionRefused, or IntegrityError where the database lets two race.

    `detail` holds the epoch of the run's holder: what an earlier one began and did not end becomes the later one's.
    """
    text = canonical(detail)
    # whatever the effect: an approval is not one use for each
    where = [INTENTS.c.run == grant.run, INTENTS.c.key == grant.hash]
    begun = connection.execute(sa.select(INTENTS).where(*where)).first()
    if begun is None:
        values = {"run": grant.run, "kind": effect, "key": grant.hash, "detail": text, "state": "begun"}
        connection.execute(sa.insert(INTENTS).values(**values, at=now()))
        return
    earlier = begun.kind == effect and json.loads(begun.detail).get("epoch", 0) < detail["epoch"]
    where += [INTENTS.c.state == "begun", INTENTS.c.detail == begun.detail]
    if not earlier or not connection.execute(sa.update(INTENTS).where(*where).values(detail=text)).rowcount:
        raise DecisionRefused(
            f"the approval at gate {grant.gate!r} of run {grant.run} was used already ({begun.state}, begun at "
            f"{begun.at}); an approval is good for one use"
        )


def _check_open(connection: sa.Connection, decision: Decision) -> None:
    where = (GATES.c.run == decision.run, GATES.c.gate == decision.gate)
    row = connection.execute(sa.select(GATES).where(*where).order_by(GATES.c.seq.desc())).first()
    if row is None:
        raise DecisionRefused(f"gate {decision.gate!r} of run {decision.run} has not been reached")
    if row.round != decision.round or row.digest != decision.digest:
        raise DecisionRefused(
            f"the decision is about digest {decision.digest[:12]}, but gate {decision.gate!r} now shows "
            f"{row.digest[:12]}; look at it again with `backend-crew show {decision.run}`"
        )
    if not row.open:
        taken = connection.execute(
            sa.select(DECISIONS).where(
                DECISIONS.c.run == decision.run,
                DECISIONS.c.gate == decision.gate,
                DECISIONS.c.round == decision.round,
            )
        ).first()
        by = f": {taken.verdict} by {taken.actor} at {taken.at}" if taken else ""
        raise DecisionRefused(f"gate {decision.gate!r} of run {decision.run} is already decided{by}")


def _as_shown(row: Any) -> bool:
    """Whether a gate's packet is still the one that its digest was made of."""
    try:
        return bool(sha256(canonical(json.loads(row.packet))) == row.digest)
    except ValueError:  # no JSON any more
        return False
