"""Tables of SQLAlchemy (declarative, 1.x and 2.x, and Table(…)), of Flask-SQLAlchemy and of SQLModel."""

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from backend_crew.tools.static.project import Project
from backend_crew.tools.static.python_modules import FUNCTIONS, Block, Event, Module, called, keywords
from backend_crew.tools.static.python_names import derives, heirs
from backend_crew.tools.static.python_objects import Class, External, Function, Made
from backend_crew.tools.static.python_values import Values
from backend_crew.tools.static.unresolved import Unresolved
from backend_crew.tools.tables.protocol import Column, Orm, Relation, Table, TableScan
from backend_crew.tools.tables.sqlalchemy_columns import Columns, annotation, is_a
from backend_crew.tools.tables.sqlalchemy_names import tablename

_BASES = frozenset(
    {
        "sqlalchemy.orm.DeclarativeBase",
        "sqlalchemy.orm.DeclarativeBaseNoMeta",
        "sqlalchemy.orm.declarative_base",
        "sqlalchemy.ext.declarative.declarative_base",
        "sqlalchemy.orm.registry.generate_base",
        "sqlalchemy.ext.asyncio.AsyncAttrs",
        "flask_sqlalchemy.SQLAlchemy.Model",
        "flask_sqlalchemy.model.Model",
        "sqlmodel.SQLModel",
        "sqlmodel.main.SQLModel",
    }
)
_NEUTRAL = frozenset({"object", "abc.ABC", "typing.Generic", "sqlalchemy.orm.MappedAsDataclass", "enum.Enum"})
_FLASK = "flask_sqlalchemy.SQLAlchemy.Model"
_COLUMNS = frozenset({"Column", "mapped_column", "deferred"})
_RELATIONS = frozenset({"relationship", "Relationship", "dynamic_loader", "relation"})
_MAKERS = frozenset({"declarative_base", "generate_base"})
# What is read in a file none of whose classes has a base that is known by its name.
_WORDS = (
    b"__table", b"apped", b"Column", b"deferred", b"elationship", b"dynamic_loader", b"relation(", b"Table", b"table=", b"table ="
)  # fmt: skip
_TELLING = (
    r"__table|\bMapped\b|\bmapped_|@[^\n]{0,200}mapped|\btable\s*=\s*True"
    r"|\b(?:Column|deferred|[Rr]elationship|dynamic_loader|relation|Table)(?:\s*\(|\s+as\b)"
    r"|[=:][ \t]*(?:\w+\.)*(?:Column|[Rr]elationship|Table)\b"
)
_MIGRATION = re.compile(r"(^|/)versions/[^/]+\.py$|(^|/)(migrations|alembic)/env\.py$")


@dataclass
class _Model:
    """A mapped class; `own` tells whether it has a table of its own or shares that of a mapped base."""

    of: Class
    event: Event
    table: str = ""
    schema: str = ""
    shares: "Class | None" = None
    columns: dict[str, Column] = field(default_factory=dict)
    relations: dict[str, Relation] = field(default_factory=dict)
    constraints: list[str] = field(default_factory=list)
    indexes: list[str] = field(default_factory=list)


def read(project: Project, paths: tuple[str, ...]) -> TableScan:
    """The tables that these files map or build."""
    kept = tuple(path for path in paths if not _MIGRATION.search(path))
    roots = {name.rpartition(".")[2] for name in _BASES}
    names = heirs(project.sources, kept, roots - _MAKERS, ORM.words, _MAKERS)
    return _Reading(project.python, project.python.python.load(kept, derives(names, _WORDS, _TELLING))).scan()


ORM = Orm(
    "SQLAlchemy",
    (".py",),
    (b"sqlalchemy", b"sqlmodel"),
    (b"mapped_column", b"Mapped[", b"__tablename__", b"db.Model", b"Column(", b"table=True", b"Base)", b"BaseModel"),
    read,
)


