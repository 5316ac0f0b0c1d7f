"""The schema of a person's PostgreSQL over a connection, in the lines that the rehearsal's scratch database gives."""

from typing import Any, cast

import psycopg

from backend_crew.tools import pg_facts
from backend_crew.tools.pg_identity import Connection

# What psql runs with for the scratch database: names come out qualified, and values in one spelling.
_SETTINGS = {"search_path": "pg_catalog", "datestyle": "ISO", "timezone": "UTC", "bytea_output": "hex"}


def schema_lines(connection: Connection, left_out: frozenset[str]) -> tuple[str, ...]:
    """Sorted, without the tables in `left_out`; works within a transaction, whose settings stay as they were."""
    told: list[str] = []
    with connection.transaction() as transaction:
        for name, value in _SETTINGS.items():
            connection.execute("SELECT set_config(%s, %s, true)", (name, value))
        for query in pg_facts.SCHEMA:
            listed = cast(Any, f"SELECT json::text FROM ({pg_facts.listed(query).rstrip(';')}) rows(json)")
            told += [str(row[0]) for row in connection.execute(listed)]
        # Settings of a savepoint outlive its end, but not its undoing; nothing else was done in it.
        raise psycopg.Rollback(transaction)
    return pg_facts.read("\n".join(told), left_out).schema
