"""A whole run whose person named a PostgreSQL database: rehearsed on a copy, applied as the SQL that was shown, once."""

import os
from pathlib import Path

import driving
import psycopg
import pytest
import scenario
from postgres_server import Server, fresh_database

from backend_crew.crew.embed import Finished

OLD = """
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num));
INSERT INTO alembic_version VALUES ('0001');
CREATE TABLE notes (id SERIAL PRIMARY KEY, text VARCHAR(200) NOT NULL);
INSERT INTO notes (text) VALUES ('milk'), ('bread'), ('Zoë''s');
"""


@pytest.mark.slow
def test_approved_migrations_reach_postgresql_once(tmp_path: Path, postgres: Server) -> None:
    url = fresh_database(postgres)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(OLD)
    stand = driving.stand(tmp_path)
    os.environ[scenario.ENV] = url.replace("postgresql://", "postgresql+psycopg://", 1)
    result = stand.kickoff()
    assert isinstance(result, Finished), result.reason

    (gate,) = stand.person.packets("migrations")
    secret = url.split(":")[2].split("@")[0]
    assert "Rehearsal passed, on copy of the database, 0001 → 0002" in gate.text
    assert "notes 3" in gate.text, "the person's rows were rehearsed on"
    assert "AccessExclusiveLock on notes" in gate.text and "do not predict times" in gate.text
    assert "UPDATE alembic_version SET version_num='0002'" in gate.text, "what is applied is what was shown"
    assert secret not in gate.text
    applied = stand.payload("apply")
    assert (applied["status"], applied["from"], applied["to"]) == ("applied", "0001", "0002"), applied
    with psycopg.connect(url, autocommit=True) as connection:
        rows = connection.execute("SELECT text, archived FROM notes ORDER BY id").fetchall()
        assert rows == [("milk", False), ("bread", False), ("Zoë's", False)]
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("0002",)]
        tables = connection.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        )
        assert {str(row[0]) for row in tables.fetchall()} == {"alembic_version", "notes"}, (
            "nothing of ours is left there"
        )
    again = stand.again().kickoff()
    assert isinstance(again, Finished) and stand.payload("apply") == applied
    for kept in stand.folder.rglob("*"):
        assert not kept.is_file() or secret.encode() not in kept.read_bytes(), kept
