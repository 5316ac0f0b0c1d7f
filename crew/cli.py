"""The command line: results on stdout, progress and questions on stderr; each command imports what it needs."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from backend_crew.crew import flags, scanning, settings
from backend_crew.crew.errors import BackendCrewError, UsageError
from backend_crew.crew.settings import Caps, Options


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="backend-crew", prog_name="backend-crew")
def cli() -> None:
    """A crew that adds a backend feature to your repository; gates, guards and migrations are enforced by code."""


cli.add_command(scanning.scan)


@cli.command()
@click.argument("feature", required=False)
@click.option("--feature-file", type=click.Path(path_type=Path), help="Read the feature text from a file.")
@click.option("--repo", type=click.Path(path_type=Path), default=Path(), help="The repository; default: this folder.")
@click.option(
    "--brief", type=click.Path(path_type=Path), help="A file with background that the feature text leaves out."
)
@flags.DATABASE
@flags.SANDBOX_ENV
@click.option("--config", type=click.Path(path_type=Path), help="Folder with your agents.yaml and tasks.yaml.")
@click.option("--model", help="provider/model for every role that names none.")
@click.option("--python", type=click.Path(path_type=Path), help="The interpreter that runs the repository's tests.")
@flags.TESTS
@flags.CHECK
@click.option("--include-dirty/--ignore-dirty", default=None, help="Take uncommitted work along, or leave it out.")
@flags.ENV_FILE
@click.option("--policy", metavar="FILE", help="Rules that decide in your place; FILE@sha256:HASH pins its content.")
@flags.EXPIRY
@flags.CHECKS
@click.option("--assume-backend", is_flag=True, help="Go on although no backend was detected.")
@click.option("--record", type=click.Path(path_type=Path), help="Write every model exchange to this file.")
@flags.JSON
@flags.caps(started=True)
def run(as_json: bool, record: Path | None, **given: Any) -> None:
    """Add FEATURE to a repository: analysis, questions, design, approval, code, migrations, tests, branch."""
    from backend_crew.crew import commands, runner

    caps = Caps(**{**vars(Caps()), **flags.given_caps(given)})
    _load_env(given["env_file"])
    feature = _feature(given["feature"], given["feature_file"])
    options = _settled(given, _options(given, caps), somebody=sys.stdin.isatty() and not as_json)
    with commands.opened() as journal:
        started = runner.start(
            journal,
            given["repo"],
            feature,
            brief=_file(given["brief"]) if given["brief"] else "",
            options=options,
            assume_backend=given["assume_backend"],
        )
        commands.go_on(journal, started.id, as_json=as_json, record=record)


def _settled(given: dict[str, Any], options: Options, *, somebody: bool) -> Options:
    """The options with the commands for tests and checks as the person here confirms them."""
    from backend_crew.crew import choosing
    from backend_crew.tools import git

    def say(text: str) -> None:
        click.echo(text, err=True)

    def line(prompt: str) -> str:
        return str(click.prompt(prompt, err=True))

    ask = choosing.at_terminal(line, say) if somebody else None
    return choosing.settled(git.inspect(given["repo"]).root, options, ask, say, assumed=given["assume_backend"])


def _options(given: dict[str, Any], caps: Caps) -> Options:
    from backend_crew.crew import policy
    from backend_crew.crew.choosing import parse

    return Options(
        model=given["model"],
        config=str(given["config"].absolute()) if given["config"] else None,
        database_env=given["database_url_env"],
        python=str(given["python"].absolute()) if given["python"] else None,
        test_command=parse(given["test_command"], "--test-command") if given["test_command"] else (),
        check_command=parse(given["check_command"], "--check-command") if given["check_command"] else (),
        sandbox_env=given["sandbox_env"],
        include_dirty=_dirty_choice(given["repo"], given["include_dirty"]),
        policy=policy.checked(given["policy"], given["repo"]),
        decision_hours=given["decision_expiry"],
        checks=given["checks"],
        caps=caps,
    )


def _feature(text: str | None, file: Path | None) -> str:
    if (text is None) == (file is None):
        raise UsageError("give the feature as an argument, or with --feature-file (not both)")
    return text if text is not None else _file(file)


def _file(path: Path | None) -> str:
    assert path is not None
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read as UTF-8 text: {error}") from error


def _load_env(path: Path | None) -> None:
    if path is not None:
        try:
            settings.load_env_file(path)
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{path} cannot be read: {error}") from error


def _dirty_choice(repo: Path, choice: bool | None) -> bool:
    """Uncommitted work is taken along or left out only as the person says."""
    from backend_crew.tools import git

    dirty = git.inspect(repo).dirty
    if choice is not None or not dirty:
        return bool(choice)
    shown = ", ".join(dirty[:5]) + (f" and {len(dirty) - 5} more" if len(dirty) > 5 else "")
    if not sys.stdin.isatty():
        raise UsageError(f"the repository has uncommitted work ({shown}); say --include-dirty or --ignore-dirty")
    return click.confirm(f"Uncommitted work: {shown}. Take it along?", err=True)


@cli.command()
@click.argument("run_id")
@flags.JSON
@flags.ENV_FILE
@flags.TESTS
@flags.CHECK
@flags.SANDBOX_ENV
@click.option("--record", type=click.Path(path_type=Path), hidden=True)
@click.option("--policy", metavar="FILE", help="Rules that decide in your place; default: those the run was given.")
@flags.caps(started=False)
def resume(
    run_id: str, as_json: bool, env_file: Path | None, record: Path | None, policy: str | None, **given: Any
) -> None:
    """Go on with a run: what is recorded is not done again."""
    from backend_crew.crew import budget, commands
    from backend_crew.crew.model import Status

    _load_env(env_file)
    with commands.opened() as journal:
        run = journal.run(run_id)
        if caps := flags.given_caps(given):
            larger = budget.larger(budget.caps_from(run.options), caps)
            journal.set_options(run.id, {**run.options, "caps": vars(larger)})
        elif run.status is Status.BUDGET:
            raise UsageError(f"run {run.id} reached a cap: {run.reason}")
        commands.name_commands(
            journal, run.id, tests=given["test_command"], check=given["check_command"], env=given["sandbox_env"]
        )
        commands.go_on(journal, run.id, as_json=as_json, record=record, rules=policy)


@cli.command()
@click.argument("run_id")
@click.option("--file", "file", type=click.Path(path_type=Path, allow_dash=True), help="YAML or JSON; '-' reads stdin.")
def answer(run_id: str, file: Path | None) -> None:
    """Answer the questions of a run, from a file or one by one."""
    from backend_crew.crew import approvers, commands, yamlfile
    from backend_crew.crew.model import EXIT_CODES, Status
    from backend_crew.crew.plaintext import safe

    with commands.opened() as journal:
        run = journal.run(run_id)
        row = approvers.waiting(journal, run.id)
        if file is None:
            from backend_crew.crew.terminal import Terminal

            if not sys.stdin.isatty():
                raise UsageError("name a file with --file (or - for stdin); this is not a terminal")
            Terminal(commands.stderr()).ask(journal, run.id, row)
            return
        text = sys.stdin.read() if str(file) == "-" else _file(file)
        reading = approvers.answer(
            journal, run.id, row, yamlfile.read_mapping(text, str(file)), approvers.By.here("file")
        )
        if reading.delegated:
            click.echo("You left these to us; nothing is recorded until you confirm:")
            for one in reading.answers.items:
                if one.id in reading.delegated:
                    click.echo(f"  {one.id}: {safe(one.answer)}")
            click.echo(f"\nbackend-crew confirm {run.id}", err=True)
            raise SystemExit(EXIT_CODES[Status.WAITING])
        click.echo(f"{len(reading.answers.items)} answers recorded\n\nbackend-crew resume {run.id}", err=True)


@cli.command()
@click.argument("run_id")
def confirm(run_id: str) -> None:
    """Confirm the recommendations for the answers that you left to us."""
    from backend_crew.crew import approvers, commands

    with commands.opened() as journal:
        run = journal.run(run_id)
        approvers.confirm(journal, run.id, approvers.waiting(journal, run.id), approvers.By.here("command"))
        click.echo(f"confirmed\n\nbackend-crew resume {run.id}", err=True)


@cli.command()
@click.argument("run_id")
@flags.DIGEST
@click.option("--reason", default="", help="Why; recorded with the decision.")
def approve(run_id: str, digest: str | None, reason: str) -> None:
    """Approve what the run shows at its gate."""
    from backend_crew.crew import commands
    from backend_crew.crew.gates import APPROVE

    commands.decide(run_id, APPROVE, digest, reason)


@cli.command("request-changes")
@click.argument("run_id")
@flags.DIGEST
@flags.REASON
@click.option("--to", "to_stage", default="", help="The stage that the work goes back to.")
def request_changes(run_id: str, digest: str | None, reason: str, to_stage: str) -> None:
    """Send the work back with a reason."""
    from backend_crew.crew import commands
    from backend_crew.crew.gates import CHANGES

    commands.decide(run_id, CHANGES, digest, reason, to_stage)


@cli.command()
@click.argument("run_id")
@flags.DIGEST
@flags.REASON
def reject(run_id: str, digest: str | None, reason: str) -> None:
    """Reject what the run shows: a rejected design ends the run, rejected migrations stay pending."""
    from backend_crew.crew import commands
    from backend_crew.crew.gates import REJECT

    commands.decide(run_id, REJECT, digest, reason)


@cli.command()
@click.argument("run_id")
@click.option(
    "--file", "file", type=click.Path(path_type=Path), help="The edited design as JSON; default: your editor."
)
def edit(run_id: str, file: Path | None) -> None:
    """Change the design yourself; the gate opens again on your version."""
    from backend_crew.crew import commands, editing

    settings.prepare()
    with commands.opened() as journal:
        run = journal.run(run_id)
        before = editing.text_of(journal, run.id)
        if file is None and not sys.stdin.isatty():
            click.echo(before, nl=False)
            raise UsageError("this is not a terminal: edit the JSON above and give it with --file")
        after = _file(file) if file else click.edit(before, extension=".json", require_save=True)
        if after is None or after == before:
            raise UsageError("nothing was changed")
        editing.apply(journal, run.id, after)
        click.echo(f"your version is recorded; the gate opens on it\n\nbackend-crew resume {run.id}", err=True)


@cli.command()
@flags.JSON
def runs(as_json: bool) -> None:
    """List runs, newest first."""
    from backend_crew.crew import listing

    found = listing.runs()
    if as_json:
        click.echo(json.dumps([vars(one) for one in found]))
        return
    for one in found:
        click.echo(f"{one.run:32} {one.status:15} {one.created}  {one.repo}")
    if not found:
        click.echo('no runs yet: backend-crew run "FEATURE" --repo DIR', err=True)


@cli.command()
@click.argument("run_id")
@flags.JSON
def show(run_id: str, as_json: bool) -> None:
    """Show how a run stands, and what it waits for."""
    from rich.console import Console

    from backend_crew.crew import approvers, commands, outcome
    from backend_crew.crew.errors import DecisionRefused
    from backend_crew.crew.markdown import shown
    from backend_crew.crew.plaintext import safe
    from backend_crew.crew.terminal import how_to_answer

    with commands.opened() as journal:
        run = journal.run(run_id)
        if as_json:
            click.echo(json.dumps(outcome.as_json(journal, run, commands.spec_of(run)), ensure_ascii=False))
            return
        click.echo("\n".join(outcome.lines(journal, run)))
        try:
            row = approvers.waiting(journal, run.id)
        except DecisionRefused:
            return
        console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
        console.rule(f"gate: {row.gate}  round {row.round}")
        console.print(shown(str(row.packet["text"]), console.width))
        if row.draft:
            answers = row.draft["answers"]["items"]
            left = [one for one in answers if one["source"] == "recommendation, confirmed"]
            console.print("These wait for your confirmation:", markup=False)
            for one in left:
                console.print(f"  {one['id']}: {safe(one['answer'])}", markup=False)
        console.print(f"{row.packet['question']}\n\ndigest {row.digest}", markup=False)
        click.echo("\n" + how_to_answer(run.id, row, shown=True), err=True)


@cli.command()
@click.argument("run_id")
@flags.JSON
def report(run_id: str, as_json: bool) -> None:
    """Print the report of a run that ended, built from its records."""
    from backend_crew.crew import commands, reporting

    with commands.opened() as journal:
        run = journal.run(run_id)
        folder = journal.folder(run.id)
        facts = reporting.recorded(folder)
        if not facts:
            raise UsageError(
                f"run {run.id} is {run.status.value}; it has no report yet: see `backend-crew show {run.id}`"
            )
        click.echo(
            json.dumps(facts, ensure_ascii=False) if as_json else (folder / "report.md").read_text(encoding="utf-8")
        )


@cli.command()
@click.argument("run_id")
@click.option("--yes", is_flag=True, help="Do not ask.")
def discard(run_id: str, yes: bool) -> None:
    """Delete a run's private clone, and its branch if it is not merged or checked out."""
    import shutil

    from backend_crew.crew import commands, listing
    from backend_crew.crew.model import Status
    from backend_crew.tools import git

    with commands.opened() as journal:
        run = journal.run(run_id)
        if not yes and not (
            sys.stdin.isatty() and click.confirm(f"Delete run {run.id} and branch {run.branch}?", err=True)
        ):
            raise UsageError("nothing was deleted; say --yes to delete without asking")
        with journal.lease(run.id):
            removed = git.delete_branch(git.inspect(Path(run.repo)), run.branch)
            for name in ("repository.git", "tree"):
                shutil.rmtree(journal.folder(run.id) / name, ignore_errors=True)
            journal.set_status(run.id, Status.REJECTED, listing.DISCARDED)
        click.echo(
            f"{run.id}: discarded{'' if removed else f'; there was no branch {run.branch}'}; its history is kept"
        )