class _Reading:
    def __init__(self, values: Values, modules: Sequence[Module]) -> None:
        self._values = values
        self._modules = modules
        self._columns = Columns(values)
        self._models: dict[int, _Model] = {}
        self._unresolved: list[Unresolved] = []

    def scan(self) -> TableScan:
        for module in self._modules:
            for event in module.classes:
                self._class(event)
        for model in self._models.values():
            self._fill(model)
        tables = [self._table(model) for model in self._models.values() if model.shares is None]
        tables += [table for module in self._modules for event in module.calls for table in self._built(event)]
        return TableScan(tuple(self._typed(tables)), tuple(self._unresolved))

    def _open(self, file: str, line: int, why: str) -> None:
        self._unresolved.append(Unresolved(file, line, why))

    # Which classes are mapped, and to which table.

    def _class(self, event: Event) -> None:
        of = self._values.class_of(event)
        types = self._values.types(of)
        decorated = any("mapped" in ast.unparse(one) for one in of.node.decorator_list)
        named = of.node.body and any("__tablename__" in _targets(one) for one in of.node.body)
        if not types & _BASES and not decorated and not named:
            return
        if self._is_abstract(of):
            return
        if types & {"sqlmodel.SQLModel", "sqlmodel.main.SQLModel"} and not _is_table(of):
            return
        if not types & _BASES and not decorated and not self._has_columns(of):
            return
        self._models[id(of.node)] = _Model(of, event)

    def _is_abstract(self, of: Class) -> bool:
        own = self._values.body(of).bindings.get("__abstract__", ())
        if any(isinstance(one.to, ast.Constant) and one.to.value is True for one in own):
            return True
        direct = {
            one.name for base in of.node.bases for one in self._values.of(base, of.block) if isinstance(one, External)
        }
        return any(one.startswith("sqlalchemy.orm.DeclarativeBase") for one in direct)

    def _has_columns(self, of: Class) -> bool:
        body = self._values.body(of)
        return any(
            is_a(self._values, one.to, body, _COLUMNS) is not None
            for found in body.bindings.values()
            for one in found
            if isinstance(one.to, ast.expr)
        ) or any("Mapped[" in ast.unparse(one.annotation) for one in of.node.body if isinstance(one, ast.AnnAssign))

    def _parents(self, of: Class) -> tuple[list[Class], Class | None]:
        """A class and the unmapped classes that it takes columns from; and the nearest mapped base."""
        own: list[Class] = []
        mapped: Class | None = None
        hidden: set[int] = set()
        for one in self._values.ancestors(of):
            if not isinstance(one, Class):
                continue
            if one is not of and id(one.node) in self._models:
                mapped = mapped or one
                hidden.update(id(each.node) for each in self._values.ancestors(one) if isinstance(each, Class))
            elif id(one.node) not in hidden:
                own.append(one)
        return own, mapped

    # What a class says of its table.

    def _fill(self, model: _Model) -> None:
        own, mapped = self._parents(model.of)
        module = model.event.block.module
        known = frozenset({*_BASES, *_NEUTRAL})
        for base in sorted(self._values.types(model.of) - known):
            if not base.startswith(
                ("sqlalchemy.", "sqlmodel.", "typing.", "builtins.", "abc.", "flask_login.", "enum.", "pydantic.")
            ):
                self._open(module.path, model.event.line, f"what {model.of.node.name} takes from {base} is not listed")
        for one in own:
            self._read_body(model, one)
        name = tablename(self._values, model.of, own)
        if name is None and mapped is None and _FLASK in self._values.types(model.of):
            name = _snake(model.of.node.name)
        if name is None and mapped is None and _is_table(model.of):
            name = model.of.node.name.lower()
        if name is None and mapped is not None:
            flask = _FLASK in self._values.types(model.of) and any(one.primary_key for one in model.columns.values())
            name = _snake(model.of.node.name) if flask else None
            model.shares = None if flask else mapped
        if name is None and model.shares is None:
            self._open(module.path, model.event.line, f"the table of {model.of.node.name} is not named by a text")
            model.shares = model.of
        model.table = f"{model.schema}.{name}" if model.schema else name or ""

    def _read_body(self, model: _Model, one: Class) -> None:
        body = self._values.body(one)
        for statement in _statements(one.node.body):
            match statement:
                case ast.AnnAssign(target=ast.Name(id=name)):
                    self._attribute(model, name, statement.value, statement.annotation, body)
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    self._attribute(model, name, value, None, body)
                case ast.FunctionDef(name=name) if any(
                    "declared_attr" in ast.unparse(d) for d in statement.decorator_list
                ):
                    self._declared(model, name, Function(statement, body))

    def _declared(self, model: _Model, name: str, function: Function) -> None:
        body = self._values.body(function)
        for node in ast.walk(function.node):
            if isinstance(node, ast.Return) and node.value is not None:
                self._attribute(model, name, node.value, function.node.returns, body)
                return

    def _attribute(
        self, model: _Model, name: str, value: ast.expr | None, noted: ast.expr | None, block: Block
    ) -> None:
        if name == "__table_args__" and value is not None:
            self._table_args(model, value, block)
            return
        if name == "__table__" and value is not None:
            return
        if name.startswith("__") or name in model.columns or name in model.relations:
            return
        made = is_a(self._values, value, block, _COLUMNS | _RELATIONS | {"Field"}) if value is not None else None
        made = self._undeferred(made)
        inner = _mapped(noted)
        kind = called(made.node) if made is not None and isinstance(made.node, ast.Call) else ""
        if kind in _RELATIONS and made is not None:
            model.relations[name] = self._relation(name, made, inner if inner is not None else noted)
        elif made is not None and isinstance(made.node, ast.Call) and kind in _COLUMNS:
            if isinstance(value, ast.Call) and made.node is not value and (value.args or value.keywords):
                path, line = block.module.path, value.lineno
                self._open(
                    path, line, f"what {ast.unparse(value.func)}(…) makes of {name} by its arguments is not read"
                )
            read = annotation(self._values, inner, block) if inner is not None else None
            model.columns[name] = self._columns.column(name, made.node, made.block, read)
        elif inner is not None and value is None:
            model.columns[name] = self._columns.column(name, None, block, annotation(self._values, inner, block))
        elif noted is not None and _is_table(model.of):
            self._field(model, name, made, value, noted, block)

    def _undeferred(self, made: Made | None) -> Made | None:
        if made is not None and isinstance(made.node, ast.Call) and called(made.node) == "deferred" and made.node.args:
            return is_a(self._values, made.node.args[0], made.block, _COLUMNS)
        return made

    def _field(
        self, model: _Model, name: str, made: Made | None, value: ast.expr | None, noted: ast.expr, block: Block
    ) -> None:
        """A field of SQLModel: its annotation, and Field(…) or a plain default."""
        if ast.unparse(noted).startswith(("ClassVar", "typing.ClassVar")) or name in ("model_config",):
            return
        read = annotation(self._values, noted, block)
        call = made.node if made is not None and isinstance(made.node, ast.Call) else None
        given = keywords(call).get("sa_column") if call is not None else None
        column = is_a(self._values, given, block, _COLUMNS) if given is not None else None
        if column is not None and isinstance(column.node, ast.Call):
            model.columns[name] = self._columns.column(name, column.node, column.block, None)
            return
        found = self._columns.column(name, call, made.block if made is not None else block, read)
        if call is None and value is not None and not found.default and ast.unparse(value) != "None":
            found = replace(found, default=ast.unparse(value))
        model.columns[name] = found

    def _relation(self, name: str, made: Made, noted: ast.expr | None) -> Relation:
        assert isinstance(made.node, ast.Call)
        named = keywords(made.node)
        argument = next(iter(made.node.args[:1]), None) or named.get("argument")
        many = noted is not None and bool(
            re.match(
                r"['\"]?(typing\.)?(list|List|set|Set|Sequence|WriteOnlyMapped|DynamicMapped)\[", ast.unparse(noted)
            )
        )
        source = argument if argument is not None else noted
        target = _target(source) if source is not None else ""
        uselist = named.get("uselist")
        single = isinstance(uselist, ast.Constant) and uselist.value is False
        secondary = named.get("secondary") or named.get("link_model")
        through = ""
        if secondary is not None:
            text = self._values.text(secondary, made.block)
            through = text.value if text is not None else ast.unparse(secondary)
        kind = "one" if single or (noted is not None and not many) else "many" if many else "related"
        return Relation(name, target, kind, through)

    def _table_args(self, model: _Model, node: ast.expr, block: Block) -> None:
        parts = self._values.items(node, block)
        for part, place in [(node, block)] if isinstance(node, ast.Dict) else parts.parts if parts else []:
            if isinstance(part, ast.Dict):
                for key, value in zip(part.keys, part.values, strict=True):
                    if isinstance(key, ast.Constant) and key.value == "schema":
                        text = self._values.text(value, place)
                        model.schema = text.value if text is not None else ""
            else:
                self._constraint(part, place, model.constraints, model.indexes)

    def _constraint(self, node: ast.expr, block: Block, constraints: list[str], indexes: list[str]) -> None:
        if not isinstance(node, ast.Call):
            return
        names = [one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
        match called(node):
            case "UniqueConstraint":
                constraints.append(f"UNIQUE ({', '.join(names)})")
            case "PrimaryKeyConstraint":
                constraints.append(f"PRIMARY KEY ({', '.join(names)})")
            case "CheckConstraint" | "ForeignKeyConstraint" | "ExcludeConstraint" as kind:
                constraints.append(f"{kind}({', '.join(map(ast.unparse, node.args))})")
            case "Index":
                unique = keywords(node).get("unique")
                mark = "UNIQUE " if isinstance(unique, ast.Constant) and unique.value is True else ""
                indexes.append(f"{mark}({', '.join(_index_part(one) for one in node.args[1:])})")

    # Tables that are built, and what comes out.

    def _built(self, event: Event) -> Iterator[Table]:
        node = event.node
        if not isinstance(node, ast.Call) or called(node) != "Table":
            return
        made = is_a(self._values, node, event.block, frozenset({"Table"}))
        if made is None or made.node is not node or not node.args:
            return
        name = self._values.text(node.args[0], event.block)
        path = event.block.module.path
        if name is None:
            self._open(path, node.lineno, "a Table whose name is not a text that the source tells")
            return
        columns: list[Column] = []
        constraints: list[str] = []
        indexes: list[str] = []
        for argument in node.args[1:]:
            column = is_a(self._values, argument, event.block, _COLUMNS)
            if column is not None and isinstance(column.node, ast.Call):
                columns.append(self._columns.column("", column.node, column.block, None))
            else:
                self._constraint(argument, event.block, constraints, indexes)
        schema = self._values.text(keywords(node).get("schema"), event.block)
        whole = f"{schema.value}.{name.value}" if schema is not None else name.value
        model = self._model_of(event)
        yield Table(
            whole, model, path, node.lineno, tuple(columns), (), tuple(constraints), tuple(indexes), "SQLAlchemy", event.certain
        )  # fmt: skip

    @staticmethod
    def _model_of(event: Event) -> str:
        owner = event.block.node
        return owner.name if isinstance(owner, ast.ClassDef) else ""

    def _table(self, model: _Model) -> Table:
        columns = dict(model.columns)
        for other in self._models.values():
            if other.shares is not None and other is not model and self._root(other) is model:
                columns = {**columns, **{name: one for name, one in other.columns.items() if name not in columns}}
        return Table(
            model.table,
            model.of.node.name,
            model.event.block.module.path,
            model.event.line,
            tuple(columns.values()),
            tuple(model.relations.values()),
            tuple(model.constraints),
            tuple(model.indexes),
            "SQLModel" if _is_table(model.of) else "SQLAlchemy",
            model.event.certain,
        )

    def _root(self, model: _Model) -> _Model | None:
        seen: set[int] = set()
        current: _Model | None = model
        while current is not None and current.shares is not None and id(current) not in seen:
            seen.add(id(current))
            current = self._models.get(id(current.shares.node))
        return current

    def _typed(self, tables: list[Table]) -> Iterator[Table]:
        """Foreign keys that name a class lead to its table, and take the type of what they refer to."""
        by_model = {table.model: table for table in tables if table.model}
        known = {f"{table.name}.{one.name}": one.type for table in tables for one in table.columns}
        for table in tables:
            columns = []
            indexes = list(table.indexes)
            for one in table.columns:
                model, mark, attribute = one.references.partition(":")
                references = f"{by_model[model].name}.{attribute}" if mark and model in by_model else one.references
                kept = tuple(each for each in one.constraints if each != "index")
                indexes += [f"({one.name})"] if kept != one.constraints else []
                kind = one.type or known.get(references, "")
                columns.append(replace(one, references=references, type=kind, constraints=kept))
            yield replace(table, columns=tuple(columns), indexes=tuple(indexes))


def _statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    for one in body:
        if isinstance(one, ast.If):
            yield from _statements(one.body)
        else:
            yield one


def _targets(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.Assign):
        return {one.id for one in statement.targets if isinstance(one, ast.Name)}
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        return {statement.target.id}
    return {statement.name} if isinstance(statement, FUNCTIONS) else set()


def _is_table(of: Class) -> bool:
    return any(
        one.arg == "table" and isinstance(one.value, ast.Constant) and one.value.value is True
        for one in of.node.keywords
    )


def _mapped(noted: ast.expr | None) -> ast.expr | None:
    """What stands in Mapped[…]."""
    if isinstance(noted, ast.Constant) and isinstance(noted.value, str):
        try:
            noted = ast.parse(noted.value, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
    if isinstance(noted, ast.Subscript) and ast.unparse(noted.value).rpartition(".")[2].endswith("Mapped"):
        return noted.slice
    return None


def _target(node: ast.expr) -> str:
    """The model that a relationship leads to: the innermost name."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        names = re.findall(r"\w+", node.value)
        return next((one for one in reversed(names) if one not in ("None", "list", "List")), "")
    if isinstance(node, ast.Subscript):
        inner = node.slice.elts[-1] if isinstance(node.slice, ast.Tuple) else node.slice
        return _target(inner)
    if isinstance(node, ast.BinOp):
        return _target(node.left)
    if isinstance(node, ast.Lambda):
        return _target(node.body)
    return ast.unparse(node).rpartition(".")[2]


def _index_part(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return ast.unparse(node)


def _snake(name: str) -> str:
    """As Flask-SQLAlchemy names a table after its class."""
    return re.sub(r"((?<=[a-z0-9])[A-Z]|(?!^)[A-Z](?=[a-z]))", r"_\1", name).lower().lstrip("_")
