"""The security rules for Python source, over its syntax tree; nothing is imported or run."""

import ast
import re
from collections.abc import Callable, Iterator

from backend_crew.tools.audit.python_input import Input, input_of
from backend_crew.tools.audit.rules import RULES, Hit, Severity, words
from backend_crew.tools.python_literals import argument, is_constant, last_name, literal_text

_SQL = words("execute executemany executescript raw text RawSQL extra exec_driver_sql read_sql read_sql_query")
_SQL_WORD = re.compile(
    r"\s*\(?\s*(select|insert|update|delete|with|create|alter|drop|from|where|order|and|or|set)\b", re.I
)
# Functions that make a name safe to stand in SQL.
_QUOTES = re.compile(r"quot|identifier", re.I)
_PICKLES = words("pickle cPickle marshal dill shelve jsonpickle _pickle cloudpickle joblib")
_REDIRECTS = words("redirect RedirectResponse HttpResponseRedirect HttpResponsePermanentRedirect")
_FILES = words("open FileResponse send_file unlink remove rmtree read_text read_bytes write_text write_bytes")
_CLIENTS = words("requests httpx session client aiohttp http urllib request urllib3 http_client")
_ASKS = words("get post put patch delete head options request urlopen stream urlretrieve")
_FAST = words("md5 sha1 sha224 sha256 sha384 sha512 new sha3_256 blake2b")
_PASSWORD = re.compile(r"passw|pwd|passphrase", re.I)
_CHECKS = re.compile(
    r"allowed|whitelist|allowlist|is_safe|url_has_allowed|is_relative_to|commonpath|startswith|urlparse|urlsplit"
    r"|hostname|netloc|fullmatch|match\(", re.I,
)  # fmt: skip
_Function = ast.FunctionDef | ast.AsyncFunctionDef


def python_hits(tree: ast.Module, path: str) -> Iterator[Hit]:
    """Every place of a file where a rule holds."""
    for function, nodes in _scopes(tree):
        given = input_of(function) if function else Input()
        scope = _Scope(function, given, path)
        for node in nodes:
            for rule in _RULES:
                yield from rule(node, scope)


class _Scope:
    """What a rule knows around a node: its function, and what a caller sent into it."""

    def __init__(self, function: _Function | None, given: Input, path: str) -> None:
        self.function, self.given, self.path = function, given, path
        self.name = function.name if function else ""
        self._texts = _built_texts(function) if function else {}
        tests = [ast.unparse(one.test) for one in ast.walk(function) if isinstance(one, ast.If)] if function else []
        self._tests = [text for text in tests if _CHECKS.search(text) or re.search(r"\b(not )?in\b", text)]

    def text(self, node: ast.expr | None) -> ast.expr | None:
        """An expression, or what the function made a name of before."""
        return self._texts.get(node.id, node) if isinstance(node, ast.Name) else node

    def checked(self, node: ast.AST) -> bool:
        """Whether a condition of the function looks at what an expression is made of."""
        names = {one.id for one in ast.walk(node) if isinstance(one, ast.Name) and one.id in self.given.names}
        return any(re.search(rf"\b{re.escape(name)}\b", test) for name in names for test in self._tests)


def _scopes(tree: ast.Module) -> Iterator[tuple[_Function | None, list[ast.AST]]]:
    """Each outermost function with all that is in it, and what is in none."""
    outside: list[ast.AST] = []
    waiting: list[ast.AST] = [tree]
    while waiting:
        for node in ast.iter_child_nodes(waiting.pop()):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node, [one for one in ast.walk(node) if one is not node]
            else:
                outside.append(node)
                waiting.append(node)
    yield None, outside


def _built_texts(function: _Function) -> dict[str, ast.expr]:
    """The names of a function that are set once or grown, with the text that they are made of."""
    found: dict[str, ast.expr] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name not in found or not _is_dynamic(found[name]):
                found[name] = node.value
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name) and _is_dynamic(node.value):
            found[node.target.id] = node.value
    return found


def _hit(rule: str, node: ast.expr | ast.stmt, severity: Severity | None = None, detail: str = "") -> Hit:
    return Hit(rule, node.lineno, " ".join(ast.unparse(node).split())[:300], severity or RULES[rule].severity, detail)