@cli.command()
@click.argument("run_id")
@click.option("--head", "known", help="The head that you kept; it must still be part of the chain.")
def verify(run_id: str, known: str | None) -> None:
    """Check that no recorded decision was changed, moved or removed, against the published branch too."""
    from backend_crew.crew import commands, proof

    with commands.opened() as journal:
        click.echo("\n".join(proof.verified(journal, journal.run(run_id), known)))


@cli.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path))
def validate(folder: Path | None) -> None:
    """Check a folder's agents.yaml and tasks.yaml; every fault with file, line and a suggestion."""
    from backend_crew.crew import roles

    spec, faults = roles.inspect(folder or roles.default_folder())
    for fault in faults:
        click.echo(str(fault))
    if spec is None:
        raise UsageError("1 fault" if len(faults) == 1 else f"{len(faults)} faults")
    gates = [task.gate for task in spec.tasks if task.gate]
    click.echo(
        f"valid: {len(spec.roles)} roles, {len(spec.tasks)} tasks, gates in effect: {', '.join(str(one) for one in gates)}"
    )


@cli.command()
@click.option("--yes", is_flag=True, help="Play the recorded answers at the gates instead of asking.")
@flags.JSON
@click.option("--keep", type=click.Path(path_type=Path), help="Where to put the sample; default: a temporary folder.")
@click.option("--record", type=click.Path(path_type=Path), help="Write the replies beside this version's requests.")
def demo(yes: bool, as_json: bool, keep: Path | None, record: Path | None) -> None:
    """The whole path on the bundled sample service, with a recorded model: no key, no network."""
    from backend_crew.crew import commands
    from backend_crew.crew import demo as playing
    from backend_crew.crew.progress import Progress

    console = commands.stderr()
    if not yes and not sys.stdin.isatty():
        console.print(
            "This is not a terminal: the run stops at the first gate. `demo --yes` plays the recorded decisions."
        )
    with commands.opened() as journal:
        run, models, approver = playing.prepare(journal, console, keep=keep, yes=yes, record=record)

        def seat(progress: Progress) -> Any:
            approver.progress = progress
            return approver

        try:
            commands.drive(journal, run, models, seat, as_json=as_json)
        finally:
            console.print(playing.drift(models), markup=False)


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path), default=".")
@click.option(
    "--from",
    "start",
    metavar="REV",
    help="Full id, or 'base'; default: where the database is, else before uncommitted files.",
)
@click.option("--to", "target", metavar="REV", help="Full id; default: the newest revision.")
@click.option(
    "--database-url-env",
    "env_name",
    metavar="NAME",
    help="The variable that env.py or the settings read; its database is only read.",
)
@click.option("--python", help="The interpreter that has the repository's dependencies.")
@flags.SANDBOX_ENV
@flags.JSON
@click.option("--sarif", type=click.Path(path_type=Path, dir_okay=False), help="Also write the findings there.")
def rehearse(folder: Path, as_json: bool, sarif: Path | None, **given: Any) -> None:
    """Rehearse and lint the pending Alembic migrations of FOLDER; no model, no key. Other tools' files are listed.

    Exit 0 clean, 6 findings of severity error, 7 not rehearsed, 1 a step failed, 2 usage.
    """
    from backend_crew.crew import guarding

    if sarif is not None and not sarif.absolute().parent.is_dir():
        raise UsageError(f"--sarif: the folder of {sarif} does not exist")
    found = guarding.examine(folder, **given)
    summary = guarding.as_json(found)
    click.echo(json.dumps(summary, ensure_ascii=False) if as_json else "\n".join(guarding.lines(found)))
    if sarif is not None:
        guarding.write_sarif(found, folder, sarif)
    raise SystemExit(summary["exit_code"])


@cli.command()
def doctor() -> None:
    """Say what works on this machine, and how to fix what does not."""
    from backend_crew.crew import commands
    from backend_crew.crew import doctor as checking

    findings = checking.examine(commands.journal_here)
    for finding in findings:
        click.echo(f"{'ok  ' if finding.ok else 'FIX ' if finding.needed else 'note'}  {finding.what}: {finding.found}")
        if finding.fix and not finding.ok:
            click.echo(f"        {finding.fix}")
    if any(finding.needed and not finding.ok for finding in findings):
        raise BackendCrewError("something that is needed does not work; see above")


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path))
def init(folder: Path) -> None:
    """Make a runnable CrewAI project in FOLDER: pyproject, your own roles and tasks, .env.example."""
    from backend_crew.crew import scaffold

    for path in scaffold.write(folder):
        click.echo(path)
    click.echo(
        f"\ncd {folder} && cp .env.example .env, fill it in, edit config/*.yaml, then: ENV_FILE=.env crewai run",
        err=True,
    )
