"""The journal's tables."""

from sqlalchemy import Boolean, Column, Float, Index, Integer, MetaData, String, Table, Text, UniqueConstraint

METADATA = MetaData()

RUNS = Table(
    "runs",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("created", String(32), nullable=False),
    Column("repo", Text, nullable=False),
    Column("feature", Text, nullable=False),
    Column("brief", Text, nullable=False),
    Column("options", Text, nullable=False),
    Column("profile", Text, nullable=False),
    Column("base", String(64), nullable=False),
    Column("branch", Text, nullable=False),
    Column("inputs", String(64), nullable=False, doc="SHA-256 over feature, brief, roles and tasks"),
    Column("status", String(32), nullable=False),
    Column("reason", Text, nullable=False, default=""),
    Column("epoch", Integer, nullable=False, default=0),
)

OUTPUTS = Table(
    "outputs",
    METADATA,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("run", String(64), nullable=False),
    Column("task", String(100), nullable=False),
    Column("round", Integer, nullable=False),
    Column("artifact", String(50), nullable=False),
    Column("payload", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("commit_id", String(64)),
    Column("at", String(32), nullable=False),
    Column("active", Boolean, nullable=False, default=True),
    UniqueConstraint("run", "task", "round"),
)

GATES = Table(
    "gates",
    METADATA,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("run", String(64), nullable=False),
    Column("gate", String(50), nullable=False),
    Column("round", Integer, nullable=False),
    Column("packet", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("at", String(32), nullable=False),
    Column("draft", Text, doc="answers that still need the person's confirmation"),
    Column("open", Boolean, nullable=False, default=True),
    UniqueConstraint("run", "gate", "round"),
)

DECISIONS = Table(
    "decisions",
    METADATA,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("run", String(64), nullable=False),
    Column("gate", String(50), nullable=False),
    Column("round", Integer, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("verdict", String(20), nullable=False),
    Column("reason", Text, nullable=False),
    Column("to_stage", String(30), nullable=False),
    Column("payload", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("channel", String(20), nullable=False),
    Column("at", String(32), nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    UniqueConstraint("run", "gate", "round"),
)

INTENTS = Table(
    "intents",
    METADATA,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("run", String(64), nullable=False),
    Column("kind", String(30), nullable=False),
    Column("key", String(100), nullable=False, doc="what makes it single-use, for example the decision's hash"),
    Column("detail", Text, nullable=False),
    Column("state", String(20), nullable=False),
    Column("at", String(32), nullable=False),
    UniqueConstraint("run", "kind", "key"),
)

EVENTS = Table(
    "events",
    METADATA,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("run", String(64), nullable=False),
    Column("at", String(32), nullable=False),
    Column("kind", String(40), nullable=False),
    Column("data", Text, nullable=False),
    Index("events_by_run", "run", "seq"),
)

USAGE = Table(
    "usage",
    METADATA,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("run", String(64), nullable=False),
    Column("stage", String(30), nullable=False),
    Column("task", String(100), nullable=False),
    Column("model", Text, nullable=False),
    Column("prompt_tokens", Integer, nullable=False),
    Column("completion_tokens", Integer, nullable=False),
    Column("cost", Float, doc="US dollars; NULL when the price is unknown"),
    Column("seconds", Float, nullable=False),
    Column("at", String(32), nullable=False),
    Index("usage_by_run", "run"),
)
