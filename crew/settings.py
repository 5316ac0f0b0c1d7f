"""The one place that reads the environment; `prepare` runs before the first import of crewai."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

DEFAULT_MODEL = "anthropic/claude-sonnet-4-6"

#: What crewai must find in the environment when it is first imported (see docs/architecture.md).
_QUIET = {
    # its import loads a .env: a hostile repository's OPENAI_BASE_URL would receive the key
    "PYTHON_DOTENV_DISABLED": "1",
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "CREWAI_DISABLE_VERSION_CHECK": "true",
    # the first-run question about traces would otherwise read from the gate's stdin
    "CREWAI_TESTING": "true",
    "OTEL_SDK_DISABLED": "true",
}


def prepare(home: Path | None = None) -> None:
    """Set crewai's switches: no .env loading, no telemetry, no tracing unless the user turned it on."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    os.environ["PYTHON_DOTENV_DISABLED"] = "1"
    # crewai keeps a small output store of its own; it must not land beside other projects' data
    os.environ.setdefault("CREWAI_STORAGE_DIR", str((home or state_home()) / "crewai"))


def environment() -> Mapping[str, str]:
    """A copy of this process's environment."""
    return dict(os.environ)


def get(name: str) -> str | None:
    """One variable, or None when it is unset or empty."""
    return os.environ.get(name) or None


def put(name: str, value: str) -> None:
    """Set a variable for this process and what it starts."""
    os.environ[name] = value


def state_home() -> Path:
    """Where runs are kept: BACKEND_CREW_HOME, else the platform's state folder."""
    named = get("BACKEND_CREW_HOME")
    return Path(named).expanduser().absolute() if named else Path(platformdirs.user_state_dir("backend-crew"))


def tool_environment(name: str) -> Path:
    """Where a person puts a tool that has to live in a virtual environment of its own."""
    return state_home() / "tools" / name


def key_file() -> Path | None:
    """The file with the key that seals decisions: BACKEND_CREW_KEY_FILE."""
    named = get("BACKEND_CREW_KEY_FILE")
    return Path(named).expanduser().absolute() if named else None


def package_index() -> dict[str, str]:
    """What pip needs to find packages as it does for this person: its own settings, proxies, and HOME for pip.conf."""
    proxies = {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "HOME", "PATH"}
    return {name: value for name, value in os.environ.items() if name.upper() in proxies or name.startswith("PIP_")}


def load_env_file(path: Path) -> tuple[str, ...]:
    """Read NAME=value lines from a file that the person named; variables that are set already win."""
    names = []
    for line in path.read_text(encoding="utf-8-sig").splitlines():
        name, separator, value = line.strip().removeprefix("export ").partition("=")
        if separator and name.strip().isidentifier() and not line.lstrip().startswith("#"):
            os.environ.setdefault(name.strip(), _env_value(value.strip()))
            names.append(name.strip())
    return tuple(names)


def _env_value(text: str) -> str:
    """A value without its quotes, or without the comment behind it; NUL cannot be in an environment."""
    quoted = re.match(r"""(['"])(.*?)\1\s*(?:#.*)?$""", text)
    value = quoted[2] if quoted else re.split(r"(?:^|\s)#", text, maxsplit=1)[0].rstrip()
    return value.replace("\0", "")


@dataclass(frozen=True)
class Caps:
    """Limits on what a run may spend; None means no limit."""

    calls: int | None = 400
    tokens: int | None = 6_000_000
    minutes: float | None = 120.0
    cost: float | None = None
    """US dollars."""
    stage_calls: int | None = 150
    stage_tokens: int | None = None
    stage_minutes: float | None = None
    stage_cost: float | None = None


@dataclass(frozen=True)
class Options:
    """What the person chose for a run; kept in the journal, so that resuming needs no flags."""

    model: str | None = None
    config: str | None = None
    database_env: str | None = None
    python: str | None = None
    test_command: tuple[str, ...] = ()
    """As a person named or confirmed it; empty: pytest where the repository uses it, else no tests are run."""
    check_command: tuple[str, ...] = ()
    """Must end with exit code 0 after each layer, unless it failed before the change."""
    sandbox_env: Mapping[str, str] = field(default_factory=dict)
    """Made-up variables for the repository's commands in the sandbox; its code and the record see them."""
    include_dirty: bool = False
    policy: str | None = None
    """File with rules that decide in a person's place, FILE or FILE@sha256:HASH."""
    decision_hours: float | None = 72.0
    """An older approval lets nothing happen outside the private tree; None means no limit."""
    checks: str = "full"
    """"quick" leaves out what runs tests and application once more: mutants, new tests on the old code, calls."""
    replay: str | None = None
    caps: Caps = field(default_factory=Caps)