def _is_dynamic(node: ast.expr | None) -> bool:
    """Whether a text is put together from values that are not written out; constants in capitals are."""
    match node:
        case ast.JoinedStr(values=values):
            return any(isinstance(one, ast.FormattedValue) and not _is_fixed(one.value) for one in values)
        case ast.BinOp(left=left, op=ast.Mod(), right=right):
            return literal_text(left) is not None and not _is_fixed(right)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            texts = [
                literal_text(one) is not None or isinstance(one, ast.JoinedStr | ast.BinOp) for one in (left, right)
            ]
            parts = (left, right)
            return any(texts) and any(_is_dynamic(one) or not _is_text_or_fixed(one) for one in parts)
        case ast.Call(func=ast.Attribute(value=value, attr="format"), args=args, keywords=keywords):
            given = [*args, *(one.value for one in keywords)]
            return literal_text(value) is not None and not all(_is_fixed(one) for one in given)
    return False


def _is_text_or_fixed(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr | ast.BinOp) or _is_fixed(node)


def _is_fixed(node: ast.expr) -> bool:
    if isinstance(node, ast.Tuple | ast.List):
        return all(_is_fixed(one) for one in node.elts)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "join" and node.args:
        # ", ".join("?" for _ in ids): places for parameters
        inner = node.args[0]
        made = inner.elt if isinstance(inner, ast.GeneratorExp | ast.ListComp) else inner
        return literal_text(made) is not None or isinstance(made, ast.BinOp)
    if isinstance(node, ast.Call) and _QUOTES.search(last_name(node.func)):
        return True
    name = last_name(node)
    return isinstance(node, ast.Constant) or (bool(name) and name.isupper() and len(name) > 1) or name in (
        "__tablename__", "tablename", "db_table"
    )  # fmt: skip


def _first_text(node: ast.expr | None) -> str:
    """The literal text that an expression begins with."""
    match node:
        case ast.JoinedStr(values=[ast.Constant(value=str(text)), *_]):
            return text
        case ast.BinOp(left=left):
            return _first_text(left)
        case ast.Call(func=ast.Attribute(value=value, attr="format")):
            return _first_text(value)
    return literal_text(node) or ""


def _sql(node: ast.AST, scope: _Scope) -> Iterator[Hit]:
    if not (isinstance(node, ast.Call) and last_name(node.func) in _SQL and node.args):
        return
    text = scope.text(node.args[0])
    if isinstance(text, ast.Call) and last_name(text.func) == "text" and text is not node.args[0]:
        text = scope.text(text.args[0]) if text.args else None
    if _is_dynamic(text) and (
        _SQL_WORD.match(_first_text(text)) or last_name(node.func) not in ("text", "raw", "extra")
    ):
        yield _hit("sql-from-text", node)


def _deserialised(node: ast.AST, scope: _Scope) -> Iterator[Hit]:
    if not isinstance(node, ast.Call):
        return
    name, owner = last_name(node.func), last_name(node.func.value) if isinstance(node.func, ast.Attribute) else ""
    if (owner in _PICKLES and name in ("load", "loads", "open", "Unpickler", "decode")) or (
        owner == "yaml" and name in ("unsafe_load", "unsafe_load_all", "full_load")
    ):
        yield _hit("unsafe-deserialisation", node)
    elif owner == "yaml" and name in ("load", "load_all"):
        loader = argument(node, "Loader", 1)
        if loader is None or last_name(loader) not in ("SafeLoader", "CSafeLoader", "BaseLoader"):
            yield _hit("unsafe-deserialisation", node)
    elif name in ("eval", "exec") and not owner and node.args and literal_text(node.args[0]) is None:
        yield _hit("code-from-text", node)
    elif name in ("render_template_string", "Markup", "mark_safe", "from_string"):
        made = [one for first in node.args[:1] for one in (first, scope.text(first))]
        if any(scope.given.has(one) for one in made):
            yield _hit("template-from-input", node)


def _shell(node: ast.AST, scope: _Scope) -> Iterator[Hit]:
    if not isinstance(node, ast.Call) or not node.args:
        return
    owner = last_name(node.func.value) if isinstance(node.func, ast.Attribute) else ""
    shell = is_constant(argument(node, "shell"), True)
    system = owner == "os" and last_name(node.func) in ("system", "popen")
    text = scope.text(node.args[0])
    if (shell or system) and literal_text(text) is None and not isinstance(text, ast.List):
        yield _hit("command-from-text", node)


def _redirect(node: ast.AST, scope: _Scope) -> Iterator[Hit]:
    if not (isinstance(node, ast.Call) and last_name(node.func) in _REDIRECTS):
        return
    target = argument(node, "url", 0) or argument(node, "location") or argument(node, "redirect_to")
    start = _first_text(scope.text(target))
    if target is None or re.match(r"/[^/\\]|https?://[^/]+/", start) or not scope.given.has(target):
        return
    yield _hit("open-redirect", node, "note" if scope.checked(target) else None)


