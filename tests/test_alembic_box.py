"""What is shown of a command that failed: why, and no values of rows."""

from backend_crew.tools.alembic_box import engine_in, excerpt, reason_in
from backend_crew.tools.process import Completed

# As SQLAlchemy prints what psycopg raises, of a value with a line break in it.
VIOLATED = """\
Traceback (most recent call last):
  File "env.py", line 30, in run_online
psycopg.errors.UniqueViolation: could not create unique index "uq_users_email"
DETAIL:  Key (email)=(ann@example.org
and more of Ann) is duplicated.

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
sqlalchemy.exc.IntegrityError: (psycopg.errors.UniqueViolation) could not create unique index "uq_users_email"
DETAIL:  Key (email)=(ann@example.org
and more of Ann) is duplicated.
[SQL: ALTER TABLE users ADD CONSTRAINT uq_users_email UNIQUE (email)]
[parameters: {'email': 'ann@example.org'}]
(Background on this error at: https://sqlalche.me/e/20/gkpj)
"""


def failed(stderr: str) -> Completed:
    """A command that said this."""
    return Completed(("alembic",), 1, "", stderr, 1.0, timed_out=False, stopped=False, truncated=False)


def test_values_of_rows_are_not_shown() -> None:
    found = excerpt(failed(VIOLATED))
    assert "Ann" not in found and "ann@" not in found and "DETAIL" not in found
    assert "[SQL: ALTER TABLE users ADD CONSTRAINT" in found and "direct cause" in found
    assert reason_in(found).startswith("sqlalchemy.exc.IntegrityError: (psycopg.errors.UniqueViolation) could not")


def test_a_hint_after_the_detail_is_kept() -> None:
    text = "ERROR:  operator does not exist\nDETAIL:  Ann\nHINT:  Add casts.\n"
    assert excerpt(failed(text)) == "ERROR:  operator does not exist\nHINT:  Add casts."


def test_an_unset_variable_is_named_whichever_way_it_is_read() -> None:
    said = 'File "<frozen os>", line 679, in __getitem__\n'
    for last in (
        said + "KeyError: 'SHOP_URL'",
        "KeyError: \"Config 'SHOP_URL' is missing, and has no default.\"",
        "decouple.UndefinedValueError: SHOP_URL not found. Declare it as envvar or define a default value.",
        'environs.exceptions.EnvError: Environment variable "SHOP_URL" not set',
        "Exception: Expected environment variable 'SHOP_URL' not set.",
    ):
        assert "reads the environment variable SHOP_URL" in excerpt(failed(last)), last
    assert excerpt(failed("KeyError: 'SHOP_URL'")) == "KeyError: 'SHOP_URL'"  # of any other dictionary


def test_without_a_url_the_dialect_that_the_revisions_speak_is_the_engine() -> None:
    spoken = ["from sqlalchemy.dialects import postgresql\nsa.Column('id', postgresql.UUID())\n"]
    assert engine_in(["", "driver://user:pass@localhost/x"], spoken) == "postgresql"
    assert engine_in(["sqlite:///x.db"], spoken) == "sqlite", "a URL says more"
    assert engine_in([], ["op.create_index('a', 't', ['b'], postgresql_using='gin')"]) == "postgresql"
    assert engine_in([], [*spoken, "mysql.LONGTEXT()"]) == "sqlite", "two are none"
    assert engine_in([], ["# postgresql would be nicer"]) == "sqlite"
