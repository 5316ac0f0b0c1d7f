"""The entry points, and the one door through which the process leaves."""

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import click

from backend_crew.crew import settings
from backend_crew.crew.errors import BackendCrewError, UsageError
from backend_crew.tools.errors import ToolError

BUG = 70
INTERRUPTED = 130


def main(argv: list[str] | None = None) -> None:
    """The `backend-crew` command."""
    settings.prepare()
    if sys.stdin is None:  # closed by whoever started us: nobody is there, which is not a bug
        sys.stdin = Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115  # for as long as the process lives
    from backend_crew.crew.cli import cli

    _leave(lambda: cli(args=argv, standalone_mode=False, prog_name="backend-crew"))


def run_crew() -> None:
    """What `crewai run` starts: the feature and repository come from the environment, or from the file ENV_FILE names."""
    _leave(_run_crew)


def _run_crew() -> None:
    if file := settings.get("ENV_FILE"):
        try:
            settings.load_env_file(Path(file))
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"ENV_FILE names {file}, which cannot be read: {error}") from error
    feature, repo = settings.get("FEATURE"), settings.get("REPO")
    if feature is None or repo is None:
        example = 'FEATURE="Order refunds" REPO=../shop crewai run'
        click.echo(f"set FEATURE and REPO, for example: {example}", err=True)
        raise SystemExit(2)
    argv = ["run", feature, "--repo", repo]
    for variable, flag in (
        ("DATABASE_URL_ENV", "--database-url-env"),
        ("TEST_COMMAND", "--test-command"),
        ("CHECK_COMMAND", "--check-command"),
    ):
        if value := settings.get(variable):
            argv += [flag, value]
    config = Path("config")
    if (config / "agents.yaml").is_file() and (config / "tasks.yaml").is_file():
        _check_outside(config, Path(repo))
        argv += ["--config", str(config)]
    main(argv)


def _check_outside(config: Path, repo: Path) -> None:
    """Roles that nobody named on a command line are not taken from the repository that is worked on."""
    folder = repo.expanduser().resolve()
    top = next((one for one in (folder, *folder.parents) if (one / ".git").exists()), folder)
    if config.resolve().is_relative_to(top):
        raise UsageError(
            f"{config.resolve()} lies in the repository {top}: whoever writes to it would choose the roles. Keep the crew's "
            "project elsewhere, or name these roles yourself: backend-crew run … --config"
        )


def _leave(command: Callable[[], object]) -> None:
    """Every way out: expected errors are one message and their code, bugs a log file and 70."""
    try:
        result = command()
    except SystemExit:
        raise
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        raise SystemExit(INTERRUPTED) from None
    except click.ClickException as error:
        error.show()
        raise SystemExit(error.exit_code) from None
    except BackendCrewError as error:
        click.echo(f"error: {_said(error)}", err=True)
        raise SystemExit(error.exit_code) from None
    except ToolError as error:
        click.echo(f"error: {_said(error)}", err=True)
        raise SystemExit(2) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except Exception as error:  # noqa: BLE001  # the boundary of the process
        raise SystemExit(_bug(error, error.__traceback__)) from None
    raise SystemExit(result if isinstance(result, int) else 0)


def _said(error: Exception) -> str:
    """An error's words without secrets, and without what a terminal would obey."""
    from backend_crew.crew.plaintext import safe

    return safe(_redacted(str(error)))


def _redacted(text: str) -> str:
    from backend_crew.tools import secrets

    return secrets.of_environment(settings.environment())(text)


def _bug(error: BaseException, trace: TracebackType | None) -> int:
    """Keep the traceback in a file and say where."""
    text = _redacted("".join(traceback.format_exception(type(error), error, trace)))
    try:
        folder = settings.state_home()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f"bug-{os.getpid()}.log"
        path.write_text(text, encoding="utf-8")
        click.echo(f"this is a bug in backend-crew ({type(error).__name__}); the details are in {path}", err=True)
    except OSError:
        click.echo(text, err=True)
    return BUG
