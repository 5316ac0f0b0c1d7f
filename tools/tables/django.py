"""Tables of Django's ORM: models with their implicit keys, foreign keys as columns, and the tables between many."""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from backend_crew.tools.static.project import Project
from backend_crew.tools.static.python_modules import Block, Event, Module, keywords
from backend_crew.tools.static.python_names import derives, heirs
from backend_crew.tools.static.python_objects import Class, External, Made
from backend_crew.tools.static.python_values import Values
from backend_crew.tools.static.unresolved import Unresolved
from backend_crew.tools.tables.django_apps import Apps
from backend_crew.tools.tables.protocol import Column, Orm, Relation, Table, TableScan

_MODEL = re.compile(
    r"^django\.(contrib\.gis\.)?db\.models(\.base)?\.Model$|^django\.contrib\.auth\.\w+\.(Abstract(Base)?User|PermissionsMixin|User)$"
)
_OTHER_MODEL = re.compile(r"(Model|Page|AbstractUser|AbstractBaseUser|TenantMixin|DomainMixin)$")
# What the two call a model, as it is named in a list of bases.
_ROOTS = (
    "User",
    "PermissionsMixin",
    "*Model",
    "*Page",
    "*AbstractUser",
    "*AbstractBaseUser",
    "*TenantMixin",
    "*DomainMixin",
)
_KEYED = re.compile(r"UUID|ULID|PrimaryKey|Pk[A-Z]")
_NOT_DJANGO = re.compile(
    r"^(pydantic|sqlmodel|flask|sqlalchemy|peewee|tortoise|mongoengine|ninja|typing|rest_framework)"
)
_ONE = frozenset({"ForeignKey", "OneToOneField", "ParentalKey", "TreeForeignKey", "AutoOneToOneField"})
_MANY = frozenset({"ManyToManyField", "ParentalManyToManyField", "SortedManyToManyField"})
_GENERIC = frozenset({"GenericForeignKey", "GenericRelation"})
_KNOWN: Mapping[str, tuple[str, str]] = {  # models of Django itself → table, class of its key
    "auth.User": ("auth_user", "AutoField"), "auth.Group": ("auth_group", "AutoField"),
    "auth.Permission": ("auth_permission", "AutoField"), "contenttypes.ContentType": ("django_content_type", "AutoField"),
    "sites.Site": ("django_site", "AutoField"), "sessions.Session": ("django_session", "CharField"),
}  # fmt: skip
_BASE_USER = (Column("password", "CharField(max_length=128)", False), Column("last_login", "DateTimeField", True))
_PERMISSIONS = (Column("is_superuser", "BooleanField", False, "False"),)
_PERSON = (
    Column("username", "CharField(max_length=150)", False, unique=True),
    Column("first_name", "CharField(max_length=150)", False), Column("last_name", "CharField(max_length=150)", False),
    Column("email", "EmailField", False), Column("is_staff", "BooleanField", False, "False"),
    Column("is_active", "BooleanField", False, "True"), Column("date_joined", "DateTimeField", False, "timezone.now"),
)  # fmt: skip
_OUTSIDE: Mapping[str, tuple[Column, ...]] = {
    "AbstractUser": (*_BASE_USER, *_PERMISSIONS, *_PERSON),
    "AbstractBaseUser": _BASE_USER,
    "PermissionsMixin": _PERMISSIONS,
    "TimeStampedModel": (Column("created", "DateTimeField", False), Column("modified", "DateTimeField", False)),
}


@dataclass
class _Model:
    of: Class
    event: Event
    label: str
    auto: str
    table: str
    parent: str = ""
    columns: list[Column] = field(default_factory=list)
    relations: list[Relation] = field(default_factory=list)
    many: list[tuple[str, str, str, str]] = field(default_factory=list)  # field, target, through, table
    indexes: list[str] = field(default_factory=list)
    unread: str = ""  # a base that is not in the repository, and may bring a primary key of its own

    @property
    def key(self) -> str:
        return f"{self.label}.{self.of.node.name}"


def read(project: Project, paths: tuple[str, ...]) -> TableScan:
    """The tables of the models in these files."""
    kept = tuple(path for path in paths if "/migrations/" not in f"/{path}")
    names = heirs(project.sources, kept, _ROOTS)
    return _Reading(project.python, project.python.python.load(kept, derives(names))).scan()


ORM = Orm(
    "Django",
    (".py",),
    (
        b"django.db import models",
        b"from django.db.models",
        b"gis.db import models",
        b"AbstractUser",
        b"AbstractBaseUser",
    ),
    (b"Model)", b"models.Model", b"Model,"),
    read,
)


