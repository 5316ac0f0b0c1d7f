"""squawk, a linter for PostgreSQL, run on a text; what our own rules say as well is left to them."""

import json
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend_crew.tools import process, seccomp
from backend_crew.tools.errors import ToolError
from backend_crew.tools.lint_rules import INFO, WARNING, LintFinding, finding
from backend_crew.tools.sql_statements import Statement

# The rules of ours that say what a rule of squawk says; its finding is left out where one of them is on its statement.
_OURS: Mapping[str, tuple[str, ...]] = {
    "adding-field-with-default": ("table-rewrite",),
    "adding-foreign-key-constraint": ("foreign-key-not-safe",),
    "adding-not-nullable-field": ("set-not-null", "add-not-null"),
    "adding-required-field": ("add-not-null",),
    "adding-serial-primary-key-field": ("table-rewrite", "unique-not-safe"),
    "ban-concurrent-index-creation-in-transaction": ("needs-no-transaction",),
    "ban-drop-column": ("drop-column",),
    "ban-drop-database": ("cluster-wide",),
    "ban-drop-table": ("drop-table",),
    "ban-truncate-cascade": ("truncate",),
    "changing-column-type": ("change-type", "widen-type"),
    "constraint-missing-not-valid": ("foreign-key-not-safe", "check-not-safe", "unique-not-safe"),
    "disallowed-unique-constraint": ("unique-not-safe",),
    "renaming-column": ("rename-column",),
    "renaming-table": ("rename-table",),
    "require-concurrent-index-creation": ("index-not-concurrent", "unique-not-safe"),
    "require-concurrent-index-deletion": ("drop-index-not-concurrent",),
    "syntax-error": ("opaque-statement", "psql-command"),
}
# Ours says once what these say at every statement, or they are about taste alone.
_EXCLUDED = ("require-lock-timeout", "require-statement-timeout", "prefer-robust-stmts", "require-timeout-settings")
_STYLE = "prefer-"
_TIMEOUT_S = 30


@dataclass(frozen=True)
class Text:
    """What squawk is given: an SQL text, whose first line is `first_line` of `path`, and how it will be run."""

    sql: str
    path: str
    first_line: int
    transactional: bool


def lint(
    text: Text, statements: Sequence[Statement], found: Sequence[LintFinding], new: Collection[str] = ()
) -> list[LintFinding]:
    """What squawk alone finds, its rules prefixed with "squawk/"; one "not-run" where it could not be run.

    `statements` and `found` are ours for the same text, with the lines of the file; `new` are the tables that the
    migration made itself, where what both know is no harm.
    """
    program = _program()
    if program is None:
        return [_not_run(text, "the program is not installed (PyPI: squawk-cli)")]
    try:
        reported = _reported(program, text)
    except (ToolError, ValueError) as error:
        return [_not_run(text, str(error))]
    results: dict[tuple[str, int], LintFinding] = {}
    for one in reported:
        rule = str(one["rule_name"])
        first, last, table = _statement_at(statements, int(one["line"]) + text.first_line)
        ours = {known.rule for known in found if first <= known.line <= last}
        if rule in _OURS and (table in new or ours & set(_OURS[rule])):
            continue
        severity = INFO if rule.startswith(_STYLE) else WARNING
        what, advice = str(one.get("message") or rule), str(one.get("help") or "See squawk's page on this rule.")
        results.setdefault((rule, first), LintFinding(f"squawk/{rule}", severity, text.path, first, what, advice))
    return list(results.values())


def _program() -> str | None:
    """squawk beside the Python that runs us, else among the system's programs."""
    folders = (str(Path(sys.executable).parent), sysconfig.get_path("scripts"), process.SEARCH_PATH)
    return next((found for folder in folders if (found := shutil.which("squawk", path=folder))), None)


def _not_run(text: Text, reason: str) -> LintFinding:
    return finding("not-run", text.path, text.first_line, f"squawk not run: {reason}")


def _reported(program: str, text: Text) -> list[dict[str, Any]]:
    """squawk's JSON. Raises ValueError when it is none, ToolError when the program did not start."""
    assume = ["--assume-in-transaction"] if text.transactional else ["--no-assume-in-transaction"]
    with tempfile.TemporaryDirectory(prefix="squawk-") as folder:
        # A settings file of ours: the repository's could turn every rule off.
        config = Path(folder, "squawk.toml")
        config.write_text("", encoding="utf-8")
        argv = [program, "--reporter", "json", "--config", str(config), *assume, "--exclude", ",".join(_EXCLUDED)]
        done = process.run(
            [*argv, "--stdin-filepath", "migration.sql"],
            cwd=Path(folder),
            env={"HOME": folder, "LANG": "C.UTF-8"},
            timeout_s=_TIMEOUT_S,
            output_limit=20_000_000,
            stdin=text.sql.encode(),
            extras=process.Extras(confinement=_confinement()),
        )
    if done.timed_out:
        raise ValueError(f"it did not end within {_TIMEOUT_S} s")
    if done.truncated or not done.stdout.strip():
        raise ValueError(f"it gave no report (exit code {done.exit_code}): {done.stderr.strip()[-300:]}")
    parsed = json.loads(done.stdout)
    if not isinstance(parsed, list) or not all(isinstance(one, dict) and "rule_name" in one for one in parsed):
        raise ValueError("its report is not the list of findings that was expected")
    return parsed


def _confinement() -> process.Confinement | None:
    """Without sockets where the kernel can be told so; squawk needs none for what it is asked here."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        return process.Confinement(program=seccomp.confined_program(same_user=True), asks=True)
    except ToolError:
        return None


def _statement_at(statements: Sequence[Statement], line: int) -> tuple[int, int, str]:
    """First line, last line and table of the statement that stands at a line of the text."""
    for one in statements:
        last = one.line + one.text.count("\n")
        if one.line <= line <= last:
            return one.line, last, one.table.removeprefix("public.")
    return line, line, ""
