"""What code established about the repository before any agent looks at it: facts, conventions, the code that matters."""

import dataclasses
from collections.abc import Iterator

from backend_crew.crew import settings
from backend_crew.crew.artifacts import Design
from backend_crew.crew.session import Session
from backend_crew.tools.conventions import Convention, deviations, find_conventions
from backend_crew.tools.index.sources import sources
from backend_crew.tools.monorepo import Choice, choose
from backend_crew.tools.scan import BRIEF_TOKENS, Scan, brief, scan

_CHARACTERS = 4
"""Of one token, on average."""
_CONVENTIONS = 20


def ground(session: Session) -> str:
    """What stage 1 starts from: at most BRIEF_TOKENS in all; agents read more through their tools."""
    found = _scanned(session)
    own = "\n".join([*_own(session), *_service_lines(session, found), *_convention_lines(session)])
    left = BRIEF_TOKENS - len(own) // _CHARACTERS - 1
    return f"{own}\n\n{brief(found, session.run.feature, left)}"


def services(session: Session) -> tuple[tuple[str, ...], Choice]:
    """The folders of the backend services, the root as ".", and the one that the feature concerns."""
    return _services(session, _scanned(session))


def _services(session: Session, found: Scan) -> tuple[tuple[str, ...], Choice]:
    known = found.survey.services
    folders = tuple(one.path or "." for one in known if one.role == "backend")
    words = {
        one.path: [
            *(f"{point.path} {point.handler}" for point in found.endpoints if _within(point.file, one.path)),
            *(table.name for table in found.tables if _within(table.file, one.path)),
        ]
        for one in known
    }
    return folders, choose(known, f"{session.run.feature}\n{session.run.brief}", words)


def _within(path: str, folder: str) -> bool:
    return bool(folder) and path.startswith(f"{folder}/")


def _service_lines(session: Session, found: Scan) -> Iterator[str]:
    folders, choice = _services(session, found)
    if len(folders) > 1:
        which = f"{choice.service.path or '.'} ({choice.reason})" if choice.service else choice.reason
        yield f"- backend services: {', '.join(folders)}; the feature concerns: {which}"


def conventions(session: Session) -> tuple[Convention, ...]:
    """What the repository does throughout, with examples; from the files that agents may see."""
    read = sources(session.clone.tree, session.workspace.hides)
    return find_conventions((one.path, one.data.decode("utf-8", "replace")) for one in read)


def convention_text(session: Session) -> str:
    """The conventions that later stages have to follow."""
    return "\n".join(_convention_lines(session))


def off_plan(session: Session, design: Design) -> list[str]:
    """New files that the plan puts where no file of their layer is kept, and that no decision accounts for."""
    said = "\n".join(f"{one.title} {one.choice} {one.trade_off}" for one in design.decisions)
    planned = [(file.path, file.layer) for file in design.files if file.action == "create"]
    taken = [path for path, _ in planned if path in said]
    return [
        f"{one}. Plan it there, or record a decision that names {one.path} and says why"
        for one in deviations(conventions(session), planned, taken)
    ]


def _convention_lines(session: Session) -> Iterator[str]:
    for one in conventions(session)[:_CONVENTIONS]:
        places = ", ".join(f"{example.path}:{example.line}" for example in one.examples[:2])
        yield f"- {one.kind}: {one.statement} ({places})"


def _own(session: Session) -> Iterator[str]:
    """What this run uses."""
    files = session.workspace.list(limit=10_000)
    top = sorted({path.split("/")[0] + ("/" if "/" in path else "") for path in files})[:40]
    yield f"- files: {len(files)}; top level: {', '.join(top)}"
    tests, tool = session.tests, session.migrations
    yield "- test command: " + (f"`{' '.join(tests.argv)}` ({tests.evidence})" if tests else "none")
    yield "- migration tool: " + (f"{tool.name} ({tool.evidence})" if tool else "none found")


def _scanned(session: Session) -> Scan:
    """The scan without what lies in files that are kept from agents."""
    found = scan(session.clone.tree, feature=session.run.feature, cache=settings.state_home() / "index")
    hides = session.workspace.hides
    survey = dataclasses.replace(
        found.survey,
        facts=tuple(one for one in found.survey.facts if not hides(one.path)),
        traps=tuple(one for one in found.survey.traps if not any(hides(fact.path) for fact in one.evidence)),
        services=tuple(
            dataclasses.replace(one, facts=tuple(fact for fact in one.facts if not hides(fact.path)))
            for one in found.survey.services
        ),
    )
    return dataclasses.replace(
        found,
        survey=survey,
        endpoints=tuple(one for one in found.endpoints if not hides(one.file)),
        tables=tuple(one for one in found.tables if not hides(one.file)),
        unresolved=tuple(one for one in found.unresolved if not hides(one.file)),
        index=dataclasses.replace(found.index, places=tuple(one for one in found.index.places if not hides(one.path))),
    )
