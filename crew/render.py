"""Artifacts as Markdown, for people at gates and for agents as context; a design is told to agents in fewer words."""

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel

from backend_crew.crew import artifacts as a
from backend_crew.crew import reporting
from backend_crew.crew.plaintext import inner

Kind = TypeVar("Kind", bound=BaseModel)

NOTHING = "- none\n"
LINT_SHOWN = 40
"""Findings of the linters that a gate lists one by one; the others are counted."""
_LAYER_TITLES = {
    "data_access": "Data access",
    "business_logic": "Business logic",
    "presentation": "Presentation",
    "cross_cutting": "Cross-cutting",
    "tests": "Tests",
}


def _inside(value: Kind) -> Kind:
    """An artifact whose prose cannot pass for a part of the document around it; contracts stand in blocks of their own."""
    changed = {name: _tamed(getattr(value, name)) for name in type(value).model_fields if name != "document"}
    return value.model_copy(update=changed)


def _tamed(value: Any) -> Any:
    if isinstance(value, str):
        return inner(value)
    if isinstance(value, BaseModel):
        return _inside(value)
    return type(value)(map(_tamed, value)) if isinstance(value, (list, tuple)) else value


def _bullets(lines: Iterable[str]) -> str:
    return "".join(f"- {line}\n" for line in lines)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    body = [tuple(cell.replace("|", "\\|").replace("\n", " ") for cell in row) for row in rows]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *(f"| {' | '.join(row)} |" for row in body)]
    return "\n".join(lines) + "\n"


def analysis(value: a.Analysis) -> str:
    """Findings by topic, each with its lines."""
    value = _inside(value)
    parts = [value.overview, ""]
    for topic in dict.fromkeys(finding.topic for finding in value.findings):
        parts.append(f"**{topic}**")
        for finding in value.findings:
            if finding.topic == topic:
                shown = [f"{one.path}:{one.line}" for one in finding.evidence]
                shown += [f"nothing matches `{finding.absent}`"] if finding.absent else []
                parts.append(f"- {finding.statement} ({', '.join(shown)})")
    if value.relevant_files:
        parts += ["", "Relevant files: " + ", ".join(value.relevant_files)]
    return "\n".join(parts) + "\n"


def question(value: a.Question) -> str:
    """One question with its numbered options and the recommended one."""
    options = "".join(f"{number}. {option}\n" for number, option in enumerate(value.options, start=1))
    return (
        f"**{value.id}** ({value.area}) {value.question}\n\nWhy it matters: {value.why}\n\n{options}\n"
        f"Recommended: {value.recommended} - {value.reason}\n"
    )


def questions(value: a.Questions) -> str:
    """Every question, then what the feature text already settles."""
    value = _inside(value)
    settled = [f'{one.area}: settled by "{one.quote}"' for one in value.settled]
    return "\n".join(question(one) for one in value.items) + ("\n" + _bullets(settled) if settled else "")


def choices(value: a.Questions) -> str:
    """What could be answered, and what was settled: for those who read the answers beside it."""
    value = _inside(value)
    lines = [f"{one.id} ({one.area}): {'; '.join(one.options)}" for one in value.items]
    lines += [f'{one.area}: settled by "{one.quote}"' for one in value.settled]
    return f"The questions stand with their answers; these were the options.\n\n{_bullets(lines)}"


def answers(value: a.Answers, asked: Mapping[str, str] | None = None) -> str:
    """One line an answer, with its question where that is known, and where it came from."""
    value = _inside(value)
    texts = asked or {}
    return _bullets(
        f"{one.id}{f' ({texts[one.id]})' if one.id in texts else ''}: {one.answer} ({one.source})"
        for one in value.items
    )


def requirements(value: a.Requirements) -> str:
    """The overview, the numbered criteria, and what is out of scope."""
    value = _inside(value)
    out = f"\nOut of scope:\n\n{_bullets(value.out_of_scope)}" if value.out_of_scope else ""
    return f"{value.overview}\n\n{_bullets(f'**{one.id}** {one.text}' for one in value.criteria)}{out}"


