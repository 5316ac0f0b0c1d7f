"""One column of SQLAlchemy or SQLModel: what Column(…), mapped_column(…), Field(…) and an annotation say together."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from backend_crew.tools.python_literals import written
from backend_crew.tools.static.python_modules import Block, keywords
from backend_crew.tools.static.python_objects import Class, External, Made
from backend_crew.tools.static.python_values import Values
from backend_crew.tools.tables.protocol import Column

_BY_ANNOTATION = {
    "int": "Integer",
    "str": "String",
    "bool": "Boolean",
    "float": "Float",
    "bytes": "LargeBinary",
    "datetime": "DateTime",
    "date": "Date",
    "time": "Time",
    "timedelta": "Interval",
    "Decimal": "Numeric",
    "UUID": "Uuid",
    "UUID4": "Uuid",
    "EmailStr": "String",
    "AnyUrl": "String",
    "HttpUrl": "String",
}
_ENUMS = frozenset({"enum.Enum", "enum.StrEnum", "enum.IntEnum", "enum.Flag"})
_NOT_TYPES = frozenset(
    {"ForeignKey", "Sequence", "Identity", "Computed", "CheckConstraint", "UniqueConstraint", "FetchedValue"}
)


@dataclass(frozen=True)
class Annotation:
    """What an annotation says: the type without Optional and Annotated, and the calls that Annotated carries."""

    type: ast.expr
    block: Block
    optional: bool = False
    calls: tuple[tuple[ast.Call, Block], ...] = ()


def annotation(values: Values, node: ast.expr, block: Block, depth: int = 0) -> Annotation:
    """Takes an annotation apart, through the aliases of the repository."""
    node = _unquoted(node)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        sides = [one for one in (node.left, node.right) if not _is_none(one)]
        inner = annotation(values, sides[0], block, depth)
        return replace(inner, optional=inner.optional or len(sides) == 1)
    if isinstance(node, ast.Subscript):
        name = ast.unparse(node.value).rpartition(".")[2]
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if name == "Optional":
            return replace(annotation(values, parts[0], block, depth), optional=True)
        if name == "Union" and any(map(_is_none, parts)):
            return replace(annotation(values, next(one for one in parts if not _is_none(one)), block), optional=True)
        if name == "Annotated":
            inner = annotation(values, parts[0], block, depth)
            calls = tuple((one, block) for one in parts[1:] if isinstance(one, ast.Call))
            return replace(inner, calls=(*inner.calls, *calls))
    if isinstance(node, (ast.Name, ast.Attribute)) and depth < 8:
        for alias, place in values.written(node, block):
            if isinstance(alias, (ast.Subscript, ast.BinOp)):
                return annotation(values, alias, place, depth + 1)
    return Annotation(node, block)


def _unquoted(node: ast.expr) -> ast.expr:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        try:
            return ast.parse(node.value, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return node
    return node


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


class Columns:
    """Reads columns; `table_of` gives the table of a model class, for foreign keys that name an attribute."""

    def __init__(self, values: Values) -> None:
        self._values = values

    def column(self, name: str, call: ast.Call | None, block: Block, noted: Annotation | None) -> Column:
        """A column by its attribute's name, the call that makes it and its annotation."""
        calls = [(call, block)] if call is not None else []
        calls += [one for one in (noted.calls if noted else ()) if _last(one[0].func) in ("mapped_column", "Field")]
        found = Column(name, "", None)
        explicit: bool | None = None
        for one, place in calls:
            found, said = self._merged(found, one, place)
            explicit = said if explicit is None else explicit
        foreign = bool(found.references) and not any(_last(one.func) == "Field" for one, _ in calls)
        if not found.type and noted is not None and not foreign:  # a foreign key has the type that it refers to
            found = replace(found, type=self._noted_type(noted))
        if explicit is None:
            explicit = (noted.optional if noted is not None else True) and not found.primary_key
        return replace(found, nullable=explicit)

    def _merged(self, column: Column, call: ast.Call, block: Block) -> tuple[Column, bool | None]:
        named = keywords(call)
        arguments = list(call.args)
        if arguments and (text := self._values.text(arguments[0], block)) is not None and _last(call.func) != "Field":
            column = replace(column, name=text.value)
            arguments = arguments[1:]
        if "name" in named and (text := self._values.text(named["name"], block)) is not None:
            column = replace(column, name=text.value)
        kind = self._type(arguments, named.get("type_") or named.get("sa_type"), block)
        foreign = [one for one in arguments if isinstance(one, ast.Call) and _last(one.func) == "ForeignKey"]
        references = self._references(foreign[0], block) if foreign else ""
        if "foreign_key" in named and (text := self._values.text(named["foreign_key"], block)) is not None:
            references = text.value
        column = replace(
            column,
            type=kind or column.type,
            default=column.default or _default(call, named),
            primary_key=column.primary_key or _true(named.get("primary_key")),
            unique=column.unique or _true(named.get("unique")),
            references=references or column.references,
            constraints=(*column.constraints, *_constraints(arguments, foreign, named)),
        )
        nullable = named.get("nullable")
        said = nullable.value if isinstance(nullable, ast.Constant) and isinstance(nullable.value, bool) else None
        return column, said

    def _type(self, arguments: list[ast.expr], named: ast.expr | None, block: Block) -> str:
        for one in [*arguments, *([named] if named is not None else [])]:
            if isinstance(one, ast.Starred) or (isinstance(one, ast.Call) and _last(one.func) in _NOT_TYPES):
                continue
            if isinstance(one, (ast.Name, ast.Attribute, ast.Call)):
                return self._type_text(one, block)
        return ""

    def _type_text(self, node: ast.expr, block: Block) -> str:
        """The type as written, without its module; what a function of the repository gives, by its class."""
        for value in self._values.of(node, block):
            if isinstance(value, Made) and isinstance(value.of, External) and isinstance(node, ast.Call):
                return _call_text(value.of.name.rpartition(".")[2], node)
        if isinstance(node, ast.Call):
            return _call_text(_last(node.func), node)
        return _last(node)

    def _noted_type(self, noted: Annotation) -> str:
        text = ast.unparse(noted.type)
        name = text.rpartition(".")[2]
        if name in _BY_ANNOTATION:
            return _BY_ANNOTATION[name]
        for value in self._values.of(noted.type, noted.block):
            if isinstance(value, Class) and self._values.types(value) & _ENUMS:
                return f"Enum({name})"
        return "Enum" if name.startswith("Literal[") else text

    def _references(self, call: ast.Call, block: Block) -> str:
        target = next(iter(call.args[:1]), None) or keywords(call).get("column")
        text = self._values.text(target, block)
        if text is not None:
            return text.value
        if isinstance(target, ast.Attribute):
            for value in self._values.of(target.value, block):
                if isinstance(value, Class):
                    return f"{value.node.name}:{target.attr}"
        return ""