def _assignment(node: ast.AST, scope: _Scope) -> Iterator[Hit]:
    given = scope.given
    if isinstance(node, ast.Call):
        name = last_name(node.func)
        spread = [one.value for one in node.keywords if one.arg is None and given.is_raw(one.value)]
        made = name[:1].isupper() or name in (
            "create",
            "update",
            "values",
            "update_or_create",
            "get_or_create",
            "insert",
        )
        if (
            (
                spread
                and made
                and not name.endswith(("Schema", "In", "Request", "Form", "Serializer", "Response", "Input"))
            )
            or (name == "values" and node.args and given.is_raw(node.args[0]))
            or (name == "update" and ast.unparse(node.func).endswith(".__dict__.update"))
        ):
            yield _hit("mass-assignment", node)
    elif isinstance(node, ast.For) and given.is_raw(node.iter):
        keys = {one.id for one in ast.walk(node.target) if isinstance(one, ast.Name)}
        for inner in ast.walk(node):
            sets = isinstance(inner, ast.Call) and last_name(inner.func) == "setattr" and len(inner.args) == 3
            if sets and isinstance(inner, ast.Call) and last_name(inner.args[1]) in keys and not _tests_key(node, keys):
                yield _hit("mass-assignment", inner)
    elif isinstance(node, ast.ClassDef) and any("ModelSerializer" in last_name(one) for one in node.bases):
        yield from _all_fields(node)


def _tests_key(loop: ast.For, keys: set[str]) -> bool:
    """Whether the loop asks which key it has before it sets it."""
    tests = [one.test for one in ast.walk(loop) if isinstance(one, ast.If)]
    return any(
        isinstance(inner, ast.Compare) and last_name(inner.left) in keys for test in tests for inner in ast.walk(test)
    )


def _all_fields(node: ast.ClassDef) -> Iterator[Hit]:
    for meta in node.body:
        if isinstance(meta, ast.ClassDef) and meta.name == "Meta":
            texts = {
                one.targets[0].id: one
                for one in meta.body
                if isinstance(one, ast.Assign) and isinstance(one.targets[0], ast.Name)
            }
            if "fields" in texts and literal_text(texts["fields"].value) == "__all__":
                yield Hit("mass-assignment", texts["fields"].lineno, f"{node.name}: fields = '__all__'", "error")


def _file(node: ast.AST, scope: _Scope) -> Iterator[Hit]:
    if not (isinstance(node, ast.Call) and last_name(node.func) in _FILES):
        return
    inside = node.func.value if isinstance(node.func, ast.Attribute) and not node.args else None
    target = node.args[0] if node.args else inside or argument(node, "path")
    if isinstance(node.func, ast.Attribute) and last_name(node.func) in (
        "read_text",
        "read_bytes",
        "write_text",
        "write_bytes",
        "unlink",
    ):
        target = node.func.value
    if target is None or not _is_path_of_input(target, scope.given):
        return
    yield _hit("path-traversal", node, "note" if scope.checked(target) else None)


def _is_path_of_input(node: ast.expr, given: Input) -> bool:
    if isinstance(node, ast.Call) and last_name(node.func) in ("join", "Path", "joinpath", "PurePath"):
        inside = [node.func.value] if isinstance(node.func, ast.Attribute) else []
        return any(_is_path_of_input(one, given) for one in (*node.args, *inside))
    return given.has(node)


def _request(node: ast.AST, scope: _Scope) -> Iterator[Hit]:
    if not (isinstance(node, ast.Call) and last_name(node.func) in _ASKS):
        return
    owner = last_name(node.func.value) if isinstance(node.func, ast.Attribute) else ""
    if owner.lower() not in _CLIENTS and last_name(node.func) not in ("urlopen", "urlretrieve"):
        return
    place = 1 if last_name(node.func) in ("request", "stream") else 0
    target = argument(node, "url", place)
    if target is None or not scope.given.has(target) or owner == "request":
        return
    if re.match(r"(https?://[^/?#]+/|/)", _first_text(scope.text(target))) or _starts_fixed(scope.text(target)):
        return
    yield _hit("server-side-request", node, "note" if scope.checked(target) else None)


