"""What Python source says without being run: a text, a name, an argument, a variable of the environment."""

import ast
import re
from collections import Counter
from pathlib import Path

#: What a variable of the environment is called where settings read it.
VARIABLE = r"[A-Z][A-Z0-9_]*"
#: Calls whose text is their first argument, as SQLAlchemy and Alembic have them.
_WRAPPERS = frozenset({"text", "f", "DDL"})


def parsed(path: Path) -> ast.Module | None:
    """The tree of a Python file; None for a link, for no file and for what does not parse."""
    if path.is_symlink() or not path.is_file():
        return None
    try:
        return ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def literal_text(node: ast.expr | None) -> str | None:
    """The text of a string literal, of literals joined by +, or of one wrapped in text(…); None when built at run time."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = literal_text(node.left), literal_text(node.right)
        return None if left is None or right is None else left + right
    if isinstance(node, ast.Call) and last_name(node.func) in _WRAPPERS and node.args:
        return literal_text(node.args[0])
    return None


def last_name(node: ast.expr) -> str:
    """`c` of a.b.c or of c; "" for anything else."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def argument(call: ast.Call, name: str, position: int | None = None) -> ast.expr | None:
    """The argument given under a name, else at a position (from 0); None where it is not given."""
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    if position is not None and position < len(call.args) and not isinstance(call.args[position], ast.Starred):
        return call.args[position]
    return None


def variable_read(node: ast.expr) -> str | None:
    """The variable that os.environ["X"], os.getenv("X"), env("X"), config("X") or env.db() reads."""
    if isinstance(node, ast.Subscript):
        read = _constant(node.slice) if last_name(node.value) == "environ" else None
        return read if read and re.fullmatch(VARIABLE, read) else None
    if not isinstance(node, ast.Call):
        return None
    given = [*node.args[:1], *(one.value for one in node.keywords if one.arg in ("var", "env"))]
    name = next((text for one in given if (text := _constant(one))), None)
    if name is not None:
        return name if re.fullmatch(VARIABLE, name) else None
    whole = last_name(node.func) in ("db", "db_url") or ast.unparse(node.func) == "dj_database_url.config"
    return "DATABASE_URL" if whole and not node.args else None


def is_constant(node: ast.expr | None, value: object) -> bool:
    """Whether an expression is exactly True, False or None."""
    return isinstance(node, ast.Constant) and node.value is value


def written(node: ast.expr | None) -> str:
    """A name for people: the literal text, else the source of the expression."""
    if node is None:
        return "?"
    text = literal_text(node)
    return (ast.unparse(node) if text is None else text)[:80]


def text_line(node: ast.expr) -> int:
    """The line where the text of a literal begins: the first one inside a wrapper."""
    inner = node.args[0] if isinstance(node, ast.Call) and node.args else node
    return inner.lineno


def with_constants(tree: ast.Module) -> ast.Module:
    """The tree with every name that stands for one text, bound once in the whole file, replaced by that text."""
    bound: Counter[str] = Counter()
    texts: dict[str, ast.expr] = {}
    for node in ast.walk(tree):
        bound.update(_bound(node))
        target = node.targets[0] if isinstance(node, ast.Assign) and len(node.targets) == 1 else None
        if isinstance(node, ast.Assign) and isinstance(target, ast.Name) and literal_text(node.value) is not None:
            texts[target.id] = node.value
    if bound["*"] or "globals" in {last_name(node) for node in ast.walk(tree) if isinstance(node, ast.Name)}:
        return tree
    replaced: ast.Module = _Inlined({name: text for name, text in texts.items() if bound[name] == 1}).visit(tree)
    return replaced


def _constant(node: ast.AST | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _bound(node: ast.AST) -> list[str]:
    """The names that a node gives a meaning to."""
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            return [name]
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.arg(arg=name):
            return [name]
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            return [(one.asname or one.name).partition(".")[0] for one in names]
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            return [name]
        case ast.MatchMapping(rest=str(name)):
            return [name]
    return []


class _Inlined(ast.NodeTransformer):
    def __init__(self, texts: dict[str, ast.expr]) -> None:
        self._texts = texts

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """A name that is read."""
        return self._texts.get(node.id, node) if isinstance(node.ctx, ast.Load) else node