def data_model(value: a.DataModel, *, diagram: bool = True) -> str:
    """Tables with columns, then a mermaid ER diagram made from the same data."""
    value = _inside(value)
    parts = []
    for entity in value.entities:
        parts.append(f"**{entity.name}** (`{entity.table}`, {entity.change})\n")
        if entity.columns:
            rows = [
                (
                    f"`{one.name}`",
                    one.type,
                    "yes" if one.nullable else "no",
                    one.default or "",
                    "; ".join(one.constraints),
                )
                for one in entity.columns
            ]
            parts.append(_table(("column", "type", "null", "default", "constraints"), rows))
        parts.append(
            _bullets([f"index: {one}" for one in entity.indexes] + [f"relation: {one}" for one in entity.relations])
        )
    notes = f"\n{value.notes}\n" if value.notes else ""
    return "\n".join(parts) + notes + ("\n" + fenced("mermaid", mermaid(value)) if diagram else "")


def mermaid(value: a.DataModel) -> str:
    """An ER diagram of the entities and their columns."""
    lines = ["erDiagram"]
    for entity in value.entities:
        lines.append(f"    {_word(entity.table)} {{")
        lines += [f"        {_word(one.type.partition(' (')[0])} {_word(one.name)}" for one in entity.columns]
        lines.append("    }")
    relations = [_relation(one, value) for entity in value.entities for one in entity.relations]
    return "\n".join([*lines, *dict.fromkeys(line for line in relations if line)]) + "\n"


_RELATION = re.compile(r"^(\w+) (1|N|M)[-:](1|N|M) (\w+)")


def _relation(text: str, value: a.DataModel) -> str | None:
    """A line of the diagram for "Order 1-N Refund (…)"; other wordings stay in the text above it."""
    match = _RELATION.match(text)
    if match is None:
        return None
    left, right = (_word(_table_named(match[group], text, value)) for group in (1, 4))
    ends = ("||" if match[2] == "1" else "}o") + "--" + ("||" if match[3] == "1" else "o{")
    return f'    {left} {ends} {right} : ""'


_KEY = re.compile(r"\((?:\w+\.)?(\w+)\)")
_TARGET = re.compile(r"(?:foreign key|references|fk)\W+(?:to\W+)?(\w+)[.(]", re.IGNORECASE)


def _table_named(name: str, relation: str, value: a.DataModel) -> str:
    """The table of an entity; of one outside the design, what the relation's column points at."""
    tables = {entity.name: entity.table for entity in value.entities}
    if name in tables or name in tables.values():
        return tables.get(name, name)
    key = _KEY.search(relation)
    columns = [one for entity in value.entities for one in entity.columns if key and one.name == key[1]]
    targets = [match[1] for one in columns for words in one.constraints if (match := _TARGET.search(words))]
    return targets[0] if len(set(targets)) == 1 else name


def _word(text: str) -> str:
    cleaned = "".join(char if char.isalnum() or char == "_" else "_" for char in text).strip("_")
    return cleaned or "x"


def migration_plan(value: a.MigrationPlan) -> str:
    """Whether one is needed, its steps, its rollback and what it does to data."""
    value = _inside(value)
    if not value.needed:
        return f"No migration: {value.reason}\n"
    steps = "".join(f"{number}. {step}\n" for number, step in enumerate(value.steps, start=1))
    return f"{value.reason}\n\n{steps}\nRollback: {value.rollback}\n\nEffect on data: {value.data_impact}\n"


def design(value: a.Design, *, diagram: bool = True) -> str:
    """The whole design, what a reviewer decides about first; `diagram` says whether the data is drawn as well."""
    value = _inside(value)
    rows = [(f"`{one.path}`", one.action, _LAYER_TITLES[one.layer], one.purpose) for one in value.files]
    decisions = "\n".join(
        f"**{one.title}**: {one.choice}\n\n- Options: {'; '.join(one.options)}\n- Trade-off: {one.trade_off}\n"
        for one in value.decisions
    )
    packages = [f"`{one.name}{one.version}`: {one.reason}" for one in value.new_dependencies]
    return (
        f"{value.overview}\n\n## Decisions\n\n{decisions}\n"
        f"## Implementation plan\n\n{_table(('file', 'action', 'layer', 'purpose'), rows)}\n"
        f"New dependencies:\n\n{_bullets(packages) or NOTHING}\n"
        f"Integration points:\n\n{_bullets(value.integration_points) or NOTHING}\n"
        f"## Architecture\n\n**Presentation.** {value.presentation}\n\n"
        f"**Business logic.** {value.business_logic}\n\n**Data access.** {value.data_access}\n\n"
        f"**Cross-cutting.** {value.cross_cutting}\n\n"
        f"## Data model\n\n{data_model(value.data_model, diagram=diagram)}\n"
        f"## Migration plan\n\n{migration_plan(value.migration)}\n{_contract(value.api)}\n"
        f"## Criteria covered\n\n{_coverage(value)}"
    )