def _starts_fixed(node: ast.expr | None) -> bool:
    """Whether an address begins with a constant or a setting: f"{BASE_URL}/…"."""
    if isinstance(node, ast.JoinedStr) and node.values and isinstance(node.values[0], ast.FormattedValue):
        inner = node.values[0].value
        return _is_fixed(inner) or "settings" in ast.unparse(inner)
    return (
        isinstance(node, ast.BinOp)
        and (_is_fixed(node.left) or _starts_fixed(node.left))
        and not isinstance(node.left, ast.Constant)
    )


def _tls(node: ast.AST, scope: _Scope) -> Iterator[Hit]:
    if isinstance(node, ast.Call):
        owner = last_name(node.func.value) if isinstance(node.func, ast.Attribute) else ""
        if (
            (is_constant(argument(node, "verify"), False) and owner != "jwt")
            or last_name(node.func) == "_create_unverified_context"
            or (is_constant(argument(node, "ssl"), False) and last_name(node.func) in _ASKS)
        ):
            yield _hit("tls-unverified", node)
    elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
        off = is_constant(node.value, False) and node.targets[0].attr == "check_hostname"
        if off or (node.targets[0].attr == "verify_mode" and last_name(node.value) == "CERT_NONE"):
            yield _hit("tls-unverified", node)


def _hash(node: ast.AST, scope: _Scope) -> Iterator[Hit]:
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _FAST):
        return
    if last_name(node.func.value) != "hashlib":
        return
    given = " ".join(ast.unparse(one) for one in node.args)
    if _PASSWORD.search(given) or (_PASSWORD.search(scope.name) and node.args):
        yield _hit("weak-password-hash", node)


def _debug(node: ast.AST, scope: _Scope) -> Iterator[Hit]:
    if isinstance(node, ast.Call) and is_constant(argument(node, "debug"), True):
        if last_name(node.func) in ("run", "FastAPI", "Starlette", "Flask", "run_app", "Litestar", "Sanic"):
            yield _hit("debug-on", node)
    elif isinstance(node, ast.Assign) and is_constant(node.value, True):
        settings = re.search(r"settings|config", scope.path) and not re.search(r"dev|local|test", scope.path)
        if settings and last_name(node.targets[0]) == "DEBUG" and scope.function is None:
            yield _hit("debug-on", node)


def _cors(node: ast.AST, scope: _Scope) -> Iterator[Hit]:
    if isinstance(node, ast.Call):
        given = {one.arg: one.value for one in node.keywords if one.arg}
        origins = given.get("allow_origins") or given.get("origins") or given.get("allow_origin_regex")
        if origins is not None and _is_any(origins):
            credentials = given.get("allow_credentials") or given.get("supports_credentials")
            yield _hit("cors-any-origin", node, "error" if is_constant(credentials, True) else None)
    elif isinstance(node, ast.Assign) and is_constant(node.value, True):
        every = last_name(node.targets[0]) in ("CORS_ALLOW_ALL_ORIGINS", "CORS_ORIGIN_ALLOW_ALL")
        yield from [_hit("cors-any-origin", node)] if every else []


def _is_any(node: ast.expr) -> bool:
    texts = [literal_text(one) for one in node.elts] if isinstance(node, ast.List | ast.Tuple) else [literal_text(node)]
    return any(text in ("*", ".*", "https?://.*") for text in texts)


def _jwt(node: ast.AST, scope: _Scope) -> Iterator[Hit]:
    if not isinstance(node, ast.Call):
        return
    name, text = last_name(node.func), ast.unparse(node)
    if name in ("get_unverified_claims", "decode_unverified"):
        yield _hit("jwt-unverified", node)
    elif name == "decode" and "jwt" in ast.unparse(node.func).lower():
        off = re.search(r"['\"]verify_signature['\"]: False|verify=False", text)
        if off or re.search(r"algorithms=\[[^\]]*['\"]none['\"]", text, re.I):
            yield _hit("jwt-unverified", node)


def _csrf(node: ast.AST, scope: _Scope) -> Iterator[Hit]:
    if (
        isinstance(node, ast.Name | ast.Attribute)
        and last_name(node) == "csrf_exempt"
        and isinstance(node.ctx, ast.Load)
    ):
        yield Hit("csrf-off", node.lineno, f"csrf_exempt {scope.name}", "warning")


_RULES: tuple[Callable[[ast.AST, _Scope], Iterator[Hit]], ...] = (
    _sql, _deserialised, _shell, _redirect, _assignment, _file, _request, _tls, _hash, _debug, _cors, _jwt, _csrf
)  # fmt: skip