class _Reading:
    def __init__(self, values: Values, modules: Sequence[Module]) -> None:
        self._values = values
        self._modules = modules
        self._apps = Apps(values)
        self._models: dict[str, _Model] = {}
        self._by_node: dict[int, _Model] = {}
        self._unresolved: list[Unresolved] = []

    def scan(self) -> TableScan:
        for module in self._modules:
            for event in module.classes:
                self._class(event)
        for model in self._models.values():
            self._fill(model)
        tables = [self._table(model) for model in self._models.values()]
        tables += [table for model in self._models.values() for table in self._between(model)]
        return TableScan(tuple(tables), tuple(self._unresolved))

    # Which classes have a table, and its name.

    def _class(self, event: Event) -> None:
        of = self._values.class_of(event)
        if not self._is_model(of) or self._own_meta(of, "abstract") == "True" or self._own_meta(of, "proxy") == "True":
            return
        if not isinstance(event.block.node, ast.Module):
            return
        label, auto = self._apps.of(event.block.module.path)
        label = self._meta_text(of, "app_label") or label
        table = (self._meta_text(of, "db_table") or f"{label}_{of.node.name.lower()}").replace('"', "")
        model = _Model(of, event, label, auto, table)
        self._models[model.key] = model
        self._by_node[id(of.node)] = model

    def _is_model(self, of: Class) -> bool:
        types = self._values.types(of)
        if any(_MODEL.search(one) for one in types):
            return True
        outside = [one for one in types if _OTHER_MODEL.search(one) and not _NOT_DJANGO.search(one) and "." in one]
        return bool(outside) and any(
            self._field(node.value, self._values.body(of)) for node in of.node.body if isinstance(node, ast.Assign)
        )

    def _own_meta(self, of: Class, name: str) -> str:
        """The source of an option in the Meta that stands in the class itself."""
        for node in of.node.body:
            if isinstance(node, ast.ClassDef) and node.name == "Meta":
                for one in node.body:
                    if isinstance(one, ast.Assign) and any(
                        isinstance(t, ast.Name) and t.id == name for t in one.targets
                    ):
                        return ast.unparse(one.value)
        return ""

    def _meta(self, of: Class, name: str) -> tuple[ast.expr, Block] | None:
        """An option of the nearest Meta: its own, or one of the abstract bases; not those of bases with a table."""
        hidden: set[int] = set()
        for one in self._values.ancestors(of):
            if not isinstance(one, Class) or id(one.node) in hidden:
                continue
            if one is not of and self._is_model(one) and self._own_meta(one, "abstract") != "True":
                hidden.update(id(each.node) for each in self._values.ancestors(one) if isinstance(each, Class))
                continue
            meta = [node for node in one.node.body if isinstance(node, ast.ClassDef) and node.name == "Meta"]
            if meta:
                inner = self._values.attribute(Class(meta[-1], self._values.body(one)), name)
                return (inner[0].to, inner[1]) if inner is not None and isinstance(inner[0].to, ast.expr) else None
        return None

    def _meta_text(self, of: Class, name: str) -> str:
        found = self._meta(of, name)
        text = self._values.text(*found) if found is not None else None
        return text.value if text is not None else ""

    # Fields.

    def _field(self, node: ast.expr, block: Block) -> tuple[Made, str] | None:
        """The field that an expression makes, with the name of its class as Django knows it."""
        for value in self._values.of(node, block):
            if not isinstance(value, Made) or not isinstance(value.node, ast.Call):
                continue
            names = [value.of.name] if isinstance(value.of, External) else sorted(self._values.types(value))
            for name in names:
                last = name.rpartition(".")[2]
                if last.endswith("Field") or last in _ONE | _MANY | _GENERIC:
                    written = value.of.node.name if isinstance(value.of, Class) else last
                    if not name.startswith(
                        ("rest_framework", "django.forms", "pydantic", "dataclasses", "wtforms", "django_filters")
                    ):
                        return value, written if last not in _ONE | _MANY else last
        return None

    def _fill(self, model: _Model) -> None:
        seen: set[str] = set()
        for one in self._values.ancestors(model.of):
            if isinstance(one, External):
                self._outside(model, one.name)
                continue
            concrete = self._by_node.get(id(one.node))
            if concrete is not None and concrete is not model:
                model.parent = model.parent or concrete.key
                continue
            if model.parent and id(one.node) in self._above(model.parent):
                continue
            body = self._values.body(one)
            for node in one.node.body:
                target, value = _assigned(node)
                found = self._field(value, body) if value is not None and target not in seen else None
                if found is not None and isinstance(found[0].node, ast.Call):
                    seen.add(target)
                    self._one(model, target, found[1], found[0].node, found[0].block)
                elif value is not None and target:
                    seen.add(target)
        keyed = any(one.primary_key for one in model.columns)
        known = keyed or bool(model.parent) or not model.unread
        if model.unread:
            more = "" if known else ", its primary key among it"
            why = f"what {model.of.node.name} takes from {model.unread} is not listed{more}"
            self._unresolved.append(Unresolved(model.event.block.module.path, model.event.line, why))
        if known and not keyed:
            model.columns.insert(0, self._implicit(model))

    def _above(self, key: str) -> set[int]:
        return {id(one.node) for one in self._values.ancestors(self._models[key].of) if isinstance(one, Class)}

    def _implicit(self, model: _Model) -> Column:
        if model.parent:
            parent = self._models[model.parent]
            name = f"{parent.of.node.name.lower()}_ptr_id"
            model.relations.append(Relation(name.removesuffix("_id"), parent.of.node.name, "one to one"))
            return Column(
                name,
                "OneToOneField",
                False,
                primary_key=True,
                references=f"{parent.table}.{self._key_of(model.parent)}",
            )
        return Column("id", model.auto, False, primary_key=True)

    def _outside(self, model: _Model, name: str) -> None:
        last = name.rpartition(".")[2]
        if last in _OUTSIDE and not model.parent:
            taken = {one.name for one in model.columns}
            model.columns += [one for one in _OUTSIDE[last] if one.name not in taken]
            if last in ("AbstractUser", "PermissionsMixin"):
                model.many += [("groups", "auth.Group", "", ""), ("user_permissions", "auth.Permission", "", "")]
        elif (_OTHER_MODEL.search(last) or _KEYED.search(last)) and not _MODEL.search(name):
            model.unread = model.unread or name

    def _one(self, model: _Model, name: str, kind: str, call: ast.Call, block: Block) -> None:
        named = keywords(call)
        if kind in _GENERIC:
            model.relations.append(Relation(name, "", "generic"))
            return
        if kind in _MANY:
            target = self._target(model, next(iter(call.args[:1]), None) or named.get("to"), block)
            through = self._target(model, named["through"], block) if "through" in named else ""
            table = self._values.text(named.get("db_table"), block)
            model.many.append((name, target, through, table.value if table is not None else ""))
            return
        column = self._values.text(named.get("db_column"), block)
        references = ""
        whole = kind
        constraints: tuple[str, ...] = ()
        if kind in _ONE:
            target = self._target(model, next(iter(call.args[:1]), None) or named.get("to"), block)
            to_field = self._values.text(named.get("to_field"), block)
            references = f"{target}#{to_field.value if to_field is not None else ''}"
            action = named.get("on_delete") or next(iter(call.args[1:2]), None)
            constraints = (f"on_delete {ast.unparse(action).rpartition('.')[2]}",) if action is not None else ()
            single = kind == "OneToOneField" or _is(named.get("unique"), True)
            model.relations.append(Relation(name, target.rpartition(".")[2], "one to one" if single else "many to one"))
        else:
            shown = [
                f"{one}={ast.unparse(named[one])}"
                for one in ("max_length", "max_digits", "decimal_places")
                if one in named
            ]
            whole = f"{kind}({', '.join(shown)})" if shown else kind
        written = column.value if column is not None else f"{name}_id" if kind in _ONE else name
        indexed = _is(named.get("db_index"), True) or kind in ("SlugField", "ForeignKey")
        if indexed and not _is(named.get("db_index"), False):
            model.indexes.append(f"({written})")
        model.columns.append(
            Column(
                written,
                whole,
                _is(named.get("null"), True),
                _default(named),
                _is(named.get("primary_key"), True),
                _is(named.get("unique"), True) or kind == "OneToOneField",
                references,
                constraints,
            )
        )

    def _target(self, model: _Model, node: ast.expr | None, block: Block) -> str:
        """The model that a relation leads to, as "app.Model"; what it says where that is not known."""
        if node is None:
            return "?"
        text = self._values.text(node, block)
        if text is not None:
            if text.value == "self":
                return model.key
            return text.value if "." in text.value else f"{model.label}.{text.value}"
        for value in self._values.of(node, block):
            if isinstance(value, Class):
                known = self._by_node.get(id(value.node))
                return known.key if known is not None else value.node.name
            if isinstance(value, (External, Made)):
                name = (
                    value.name
                    if isinstance(value, External)
                    else value.of.name
                    if isinstance(value.of, External)
                    else ""
                )
                if name.endswith(("AUTH_USER_MODEL", "get_user_model")):
                    return self._apps.user
                match = re.search(r"(\w+)\.models\.(\w+)$", name)
                if match:
                    return f"{match[1]}.{match[2]}"
        return ast.unparse(node)

    # What comes out.

    def _key_of(self, key: str) -> str:
        model = self._models.get(key)
        if model is None:
            return "id"
        for one in model.columns:
            if one.primary_key:
                return one.name
        if model.unread and not model.parent:
            return "pk"  # whatever it is called
        return f"{self._models[model.parent].of.node.name.lower()}_ptr_id" if model.parent else "id"

    def _known(self, target: str) -> str:
        """The key of a model in `_models`, whatever the case of its name."""
        if target in self._models:
            return target
        lowered = {key.lower(): key for key in self._models}
        return lowered.get(target.lower(), target)

    def _table_of(self, target: str) -> str:
        known = self._models.get(self._known(target))
        return known.table if known is not None else _KNOWN.get(target, (target, ""))[0]

    def _resolved(self, model: _Model, column: Column) -> Column:
        target, mark, to_field = column.references.partition("#")
        if not mark:
            return column
        key = to_field or self._key_of(self._known(target))
        if self._known(target) not in self._models and target not in _KNOWN:
            why = f"{model.of.node.name}.{column.name} refers to {target}, which is not a model of this repository"
            self._unresolved.append(Unresolved(model.event.block.module.path, model.event.line, why))
        return replace(column, references=f"{self._table_of(target)}.{key}")

    def _table(self, model: _Model) -> Table:
        relations = [*model.relations]
        for name, target, through, table in model.many:
            between = self._table_of(through) if through else table or f"{model.table}_{name}"
            relations.append(Relation(name, target.rpartition(".")[2], "many to many", between))
        constraints, indexes = self._meta_lists(model.of)
        return Table(
            model.table,
            model.of.node.name,
            model.event.block.module.path,
            model.event.line,
            tuple(self._resolved(model, one) for one in model.columns),
            tuple(relations),
            tuple(constraints),
            (*model.indexes, *indexes),
            "Django",
            model.event.certain,
        )

    def _meta_lists(self, of: Class) -> tuple[list[str], list[str]]:
        constraints: list[str] = []
        indexes: list[str] = []
        for name in ("unique_together", "index_together", "constraints", "indexes"):
            found = self._meta(of, name)
            items = self._values.items(*found) if found is not None else None
            for node, block in items.parts if items is not None else ():
                if isinstance(node, ast.Call):
                    (indexes if name == "indexes" else constraints).append(ast.unparse(node))
                    continue
                inner = self._values.items(node, block)
                nodes = inner.parts if inner is not None else items.parts if items is not None else ()
                texts = [self._values.text(*part) for part in nodes]
                listed = ", ".join(one.value for one in texts if one is not None)
                kept = constraints if name == "unique_together" else indexes
                line = f"UNIQUE ({listed})" if name == "unique_together" else f"({listed})"
                if line not in kept:
                    kept.append(line)
        return constraints, indexes

    def _between(self, model: _Model) -> Iterator[Table]:
        """The tables that Django makes for many-to-many fields without `through`."""
        for name, target, through, table in model.many:
            if through:
                continue
            own, other = model.of.node.name.lower(), target.rpartition(".")[2].lower()
            left, right = (f"from_{own}", f"to_{own}") if self._known(target) == model.key else (own, other)
            ends = [(f"{left}_id", model.key), (f"{right}_id", target)]
            columns = [
                Column(end, "ForeignKey", False, references=f"{self._table_of(to)}.{self._key_of(self._known(to))}")
                for end, to in ends
            ]
            yield Table(
                table or f"{model.table}_{name}",
                "",
                model.event.block.module.path,
                model.event.line,
                (Column("id", model.auto, False, primary_key=True), *columns),
                (),
                (f"UNIQUE ({left}_id, {right}_id)",),
                (),
                "Django",
                model.event.certain,
            )


def _assigned(node: ast.stmt) -> tuple[str, ast.expr | None]:
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id, node.value
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.target.id, node.value
    return "", None


def _is(node: ast.expr | None, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def _default(named: Mapping[str, ast.expr]) -> str:
    for name in ("db_default", "default"):
        if name in named:
            return ast.unparse(named[name])
    return next((name for name in ("auto_now_add", "auto_now") if _is(named.get(name), True)), "")
