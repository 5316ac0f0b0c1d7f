"""Missing variables by their names: from tracebacks of the real libraries, and from nothing that only looks like one."""

import os
import traceback

import pytest
from pydantic import BaseModel
from pydantic_settings import BaseSettings

from backend_crew.tools.unset import told


class Settings(BaseSettings):
    """Two fields that the environment has to give, one of them badly given here."""

    shop_database_url: str
    shop_token: str
    shop_port: int = 1


class Plain(BaseModel):
    """No settings: it reads no environment."""

    shop_token: str


def lines_of(call: object) -> list[str]:
    """What a program prints that ends on this call."""
    assert callable(call)
    try:
        call()
    except (KeyError, ValueError):
        return [line for line in traceback.format_exc().splitlines() if line.strip()]
    raise AssertionError("it did not fail")


def test_all_fields_that_settings_lack_are_named_and_no_value_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_PORT", "hunter2")
    said = told(lines_of(Settings))
    assert said is not None
    assert "the environment variables SHOP_DATABASE_URL, SHOP_TOKEN, which are not set here" in said
    assert "class Settings" in said and "--sandbox-env SHOP_DATABASE_URL=VALUE" in said
    assert "--database-url-env SHOP_DATABASE_URL" in said and "hunter2" not in said and "PORT" not in said


def test_the_environment_itself_is_read_for_one_variable() -> None:
    said = told(lines_of(lambda: os.environ["SHOP_TOKEN"]))
    assert said is not None and "the environment variable SHOP_TOKEN, which is not set here" in said


@pytest.mark.parametrize(
    "text",
    [
        "Traceback\nKeyError: 'SHOP_TOKEN'",
        "pydantic_settings\nValidationError: 1 validation error for S\nport\n  Input should be a valid integer [type=int]",
        "pydantic_settings/main.py\nValueError: no",
        "",
    ],
)
def test_other_errors_are_no_missing_variables(text: str) -> None:
    assert told(text.splitlines()) is None


def test_a_model_without_its_field_is_not_the_environments_fault() -> None:
    assert told(lines_of(Plain)) is None
