"""`backend-crew rehearse`: the migration guard alone, without a model, without a key, and without a run."""

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from backend_crew.crew import choosing, settings
from backend_crew.crew.errors import UsageError
from backend_crew.crew.plaintext import visible
from backend_crew.tools import apply, deny, git, guard, migrations, sarif, secrets
from backend_crew.tools.errors import ToolError
from backend_crew.tools.guard import Asked, Guarded
from backend_crew.tools.sandbox import NoSandbox, find_sandbox
from backend_crew.tools.scratches import Place
from backend_crew.tools.sources import source_of

_LISTED = 20


def examine(
    folder: Path,
    *,
    start: str | None,
    target: str | None,
    env_name: str | None,
    python: str | None,
    sandbox_env: Mapping[str, str] | None = None,
) -> tuple[Guarded, ...]:
    """Guard every migration tool of a repository as it lies on the disk, uncommitted files included."""
    repository = git.inspect(folder)
    # Named and not set: the variable still leads env.py to the scratch database, which gets generated rows.
    url = settings.get(env_name) if env_name else None
    if url and "://" not in url:
        raise UsageError(f"{env_name} is set, but holds no database URL; unset it to rehearse on generated rows")
    path = apply.parse_sqlite_url(url, repository.root) if url else None
    if path is not None and not path.is_file():
        raise UsageError(f"{env_name} names {path}, which is no file; name a database that exists, or none")
    source, unreadable = None, ""
    try:
        source = source_of(url, repository.root) if url else None
    except ToolError as error:
        unreadable = f"{env_name}: {error}. Unset it to rehearse on generated rows"
    made_up = sandbox_env or {}
    choosing.check_variables(made_up, secrets.redactor(repository.root, settings.environment()))
    env = {**made_up, **({env_name: url} if env_name and url else {})}
    asked = Asked(start, target, env_name, env, source, unreadable, tuple(repository.dirty))
    runs = choosing.runtime_of(repository.root, python, made_up)
    with tempfile.TemporaryDirectory(prefix="backend-crew-") as private:
        clone = git.clone(repository, Path(private) / "clone", include_dirty=True, denied=_denied)
        tools = [tool for tool in migrations.detect(clone.tree) if _below(tool, repository.root, folder)]
        if (start or target or source) and sum(tool.can_rehearse for tool in tools) > 1:
            raise UsageError(
                "several migration tools are here: name the folder of one, as revisions and databases differ"
            )
        sandbox = find_sandbox()
        place = sandbox if isinstance(sandbox, NoSandbox) else Place(sandbox, clone.tree, repository.root, runs)
        return tuple(guard.guard(place, clone.tree, tool, asked) for tool in tools)


def _below(tool: migrations.MigrationTool, root: Path, folder: Path) -> bool:
    """Whether a tool was found below the folder that the person named; a repository can hold several services."""
    return (root / tool.evidence.rpartition(":")[0]).is_relative_to(folder.resolve())


def as_json(found: tuple[Guarded, ...]) -> dict[str, Any]:
    """One object: the status of all, the exit code, and each tool with its files, steps and findings."""
    status = guard.worst(found)
    return {"status": status, "exit_code": guard.EXIT_CODES[status], "tools": [_tool(one) for one in found]}


def _tool(one: Guarded) -> dict[str, Any]:
    done = one.rehearsal
    return {
        "tool": one.tool.name,
        "evidence": one.tool.evidence,
        "status": one.status,
        "reason": one.reason,
        "files": list(one.files),
        "dialect": one.dialect,
        "findings": [asdict(finding) for finding in one.findings],
        "from": done.from_revision if done else None,
        "to": done.to_revision if done else None,
        "data": done.data if done and done.steps else None,
        "steps": [{"name": s.name, "ok": s.ok, "seconds": round(s.seconds, 2), "detail": s.detail} for s in done.steps]
        if done
        else [],
        "sql_up": done.sql_up if done else None,
        "sql_down": done.sql_down if done else None,
    }


def write_sarif(found: tuple[Guarded, ...], folder: Path, target: Path) -> None:
    """Write all findings as SARIF 2.1.0; raises UsageError when the file cannot be written."""
    findings = [finding for one in found for finding in one.findings]
    root = git.inspect(folder).root
    sources = {path: _text(root / path) for path in {finding.path for finding in findings}}
    log = sarif.to_sarif(findings, version("backend-crew"), sources)
    try:
        target.write_text(json.dumps(log, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}; name another file with --sarif") from error


def lines(found: tuple[Guarded, ...]) -> Iterator[str]:
    """What a person reads."""
    if not found:
        yield "not rehearsed: no migration tool was found here"
    for one in found:
        yield f"{one.tool.name} ({one.tool.evidence})"
        yield from (f"  {visible(line)}" for line in _about(one))
    status = guard.worst(found)
    yield f"{status} (exit {guard.EXIT_CODES[status]})"


def _about(one: Guarded) -> Iterator[str]:
    yield f"{one.status}: {one.reason}"
    done = one.rehearsal
    if done and done.steps:
        yield f"from {done.from_revision or 'an empty database'} to {done.to_revision}, on {_on(done.data)}"
    yield from one.files[:_LISTED]
    if len(one.files) > _LISTED:
        yield f"and {len(one.files) - _LISTED} more files"
    if one.files and one.dialect is None:
        yield "not linted: only files for SQLite and PostgreSQL are"
    for step in done.steps if done else ():
        yield f"{step.name:9} {'ok    ' if step.ok else 'FAILED'} {step.seconds:6.2f} s"
        yield from (f"          {line}" for line in step.detail.splitlines())
    for rule in done.rules if done else ():
        yield f"new rule  {rule.rule}: {rule.outcome}"
    for finding in one.findings:
        yield f"{finding.severity:8} {finding.path}:{finding.line}  {finding.rule}"
        yield f"         {finding.text}"
        yield f"         {finding.advice}"


def _on(data: str) -> str:
    return f"a {data}" if data.startswith("copy") else data


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # it was removed meanwhile: the fingerprint does without
        return ""


def _denied(path: str) -> bool:
    return deny.is_read_denied(path) is not None