def _contract(api: a.ApiContract, *, whole: bool = True) -> str:
    document = fenced("yaml", api.document) if api.document and whole else ""
    document = document or ("" if api.document else f"{api.reason or ''}\n")
    return (
        f"## API contract ({api.kind})\n\nAuthentication: {api.authentication}\n\n"
        f"Errors: {api.error_format}\n\n{document}"
    )


def _coverage(value: a.Design) -> str:
    return _bullets(f"{one.criterion}: {one.by}" for one in value.coverage)


def plan(value: a.Design, *, contract: bool, built: Collection[str] = ()) -> str:
    """The approved design for those who build or test it: what was chosen, not what it was chosen from.

    Of the layers in `built` the tree and the change sets tell more than the plan. `contract` says whether the API
    document is printed.
    """
    value = _inside(value)
    parts = [value.overview, "## Decisions"]
    parts.append(_bullets(f"{one.title}: {one.choice}. {one.trade_off}" for one in value.decisions))
    parts.append("## Files of the plan")
    for layer, title in _LAYER_TITLES.items():
        files = [f"{one.path} ({one.action}): {one.purpose}" for one in value.files if one.layer == layer]
        parts.append(f"{title}:\n{_bullets(files)}" if files else "")
    packages = _bullets(f"{one.name}{one.version}: {one.reason}" for one in value.new_dependencies)
    parts.append(f"New dependencies:\n{packages}" if packages else "")
    points = _bullets(value.integration_points)
    parts.append(f"Integration points:\n{points}" if points else "")
    texts = {name: getattr(value, name) for name in _LAYER_TITLES if name not in built and name != "tests"}
    parts += [f"## {_LAYER_TITLES[name]}\n\n{text}" for name, text in texts.items()]
    if "data_access" not in built:
        parts += ["## Data model", _columns(value.data_model), "## Migration plan", migration_plan(value.migration)]
    parts += [_contract(value.api, whole=contract), f"## Criteria covered\n\n{_coverage(value)}"]
    return "\n\n".join(one.strip() for one in parts if one.strip()) + "\n"


def _columns(value: a.DataModel) -> str:
    """The data model in a line a column."""
    lines = []
    for entity in value.entities:
        lines.append(f"{entity.name} ({entity.table}, {entity.change})")
        for one in entity.columns:
            words = [f"{one.type}{' null' if one.nullable else ''}{f' default {one.default}' if one.default else ''}"]
            lines.append(f"- {one.name}: {'; '.join([*words, *one.constraints])}")
        lines += [f"- index: {one}" for one in entity.indexes] + [f"- relation: {one}" for one in entity.relations]
    return "\n".join([*lines, value.notes or ""])


def change_set(value: a.ChangeSet, facts: Mapping[str, Any]) -> str:
    """What a layer says it did, and the files that the diff shows."""
    value = _inside(value)
    files = [f"`{one['path']}` {one['status']} (+{one['added']} -{one['removed']})" for one in facts.get("files", ())]
    return f"{value.summary}\n\n{_bullets(files)}{altered(facts.get('altered', ()))}"


def altered(items: Iterable[Mapping[str, Any]]) -> str:
    """Existing definitions that changed, each with its reason."""
    lines = [f"{reporting.definition(one)}: {one['what']} - {one['reason']}" for one in items]
    return f"\nExisting definitions that changed:\n\n{_bullets(lines)}" if lines else ""


def security_review(value: a.SecurityReview) -> str:
    """Findings with severity, place and fix."""
    value = _inside(value)
    lines = [
        f"{one.severity}: {one.problem} ({one.evidence.path}:{one.evidence.line}). Fix: {one.fix}"
        for one in value.findings
    ]
    return f"{value.overview}\n{_bullets(lines) or NOTHING}"


def migration_review(value: a.MigrationReview) -> str:
    """Impact, locks, risks, rollback and the guard's recommendation."""
    value = _inside(value)
    risks = [f"{one.severity}: {one.risk} - {one.mitigation}" for one in value.risks]
    return (
        f"Impact: {value.impact}\n\nLocks: {value.locks}\n\nRisks:\n\n{_bullets(risks) or NOTHING}\n"
        f"Rollback: {value.rollback}\n\nThe migration guard recommends: **{value.recommendation}** - {value.reason}\n"
    )


