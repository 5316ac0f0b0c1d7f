"""Tables of a Prisma schema: models with their mapped names, relations, and the tables between many."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from backend_crew.tools.static.project import Project
from backend_crew.tools.tables.protocol import Column, Orm, Relation, Table, TableScan

_BLOCK = re.compile(r"^(model|view|enum|type)\s+(\w+)\s*\{")
_FIELD = re.compile(r"^(\w+)\s+(Unsupported\([^)]*\)|\w+)(\[\])?(\?)?\s*(.*)$")
_SCALARS = frozenset({"String", "Boolean", "Int", "BigInt", "Float", "Decimal", "DateTime", "Json", "Bytes"})


@dataclass
class _Field:
    name: str
    type: str
    many: bool
    optional: bool
    rest: str

    @property
    def column(self) -> str:
        return _text(self.rest, "@map") or self.name


@dataclass
class _Model:
    kind: str
    name: str
    file: str
    line: int
    fields: list[_Field] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)

    @property
    def table(self) -> str:
        name = next((text for one in self.marks if (text := _text(one, "@@map"))), self.name)
        schema = next((text for one in self.marks if (text := _text(one, "@@schema"))), "")
        return f"{schema}.{name}" if schema else name

    def column_of(self, name: str) -> str:
        return next((one.column for one in self.fields if one.name == name), name)


def read(project: Project, paths: tuple[str, ...]) -> TableScan:
    """The tables of the models in these schemas; several files of one folder are one schema."""
    models: dict[str, _Model] = {}
    enums: set[str] = set()
    for path in paths:
        for one in _blocks(path, project.sources.read(path).decode("utf-8", "replace")):
            if one.kind == "enum":
                enums.add(one.name)
            elif one.kind == "model":
                models.setdefault(one.name, one)
    tables = [_table(one, models, enums) for one in models.values()]
    return TableScan((*tables, *_between(models)))


ORM = Orm("Prisma", (".prisma",), (b"model ",), (b"enum ",), read)


def _blocks(path: str, text: str) -> Iterator[_Model]:
    current: _Model | None = None
    for number, whole in enumerate(text.splitlines(), 1):
        line = _uncommented(whole).strip()
        started = _BLOCK.match(line)
        if started:
            current = _Model(started[1], started[2], path, number)
        elif line.startswith("}") and current is not None:
            yield current
            current = None
        elif current is not None and line.startswith("@@"):
            current.marks.append(line)
        elif current is not None and (match := _FIELD.match(line)):
            current.fields.append(_Field(match[1], match[2], bool(match[3]), bool(match[4]), match[5]))


def _uncommented(line: str) -> str:
    """A line without its comment; slashes within quotes are no comment."""
    quoted = False
    for at, sign in enumerate(line):
        if sign == '"' and line[at - 1 : at] != "\\":
            quoted = not quoted
        elif line.startswith("//", at) and not quoted:
            return line[:at]
    return line


def _text(text: str, mark: str) -> str:
    """The name in @map("…") and the like."""
    match = re.search(rf'(?<!@){re.escape(mark)}\(\s*(?:name:\s*)?"([^"]*)"', text)
    return match[1] if match else ""


def _argument(text: str, mark: str) -> str:
    """What stands between the parentheses of a mark; "" for none."""
    start = re.search(rf"(?<!@){re.escape(mark)}\(", text)
    depth = 1
    for at in range(start.end(), len(text)) if start else ():
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        if depth == 0 and start:
            return text[start.end() : at]
    return ""


def _listed(text: str, key: str = "") -> list[str]:
    """The names in `key: [a, b(sort: Desc)]`, or in the first list."""
    match = re.search(rf"{key}:\s*\[([^\]]*)\]" if key else r"\[([^\]]*)\]", text)
    return re.findall(r"(\w+)(?:\([^)]*\))?\s*(?:,|$)", match[1]) if match else []


def _is_column(one: _Field, models: Mapping[str, _Model]) -> bool:
    return one.type not in models


def _table(model: _Model, models: Mapping[str, _Model], enums: set[str]) -> Table:
    references, actions = _foreign(model, models)
    keys = [name for one in model.marks if one.startswith("@@id") for name in _listed(one)]
    columns = []
    for one in model.fields:
        if not _is_column(one, models) or one.rest.startswith("@ignore"):
            continue
        native = re.search(r"@db\.\w+(?:\([^)]*\))?", one.rest)
        kind = one.type if one.type in _SCALARS or not enums or one.type not in enums else f"enum {one.type}"
        columns.append(
            Column(
                one.column,
                f"{kind}{'[]' if one.many else ''}{f' {native[0]}' if native else ''}",
                one.optional,
                _argument(one.rest, "@default") or ("now()" if "@updatedAt" in one.rest else ""),
                bool(re.search(r"(?<!@)@id\b", one.rest)) or one.name in keys,
                bool(re.search(r"(?<!@)@unique\b", one.rest)),
                references.get(one.name, ""),
                actions.get(one.name, ()),
            )
        )
    constraints, indexes = [], []
    for mark in model.marks:
        names = ", ".join(model.column_of(name) for name in _listed(mark))
        if mark.startswith("@@unique"):
            constraints.append(f"UNIQUE ({names})")
        elif mark.startswith(("@@index", "@@fulltext")):
            indexes.append(f"({names})")
    relations = tuple(_relation(one, model, models) for one in model.fields if one.type in models)
    return Table(
        model.table, model.name, model.file, model.line, tuple(columns), relations, tuple(constraints), tuple(indexes), "Prisma"
    )  # fmt: skip


def _foreign(model: _Model, models: Mapping[str, _Model]) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """What each field of a foreign key refers to, and what happens when that goes."""
    references: dict[str, str] = {}
    actions: dict[str, tuple[str, ...]] = {}
    for one in model.fields:
        target = models.get(one.type)
        if target is None:
            continue
        relation = _argument(one.rest, "@relation")
        found = re.findall(r"(onDelete|onUpdate):\s*(\w+)", relation)
        for own, other in zip(_listed(relation, "fields"), _listed(relation, "references"), strict=False):
            references[own] = f"{target.table}.{target.column_of(other)}"
            actions[own] = tuple(f"{name} {what}" for name, what in found)
    return references, actions


def _relation_name(one: _Field) -> str:
    relation = _argument(one.rest, "@relation")
    match = re.match(r'\s*(?:name:\s*)?"([^"]*)"', relation) or re.search(r'name:\s*"([^"]*)"', relation)
    return match[1] if match else ""


def _relation(one: _Field, model: _Model, models: Mapping[str, _Model]) -> Relation:
    through = _through(one, model, models) if one.many else ""
    kind = "many to many" if through else "one to many" if one.many else "one"
    return Relation(one.name, one.type, kind, through)


def _through(one: _Field, model: _Model, models: Mapping[str, _Model]) -> str:
    """The table between two models that each list the other; "" where the other side has a foreign key."""
    name = _relation_name(one)
    others = [
        each
        for each in models[one.type].fields
        if each.type == model.name and each.many and each is not one and _relation_name(each) == name
    ]
    if not others:
        return ""
    first, second = sorted((model.name, one.type))
    return f"_{name or f'{first}To{second}'}"


def _between(models: Mapping[str, _Model]) -> Iterator[Table]:
    seen: set[str] = set()
    for model in models.values():
        for one in model.fields:
            name = _through(one, model, models) if one.type in models and one.many else ""
            if not name or name in seen:
                continue
            seen.add(name)
            ends = [models[each] for each in sorted((model.name, one.type))]
            columns = []
            for letter, end in zip("AB", ends, strict=True):
                key = next((each for each in end.fields if re.search(r"(?<!@)@id\b", each.rest)), None)
                kind, target = (key.type, key.column) if key is not None else ("", "id")
                columns.append(Column(letter, kind, False, references=f"{end.table}.{target}"))
            yield Table(name, "", model.file, model.line, tuple(columns), (), ("UNIQUE (A, B)",), ("(B)",), "Prisma")
