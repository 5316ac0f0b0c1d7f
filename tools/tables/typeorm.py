"""Tables of TypeORM: entities with their columns, relations and the tables between many."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from tree_sitter import Node

from backend_crew.tools.static.decorators import decorator_arguments, decorator_name, decorators, named
from backend_crew.tools.static.javascript import JavaScript, JsNode
from backend_crew.tools.static.javascript_tree import CLASSES, JsModule, pair, written
from backend_crew.tools.static.project import Project
from backend_crew.tools.static.unresolved import Unresolved
from backend_crew.tools.tables.protocol import Column, Orm, Relation, Table, TableScan

_PLAIN = frozenset({"Column", "PrimaryColumn", "PrimaryGeneratedColumn", "CreateDateColumn", "UpdateDateColumn",
                    "DeleteDateColumn", "VersionColumn", "ObjectIdColumn", "Generated", "ViewColumn"})  # fmt: skip
_RELATIONS = {
    "OneToOne": "one to one",
    "ManyToOne": "many to one",
    "OneToMany": "one to many",
    "ManyToMany": "many to many",
}
_TYPES = {
    "string": "varchar",
    "number": "integer",
    "boolean": "boolean",
    "Date": "timestamp",
    "Buffer": "blob",
    "bigint": "bigint",
}
_MEMBERS = ("public_field_definition", "field_definition", "method_definition")
_DATES = ("CreateDateColumn", "UpdateDateColumn", "DeleteDateColumn")


@dataclass
class _Entity:
    node: Node
    module: JsModule
    table: str
    columns: list[Column] = field(default_factory=list)
    relations: list[Relation] = field(default_factory=list)
    joins: list[tuple[str, str, str, bool, tuple[str, ...]]] = field(
        default_factory=list
    )  # property, target, column, nullable, marks
    many: list[tuple[str, str, str, str, str]] = field(
        default_factory=list
    )  # property, target, table, own, other column
    constraints: list[str] = field(default_factory=list)
    indexes: list[str] = field(default_factory=list)
    shares: str = ""

    @property
    def name(self) -> str:
        return written(self.node.child_by_field_name("name"))

    @property
    def key(self) -> Column:
        return next((one for one in self.columns if one.primary_key), Column("id", "integer", False, primary_key=True))


def read(project: Project, paths: tuple[str, ...]) -> TableScan:
    """The tables of the entities in these files."""
    values = project.javascript
    kept = tuple(path for path in paths if "/migrations/" not in f"/{path}")
    snake = any(b"SnakeNamingStrategy" in project.sources.read(path) for path in kept)
    return _Reading(values, values.load(kept), snake).scan()


ORM = Orm("TypeORM", (".ts", ".js"), (b"'typeorm'", b'"typeorm"'), (b"@Entity", b"SnakeNamingStrategy"), read)


class _Reading:
    def __init__(self, values: JavaScript, modules: Sequence[JsModule], snake: bool) -> None:
        self._values = values
        self._modules = modules
        self._snake = snake
        self._entities: dict[str, _Entity] = {}
        self._unresolved: list[Unresolved] = []

    def scan(self) -> TableScan:
        for module in self._modules:
            for node in module.classes:
                self._entity(node, module)
        for entity in self._entities.values():
            self._fill(entity, entity.node, entity.module, "", set())
        for entity in self._entities.values():
            self._join(entity)
        for entity in [one for one in self._entities.values() if one.shares]:
            self._share(entity)
        own = [self._table(one) for one in self._entities.values() if not one.shares]
        between = [table for one in self._entities.values() for table in self._between(one)]
        return TableScan((*own, *between), tuple(self._unresolved))

    def _entity(self, node: Node, module: JsModule) -> None:
        name = written(node.child_by_field_name("name"))
        for one in named(node, "Entity", "ChildEntity"):
            given = decorator_arguments(one)
            options = next((each for each in given if each.type == "object"), None)
            first = (
                given[0]
                if given and given[0].type != "object"
                else pair(options, "name")
                if options is not None
                else None
            )
            text = self._values.text(first, module)
            if first is not None and text is None:
                why = f"the table of {name} is not named by a text"
                self._unresolved.append(Unresolved(module.path, node.start_point.row + 1, why))
                return
            schema = self._values.text(pair(options, "schema"), module) if options is not None else None
            table = text or _snake(name)
            entity = _Entity(node, module, f"{schema}.{table}" if schema else table)
            bases = self._values.bases(node, module)
            if decorator_name(one) == "ChildEntity" and bases:
                entity.shares = written(bases[0].node.child_by_field_name("name"))
            self._entities[name] = entity

    # Members.

    def _fill(self, entity: _Entity, node: Node, module: JsModule, prefix: str, seen: set[str]) -> None:
        """The members of a class and of those that it extends, as long as these have no table of their own."""
        self._marks(entity, node, module)
        body = node.child_by_field_name("body")
        for one in body.named_children if body is not None else ():
            name = written(one.child_by_field_name("name"))
            if one.type in _MEMBERS and name not in seen and self._member(entity, one, name, module, prefix):
                seen.add(name)
        for base in self._values.bases(node, module):
            shared = entity.shares == written(base.node.child_by_field_name("name"))
            if not shared:
                self._fill(entity, base.node, base.module, prefix, seen)

    def _marks(self, entity: _Entity, node: Node, module: JsModule) -> None:
        for one in named(node, "Unique", "Index", "Check"):
            given = decorator_arguments(one)
            listed = next((each for each in given if each.type == "array"), None)
            names = (
                ", ".join(self._values.text(each, module) or written(each) for each in listed.named_children)
                if listed
                else ""
            )
            options = written(given[-1]) if given and given[-1].type == "object" else ""
            match decorator_name(one):
                case "Unique":
                    entity.constraints.append(f"UNIQUE ({names})")
                case "Index":
                    entity.indexes.append(f"{'UNIQUE ' if re.search('unique: *true', options) else ''}({names})")
                case _:
                    entity.constraints.append(f"CHECK ({self._values.text(given[-1], module) if given else ''})")

    def _member(self, entity: _Entity, node: Node, name: str, module: JsModule, prefix: str) -> bool:
        marks = {decorator_name(one): one for one in decorators(node)}
        kind = next((one for one in marks if one in _PLAIN), "")
        relation = next((one for one in marks if one in _RELATIONS), "")
        if relation:
            self._relation(entity, node, name, relation, marks, module)
        elif kind:
            self._column(entity, node, name, kind, marks, module, prefix)
        return bool(relation or kind)

    def _column(
        self, entity: _Entity, node: Node, name: str, kind: str, marks: dict[str, Node], module: JsModule, prefix: str
    ) -> None:
        given = decorator_arguments(marks[kind])
        options = next((one for one in given if one.type == "object"), None)
        embedded = given[0] if given and given[0].type == "arrow_function" else None
        if embedded is not None:
            self._embedded(entity, embedded, name, options, module, prefix)
            return
        shown = self._values.text(given[0], module) if given and given[0].type != "object" else None
        option = {one: pair(options, one) if options is not None else None for one in
                  ("name", "type", "nullable", "unique", "default", "length", "enum", "primary", "array")}  # fmt: skip
        own = self._values.text(option["name"], module) if option["name"] is not None else None
        kind_text = (self._values.text(option["type"], module) if option["type"] is not None else None) or shown or ""
        if not kind_text:
            kind_text = self._implied(node, kind, shown)
        length = written(option["length"]).strip("'\"")
        written_type = f"{kind_text}({length})" if length else kind_text
        if kind_text == "enum" and option["enum"] is not None:
            written_type = f"enum {written(option['enum'])}"
        primary = (
            kind in ("PrimaryColumn", "PrimaryGeneratedColumn", "ObjectIdColumn")
            or written(option["primary"]) == "true"
        )
        default = written(option["default"]) or (
            "generated" if kind == "PrimaryGeneratedColumn" else "now()" if kind in _DATES[:2] else ""
        )
        column = Column(
            own or self._column_name(prefix, name),
            written_type,
            (written(option["nullable"]) == "true" or kind == "DeleteDateColumn") and not primary,
            default,
            primary,
            written(option["unique"]) == "true" or "Unique" in marks,
        )
        entity.columns.append(column)
        if "Index" in marks:
            unique = "unique: true" in written(marks["Index"])
            entity.indexes.append(f"{'UNIQUE ' if unique else ''}({column.name})")

    def _implied(self, node: Node, kind: str, shown: str | None) -> str:
        """The type of a column that names none: of its decorator, else of its annotation."""
        if kind in _DATES:
            return "timestamp"
        if kind == "PrimaryGeneratedColumn":
            return "uuid" if shown == "uuid" else "integer"
        text = written(node.child_by_field_name("type")).lstrip(": ")
        plain = re.sub(r"\s*\|\s*(null|undefined)", "", text)
        return _TYPES.get(plain, plain)

    def _embedded(
        self, entity: _Entity, target: Node, name: str, options: Node | None, module: JsModule, prefix: str
    ) -> None:
        given = pair(options, "prefix") if options is not None else None
        own = "" if written(given) == "false" else (self._values.text(given, module) if given is not None else None)
        body = target.child_by_field_name("body")
        for value in self._values.of(body, module) if body is not None else ():
            if isinstance(value, JsNode) and value.node.type in CLASSES:
                self._fill(entity, value.node, value.module, prefix + (name if own is None else own), set())

    def _column_name(self, prefix: str, name: str) -> str:
        whole = f"{prefix}{name[:1].upper()}{name[1:]}" if prefix else name
        return _snake(whole) if self._snake else whole

    # Relations.

    def _relation(
        self, entity: _Entity, node: Node, name: str, kind: str, marks: dict[str, Node], module: JsModule
    ) -> None:
        given = decorator_arguments(marks[kind])
        target = _target(given[0]) if given else ""
        options = next((one for one in given if one.type == "object"), None)
        through = ""
        if kind == "ManyToMany" and "JoinTable" in marks:
            through = self._join_table(entity, name, target, marks["JoinTable"], module)
        entity.relations.append(Relation(name, target, _RELATIONS[kind], through))
        if kind == "ManyToOne" or (kind == "OneToOne" and "JoinColumn" in marks):
            column = ""
            for one in decorator_arguments(marks["JoinColumn"])[:1] if "JoinColumn" in marks else ():
                single = one.named_children[0] if one.type == "array" and one.named_children else one
                column = self._values.text(pair(single, "name"), module) or "" if single.type == "object" else ""
            nullable = written(pair(options, "nullable")) != "false" if options is not None else True
            action = self._values.text(pair(options, "onDelete"), module) if options is not None else None
            constraints = (f"onDelete {action}",) if action else ()
            primary = "PrimaryColumn" in marks or (options is not None and written(pair(options, "primary")) == "true")
            entity.joins.append((name, target, column, nullable and not primary, constraints))

    def _join_table(self, entity: _Entity, name: str, target: str, mark: Node, module: JsModule) -> str:
        options = next(iter(decorator_arguments(mark)), None)
        own: dict[str, str | None] = {"name": None, "joinColumn": None, "inverseJoinColumn": None}
        if options is not None and options.type == "object":
            own["name"] = self._values.text(pair(options, "name"), module)
            for side in ("joinColumn", "inverseJoinColumn"):
                inner = pair(options, side)
                own[side] = self._values.text(pair(inner, "name"), module) if inner is not None else None
        other = self._entities[target].table if target in self._entities else _snake(target)
        table = own["name"] or _snake(f"{_bare(entity.table)}_{name}_{_bare(other)}")
        entity.many.append((name, target, table, own["joinColumn"] or "", own["inverseJoinColumn"] or ""))
        return table

    def _join(self, entity: _Entity) -> None:
        """Adds the columns that relations bring; one that is also written as a column only gets its reference."""
        for name, target, column, nullable, constraints in entity.joins:
            other = self._entities.get(target)
            key = other.key if other is not None else Column("id", "", False)
            implied = _camel(f"{name}_{key.name}")
            whole = column or (_snake(f"{name}_{key.name}") if self._snake else implied)
            references = f"{other.table if other is not None else _snake(target)}.{key.name}"
            for index, one in enumerate(entity.columns):
                if one.name == whole:
                    entity.columns[index] = replace(one, references=references, constraints=constraints)
                    break
            else:
                entity.columns.append(Column(whole, key.type, nullable, references=references, constraints=constraints))

    def _share(self, entity: _Entity) -> None:
        root = self._entities.get(entity.shares)
        while root is not None and root.shares:
            root = self._entities.get(root.shares)
        if root is not None:
            known = {one.name for one in root.columns}
            root.columns += [replace(one, nullable=True) for one in entity.columns if one.name not in known]
            root.relations += entity.relations

    def _table(self, entity: _Entity) -> Table:
        for one in named(entity.node, "TableInheritance"):
            match = re.search(r"name:\s*['\"](\w+)['\"]", written(one))
            entity.columns.append(Column(match[1] if match else "type", "varchar", False))
        line = entity.node.start_point.row + 1
        return Table(
            entity.table, entity.name, entity.module.path, line, tuple(entity.columns), tuple(entity.relations),
            tuple(entity.constraints), tuple(entity.indexes), "TypeORM",
        )  # fmt: skip

    def _between(self, entity: _Entity) -> Iterator[Table]:
        for _name, target, table, own, other in entity.many:
            inverse = self._entities.get(target)
            ends = [(own, entity.table, entity.key)]
            ends.append(
                (
                    other,
                    inverse.table if inverse is not None else _snake(target),
                    inverse.key if inverse else Column("id", "", False),
                )
            )
            style = _snake if self._snake else _camel
            columns = tuple(
                Column(
                    given or style(f"{_bare(to)}_{key.name}"),
                    key.type,
                    False,
                    primary_key=True,
                    references=f"{to}.{key.name}",
                )
                for given, to, key in ends
            )
            line = entity.node.start_point.row + 1
            yield Table(table, "", entity.module.path, line, columns, orm="TypeORM")


def _target(node: Node) -> str:
    """The entity in `() => Entity`, `type => Entity` or "Entity"."""
    body = node.child_by_field_name("body")
    return written(body if body is not None else node).strip("'\"()").rpartition(".")[2]


def _bare(table: str) -> str:
    """A table's name without its schema."""
    return table.rpartition(".")[2]


def _snake(name: str) -> str:
    """As TypeORM makes the name of a table of that of a class."""
    text = re.sub(r"([A-Z])([A-Z])([a-z])", r"\1_\2\3", name)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", text).lower()


def _camel(name: str) -> str:
    """As TypeORM makes the name of a column of several words."""
    parts = [one for one in re.split(r"[_\s]+", name) if one]
    return "".join(one if index == 0 else one[:1].upper() + one[1:] for index, one in enumerate(parts))