def test_report(value: a.TestReport) -> str:
    """Which tests show which criterion."""
    value = _inside(value)
    lines = [f"{one.criterion}: {', '.join(one.tests)}" for one in value.shown]
    return f"{value.overview}\n\n{_bullets(lines)}" + (f"\n{value.recommendation}\n" if value.recommendation else "")


def runnable(facts: Mapping[str, Any]) -> bool:
    """Whether every step of a rehearsal ran; what it found about data is for the person to weigh."""
    return bool(facts["steps"]) and all(step["ok"] for step in facts["steps"])


_EXCERPT = 70


def why_not_applied(facts: Mapping[str, Any]) -> str:
    """Why an approved migration is not applied by this program; "" where it is."""
    target = facts["target"]
    if target["kind"] not in ("sqlite", "postgresql"):
        return str(target["reason"])
    if not runnable(facts):
        return f"the rehearsal: {facts['status']}, {facts['reason']}"
    if target["kind"] == "postgresql" and not facts["segments"]:
        return "it cannot be rendered as SQL, and on PostgreSQL nothing but SQL that was shown is applied"
    return ""


def rehearsal(facts: Mapping[str, Any]) -> str:
    """The rehearsal's steps, row counts and findings, from its record."""
    if facts["status"] == "not rehearsed":
        found = [f"{one['severity']}: {one['text']}" for one in facts["findings"]]
        return f"**Not rehearsed**: {facts['reason']}\n" + (f"\n{_bullets(found)}" if found else "")
    details = any(one["detail"] for one in facts["steps"])
    rows = [
        (one["name"], "ok" if one["ok"] else "FAILED", f"{one['seconds']:.1f} s", *([one["detail"]] if details else []))
        for one in facts["steps"]
    ]
    findings = [f"{one['severity']}: {one['text']}" for one in facts["findings"]]
    status = "passed" if facts["status"] == "passed" else f"FAILED: {facts['reason']}"
    head = ("step", "result", "time", *(["detail"] if details else []))
    moved = reporting.moved(facts["from_revision"], facts["to_revision"])
    return (
        f"Rehearsal {status}, on {facts['data']}, {moved}\n\n{_table(head, rows)}\n"
        f"{_rows(facts['steps'])}{_rules(facts.get('rules', ()))}{_bullets(findings)}{_locks(facts)}"
    )


def _rows(steps: Iterable[Mapping[str, Any]]) -> str:
    """The rows of each table once; a number for each step only where the steps differ."""
    held = {one["name"]: {table: facts["rows"] for table, facts in one["tables"].items()} for one in steps if one["ok"]}
    if not held:
        return ""
    tables = sorted({table for counts in held.values() for table in counts})
    counted = {table: [counts.get(table) for counts in held.values()] for table in tables}
    moving = {table: seen for table, seen in counted.items() if len(set(seen)) > 1}
    steady = {table: seen[0] for table, seen in counted.items() if table not in moving}
    words = [f"{table} {'/'.join('-' if one is None else str(one) for one in seen)}" for table, seen in moving.items()]
    lines = [f"Rows after {'/'.join(held)} (- where there is no table): {', '.join(words)}"] if words else []
    if full := [f"{table} {number}" for table, number in steady.items() if number]:
        lines.append(
            f"Rows{', the same after each step' if len(held) > 1 else f' after {next(iter(held))}'}: {', '.join(full)}"
        )
    if empty := [table for table, number in steady.items() if not number]:
        lines.append(f"Without rows: {', '.join(empty)}")
    return _bullets(lines) + "\n"


_TRIED = {"refused": "refused, as it should be", "accepted": "**ACCEPTED**: the rule does not hold"}


def _rules(rules: Iterable[Mapping[str, Any]]) -> str:
    """Each rule that the migration adds, and what became of a row that breaks it."""
    lines = [f"{one['rule']}: {_TRIED.get(one['outcome'], one['outcome'])}" for one in rules]
    return f"New rules, each tried with a row that breaks it:\n\n{_bullets(lines)}\n" if lines else ""


def after_migrate(facts: Mapping[str, Any]) -> str:
    """What Django writes behind the migrations, which neither the SQL nor the rows that are counted show."""
    tables = {table for one in facts["steps"] for table in one["tables"]}
    if facts.get("tool") != "django" or "auth_group" not in tables:  # the migrator keeps the two tables to itself
        return ""
    what = "rows for new models to `auth_permission` and `django_content_type`"
    if facts["target"]["kind"] == "postgresql":
        return f"This run applies the SQL below alone; the next `migrate` by hand also writes {what} (post_migrate).\n"
    return f"Applying also runs Django's post_migrate, which writes {what}; the SQL and the counts do not show them.\n"


