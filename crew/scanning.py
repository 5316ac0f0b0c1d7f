"""`backend-crew scan`: what code can tell about a repository, without a model, without a key, and without a run."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backend_crew.crew import flags, settings
from backend_crew.crew.errors import UsageError

if TYPE_CHECKING:  # starting the command line does not read them
    from backend_crew.tools.scan import Scan

_LISTED = 25


def cache_folder() -> Path:
    """Where what was read of repositories is kept, by content."""
    return settings.state_home() / "index"


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default=".")
@click.option("--feature", default="", help="Lean the map of the code to the words of this feature.")
@flags.JSON
def scan(folder: Path, feature: str, as_json: bool) -> None:
    """Tell what FOLDER is built with and what matters in it, each fact with file and line; no model, no key.

    Nothing of it is run. It need not be a git repository. Exit 0, or 2 where there is no such folder.
    """
    from backend_crew.tools import scan as scanning

    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; name the root of a repository, or of one of its services")
    found = scanning.scan(folder.resolve(), feature=feature, cache=cache_folder())
    from backend_crew.tools.secrets import Redactor

    # A default written into the source, or a name made of a key, may be quoted by a fact.
    clean = Redactor(())
    if as_json:
        click.echo(json.dumps(clean.deep(scanning.as_json(found)), ensure_ascii=False))
    else:
        _show(found, clean)


def _show(found: "Scan", clean: Callable[[str], str]) -> None:
    from rich.console import Console

    from backend_crew.crew.plaintext import visible

    console = Console(highlight=False, soft_wrap=True)
    for title, lines in _sections(found):
        console.print(f"\n{title}", style="bold", markup=False)
        for line in lines or ["  none found"]:
            console.print(visible(clean(line)), markup=False)


def _sections(found: "Scan") -> Iterator[tuple[str, Sequence[str]]]:
    from backend_crew.tools import scan as scanning
    from backend_crew.tools.index.facts import render

    index, survey = found.index, found.survey
    yield "Files", list(_files(found))
    yield (
        "Built with",
        [f"  {one.kind:16} {one.value:24} {one.confidence:8} {one.path}:{one.line}" for one in survey.facts],
    )
    yield "Not to be taken for facts", [f"  {trap.summary}" for trap in survey.traps]
    if len(survey.services) > 1:
        yield "Services", [f"  {one.role:10} {one.path or '.'}" for one in survey.services]
    yield f"Endpoints ({len(found.endpoints)})", [f"  {line}" for line in scanning.endpoint_lines(found.endpoints)]
    yield f"Tables ({len(found.tables)})", [f"  {line}" for line in scanning.table_lines(found.tables)]
    yield "Left open by the source", [f"  {one.file}:{one.line} {one.why}" for one in found.unresolved]
    yield "Layers", [f"  {line}" for line in scanning.layer_lines(index)]
    yield "Definitions that matter most", [f"  {line}" for line in render(index.places).splitlines()]


def _files(found: "Scan") -> Iterator[str]:
    index = found.index
    languages = ", ".join(f"{name} {number}" for name, number in list(index.languages.items())[:_LISTED])
    yield f"  {index.files} files{'' if index.complete else ', and more that were not looked at'}: {languages}"
    yield f"  {index.definitions} definitions outside of tests"
    for reason, (number, examples) in index.skipped.items():
        yield f"  left out, {reason}: {number} ({', '.join(examples[:3])}{', …' if number > 3 else ''})"
