"""Rows that Python code of a migration deletes or overwrites, by Django's ORM or by SQLAlchemy, read from its source.

Made-up rows of a rehearsal are seldom among those that a filter names, so what the code says has to count by itself.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

from backend_crew.tools.lint_context import Context
from backend_crew.tools.python_literals import argument, last_name, literal_text, written

_MANAGERS = frozenset({"objects", "_default_manager", "_base_manager"})
# Calls that give a table by the name that is their first argument, the last of them op's own.
_TABLES = frozenset({"table", "Table", "create_table"})
# What leaves no row of the table out.
_WHOLE = _MANAGERS | {"all", "using", "iterator", "order_by", "delete", "_raw_delete", "update", "values", "query"}
_SESSIONS = frozenset({"session", "db"})
_SQLALCHEMY = frozenset({"sa", "sqlalchemy", "sql"})
_FARTHEST = 8  # names that stand for names


@dataclass(frozen=True)
class Written:
    """A call that deletes or updates rows: of which table, all of them or some, and which columns it sets."""

    call: ast.Call
    deletes: bool
    model: str  # in lower case, as a migration that makes it names it
    table: str
    every: bool
    columns: tuple[str, ...] = ()


@dataclass
class Source:
    """One file: what its names stand for, and where an expression stands."""

    names: dict[str, ast.expr] = field(default_factory=dict)
    tables: dict[str, str] = field(default_factory=dict)  # of the classes that say __tablename__
    parents: dict[int, ast.AST] = field(default_factory=dict)

    @classmethod
    def of(cls, tree: ast.AST) -> "Source":
        """Everything that is known of a file."""
        found = cls()
        for node in ast.walk(tree):
            found.parents |= {id(child): node for child in ast.iter_child_nodes(node)}
            if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                found.names[node.targets[0].id] = node.value
            elif isinstance(node, ast.For | ast.comprehension) and isinstance(node.target, ast.Name):
                found.names[node.target.id] = node.iter
            elif isinstance(node, ast.ClassDef) and (name := _table_name(node)):
                found.tables[node.name] = name
        return found

    def written(self, call: ast.Call) -> Written | None:
        """What one call does to rows, where it is one that deletes or updates."""
        verb, owner = last_name(call.func), call.func.value if isinstance(call.func, ast.Attribute) else None
        if verb not in {"delete", "_raw_delete", "update"}:
            return None
        deletes, base = verb != "update", last_name(owner) if owner is not None else ""
        alone = owner is None or base in _SQLALCHEMY  # sa.delete(orders)
        subject = call.args[0] if (alone or base in _SESSIONS) and len(call.args) == 1 else owner
        chain, after = set(self._chain(subject)), set(self._outside(call))
        if subject is owner:
            # Not cache.delete(key), nor a dict's update(…); what a table's own update() sets comes after it.
            known = not (alone or call.args) if deletes else bool(chain & (_MANAGERS | {"query"})) or "values" in after
            if not known:
                return None
        model, table = self._table(subject)
        certain = alone or bool(model) or bool(chain & (_MANAGERS | {"query"})) or "values" in after
        every = certain and base not in _SESSIONS and chain | after <= _WHOLE
        return Written(call, deletes, model, table, every, () if deletes else tuple(self._columns(call)))

    def _chain(self, node: ast.expr | None, depth: int = 0) -> Iterator[str]:
        """The attributes and the calls on the way to an expression, through names that stand for others."""
        while node is not None:
            if isinstance(node, ast.Call):
                if last_name(node.func) in {"get_model", *_TABLES}:
                    return
                node = node.func
            elif isinstance(node, ast.Attribute):
                yield node.attr
                node = node.value
            elif isinstance(node, ast.Subscript):
                yield "[…]"
                node = node.value
            else:
                break
        if isinstance(node, ast.Name) and node.id in self.names and depth < _FARTHEST:
            value = self.names[node.id]
            if isinstance(self.parents.get(id(value)), ast.For | ast.comprehension):
                yield "for"
            yield from self._chain(value, depth + 1)

    def _outside(self, call: ast.Call) -> Iterator[str]:
        """What is called on the outcome: `where` of users.delete().where(…)."""
        node: ast.AST = call
        while isinstance(parent := self.parents.get(id(node)), ast.Attribute):
            yield parent.attr
            node = self.parents.get(id(parent), parent)

    def _table(self, node: ast.expr | None, depth: int = 0) -> tuple[str, str]:
        """The model's and the table's name, else the words of the source."""
        for one in ast.walk(node) if node is not None else ():
            called = last_name(one.func) if isinstance(one, ast.Call) else ""
            if called == "get_model" and isinstance(one, ast.Call):
                parts = [literal_text(given) or "?" for given in one.args[:2]]
                app, _, model = ".".join(parts).partition(".")
                return model.lower(), f"{app}_{model}".lower()
            if called in _TABLES and isinstance(one, ast.Call):
                name = written(argument(one, "name", 0))
                return name.lower(), name
        for one in ast.walk(node) if node is not None else ():
            if isinstance(one, ast.Name) and one.id in self.tables:
                return one.id.lower(), self.tables[one.id]
            if isinstance(one, ast.Name) and one.id in self.names and depth < _FARTHEST:
                return self._table(self.names[one.id], depth + 1)
        return "", written(node)

    def _columns(self, call: ast.Call) -> Iterator[str]:
        """Those that update(a=…), update({"a": …}) or update().values(a=…) sets."""
        calls = [call]
        node: ast.AST = call
        while isinstance(parent := self.parents.get(id(node)), ast.Attribute):
            node = self.parents.get(id(parent), parent)
            calls += [node] if isinstance(node, ast.Call) and parent.attr == "values" else []
        for one in calls:
            yield from (keyword.arg for keyword in one.keywords if keyword.arg)
            for given in one.args:
                keys = given.keys if isinstance(given, ast.Dict) else []
                yield from (last_name(key) or literal_text(key) or "?" for key in keys if key is not None)


def judge(call: ast.Call, source: Source, context: Context) -> None:
    """Adds what one call does to rows that were there before, by the rules that hold for SQL."""
    found = source.written(call)
    if found is None or context.is_new(found.model) or context.is_new(found.table):
        return
    context.wrote(found.table, call.lineno)
    if found.deletes:
        context.deletes(found.table, call.lineno, found.every)
    elif found.every:
        new = bool(found.columns) and all((found.model, one) in context.known.added for one in found.columns)
        rule = "backfill-in-one-statement" if new else "update-without-where"
        columns = ", ".join(found.columns) or "columns"
        context.add(rule, call.lineno, f"{ast.unparse(call.func)[-40:]}() sets {columns} in every row of {found.table}")


def _table_name(node: ast.ClassDef) -> str | None:
    for one in node.body:
        if isinstance(one, ast.Assign) and any(last_name(target) == "__tablename__" for target in one.targets):
            return literal_text(one.value)
    return None