def _locks(facts: Mapping[str, Any]) -> str:
    """What each statement locked and rewrote on PostgreSQL, with what that does not say."""
    rows = [
        (
            f"{one['line']}: {one['sql'][:_EXCERPT]}",
            f"{one['lock']} on {one['table']}"
            if one["lock"]
            else "outside a transaction"
            if one["outside"]
            else "none",
            ", ".join(one["rewritten"]) or "nothing",
            f"{one['milliseconds']:.1f} ms",
        )
        for one in facts.get("trace", ())
    ]
    if not rows:
        return ""
    table = _table(("line of SQL up", "strongest lock on what was there", "rewrites", "time"), rows)
    return (
        "\n**Locks**, as seen on the rehearsal's small tables without other sessions; they do not predict times or waiting "
        f"in production\n\n{table}"
    )


def findings(found: Iterable[Mapping[str, Any]]) -> str:
    """What checks of the change found, each with its place and what would settle it."""
    return _bullets(map(reporting.finding_line, found)) or NOTHING


def lint(facts: Mapping[str, Any]) -> str:
    """What the linters say about the files of a rehearsal's record, the worst first; bounded, each on its own line."""
    found, files = facts.get("lint"), [one["path"] for one in (*facts["files"], *facts.get("pending", ()))]
    if found is None:
        return f"**Not linted**: no linter knows the database of these files ({', '.join(files)}).\n"
    if not found:
        return f"Nothing, in {len(files)} {'file' if len(files) == 1 else 'files'}.\n"
    order = {"error": 0, "warning": 1}
    worst = sorted(found, key=lambda one: order.get(one["severity"], 2))
    lines = [
        f"{one['severity']} {one['rule']}, `{one['path']}`:{one['line']}: {_short(one['text'])} "
        f"Safe way: {_short(one['advice'])}"
        for one in worst[:LINT_SHOWN]
    ]
    left = [one["severity"] for one in worst[LINT_SHOWN:]]
    more = ", ".join(f"{left.count(name)} of severity {name}" for name in dict.fromkeys(left))
    return _bullets([*lines, *([f"and {len(left)} more: {more}"] if left else [])])


def _short(text: str) -> str:
    """Words of a program about a file, on one line: a name in the file can hold line ends."""
    whole = " ".join(text.split())
    return whole if len(whole) <= 400 else f"{whole[:399]}…"


def fenced(language: str, text: str) -> str:
    """Text as a code block that nothing in it can close."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text.rstrip()}\n{fence}\n"


def sql(title: str, text: str | None, missing: str) -> str:
    """SQL in a fence, or why there is none."""
    return f"**{title}**\n\n" + (fenced("sql", text) if text else f"{missing}\n")


def patch(before: str, after: str) -> list[str]:
    """The hunks of a unified diff of one file, without the two lines that name it; none when they are equal."""
    return list(difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm=""))[2:]


def changed(before: str, after: str) -> str:
    """A unified diff between two versions of what a gate shows; empty when they are equal."""
    lines = list(
        difflib.unified_diff(before.splitlines(), after.splitlines(), "last version", "this version", lineterm="", n=1)
    )
    if len(lines) > 400:
        lines = [*lines[:400], f"… {len(lines) - 400} more lines"]
    return "\n".join(lines)


def output(artifact: str, payload: Mapping[str, Any]) -> str:
    """Any recorded output, by its kind."""
    facts = payload.get("facts", {})
    if artifact == "Answers":
        return answers(a.Answers.recorded(payload), facts.get("questions"))
    if artifact == "Rehearsal":
        linted = f"\nWhat the linters found:\n\n{lint(payload)}" if payload.get("files") else ""
        return rehearsal(payload) + linted
    kind = a.ARTIFACTS.get(artifact)
    if kind is None:
        return _bullets(f"{name}: {value}" for name, value in payload.items())
    value = kind.recorded(payload)
    if isinstance(value, a.ChangeSet):
        return change_set(value, facts)
    if isinstance(value, a.Note):
        return f"{value.text}\n"
    renderers = {
        "Analysis": analysis,
        "Questions": questions,
        "Requirements": requirements,
        "Design": design,
        "SecurityReview": security_review,
        "MigrationReview": migration_review,
        "TestReport": test_report,
    }
    return str(renderers[artifact](value))  # type: ignore[operator]  # each renderer takes the kind that it is keyed by