def _call_text(name: str, call: ast.Call) -> str:
    return f"{name}({', '.join(map(ast.unparse, [*call.args, *call.keywords]))})"


def _constraints(arguments: list[ast.expr], foreign: list[ast.Call], named: Mapping[str, ast.expr]) -> Iterator[str]:
    for one in foreign:
        for action in ("ondelete", "onupdate"):
            given = keywords(one).get(action)
            if given is not None:
                yield f"{action} {written(given)}"
    if "ondelete" in named:
        yield f"ondelete {written(named['ondelete'])}"
    if _true(named.get("index")):
        yield "index"
    for argument in arguments:
        if isinstance(argument, ast.Call) and _last(argument.func) in ("CheckConstraint", "Computed", "Identity"):
            yield ast.unparse(argument)


def _default(call: ast.Call, named: Mapping[str, ast.expr]) -> str:
    for name in ("server_default", "default", "insert_default", "default_factory"):
        if name in named and not _is_none(named[name]):
            return ast.unparse(named[name])
    if _last(call.func) == "Field" and call.args:
        first = call.args[0]
        return "" if _is_none(first) or ast.unparse(first) in ("...", "PydanticUndefined") else ast.unparse(first)
    return ""


def _true(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is True


def _last(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def is_a(values: Values, node: ast.expr, block: Block, names: frozenset[str]) -> Made | None:
    """The object that an expression makes, if by something of SQLAlchemy or SQLModel with one of these last names."""
    for value in values.of(node, block):
        if isinstance(value, Made) and isinstance(value.of, External):
            package, _, name = value.of.name.rpartition(".")
            if name in names and package.partition(".")[0] in (
                "sqlalchemy",
                "flask_sqlalchemy",
                "sqlmodel",
                "sqlalchemy_utils",
            ):
                return value
    return None
