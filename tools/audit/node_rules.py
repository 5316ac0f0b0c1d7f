"""The security rules for JavaScript and TypeScript, over tree-sitter's syntax tree."""

import re
from collections.abc import Callable, Iterator

from tree_sitter import Node

from backend_crew.tools.audit.rules import RULES, Hit, Severity, words

_NODES = 200_000
_SQL = words(
    """
    query execute raw $queryRawUnsafe $executeRawUnsafe whereRaw orderByRaw havingRaw selectRaw joinRaw
    literal createQueryBuilder run all get exec prepare none one any many oneOrNone
    """
)
_SQL_WORD = re.compile(
    r"[`'\"]\s*\(?\s*(select|insert|update|delete|with|create|alter|drop|where|order|and|or|set)\b", re.I
)
_WRITES = words(
    """
    create insert update save insertOne updateOne findByIdAndUpdate findOneAndUpdate build bulkCreate merge upsert set
    """
)
_INPUT = re.compile(
    r"\b(?:req|request|ctx\.request|ctx|context\.req|c\.req)\.(?:body|query|params|headers|cookies|rawBody|files?|param)\b"
)
_DECORATED = re.compile(r"@(?:Body|Query|Param|Headers)\(")
_PLAIN = re.compile(r"^(?:Number|parseInt|parseFloat|Boolean|BigInt|encodeURIComponent|\+)\W?|path\.basename\(")
_CHECKS = re.compile(
    r"allow|whitelist|includes\(|\.has\(|startsWith\(|new URL\(|hostname|isSafe|\.test\(|\bin\b|indexOf\(", re.I
)
_PASSWORD = re.compile(r"passw|pwd|passphrase", re.I)
_CALL = ("call_expression", "new_expression")
_FUNCTIONS = (
    "function_declaration", "function_expression", "arrow_function", "method_definition", "generator_function_declaration"
)  # fmt: skip


def node_hits(root: Node) -> Iterator[Hit]:
    """Every place of a file where a rule holds; a file of more than 200,000 nodes is looked at up to there."""
    scopes: dict[int, _Scope] = {}
    for node in _walk(root):
        if node.type in (*_CALL, "pair", "assignment_expression"):
            outer = _function(node) or root
            if outer.id not in scopes:
                scopes[outer.id] = _Scope(outer)
            for rule in _RULES:
                yield from rule(node, scopes[outer.id])


def _walk(root: Node) -> Iterator[Node]:
    waiting = [root]
    for _ in range(_NODES):
        if not waiting:
            return
        node = waiting.pop()
        yield node
        waiting.extend(reversed(node.children))


def _text(node: Node | None) -> str:
    return (node.text or b"").decode("utf-8", errors="replace") if node is not None else ""


def _function(node: Node) -> Node | None:
    """The outermost function around a node: what an inner one closes over is then known too."""
    found, above = None, node.parent
    while above is not None:
        if above.type in _FUNCTIONS:
            found = above
        above = above.parent
    return found


class _Scope:
    """What is known in one function: names that hold what a caller sent, and texts that names were given."""

    def __init__(self, outer: Node) -> None:
        self.texts: dict[str, Node] = {}
        self.names = set(_decorated(outer))
        self.tests = [_text(one.child_by_field_name("condition")) for one in _walk(outer) if one.type == "if_statement"]
        for _ in range(2):
            for node in _walk(outer):
                if node.type == "variable_declarator":
                    self._given(node.child_by_field_name("name"), node.child_by_field_name("value"))
                elif node.type in ("assignment_expression", "augmented_assignment_expression"):
                    self._given(node.child_by_field_name("left"), node.child_by_field_name("right"))

    def _given(self, name: Node | None, value: Node | None) -> None:
        if name is None or value is None:
            return
        if name.type == "identifier" and value.type in ("template_string", "binary_expression"):
            self.texts[_text(name)] = value
        if self.has(value):
            if name.type == "identifier":
                self.names.add(_text(name))
            elif name.type == "object_pattern":
                self.names |= {
                    _text(one)
                    for one in _walk(name)
                    if one.type in ("identifier", "shorthand_property_identifier_pattern")
                }

    def has(self, node: Node | None) -> bool:
        """Whether an expression is made of what a caller sent."""
        text = _text(node)
        if not text or _PLAIN.match(text):
            return False
        if _INPUT.search(text):
            return True
        return any(_text(one) in self.names for one in _walk_of(node) if one.type == "identifier")

    def whole(self, node: Node | None) -> bool:
        """Whether it is a whole object as the caller sent it."""
        text = _text(node).removeprefix("await ").strip()
        return bool(re.fullmatch(r"(?:\{\s*\.\.\.)?(?:req|request|ctx\.request|ctx)\.(?:body|query)(?:\s*\})?", text)) or (
            node is not None and node.type == "object" and re.match(r"\{\s*\.\.\.(?:req|request|ctx\.request)\.(?:body|query)\b", text) is not None
        )  # fmt: skip

    def made(self, node: Node | None) -> Node | None:
        """An expression, or the text that its name was given before."""
        return self.texts.get(_text(node), node) if node is not None and node.type == "identifier" else node

    def checked(self, node: Node | None) -> bool:
        """Whether a condition looks at what an expression is made of."""
        names = {_text(one) for one in _walk_of(node) if one.type == "identifier"} & (self.names | {"req"})
        return any(
            _CHECKS.search(test) and any(re.search(rf"\b{re.escape(one)}\b", test) for one in names)
            for test in self.tests
        )


def _walk_of(node: Node | None) -> Iterator[Node]:
    return _walk(node) if node is not None else iter(())


def _decorated(outer: Node) -> Iterator[str]:
    """Parameters that NestJS fills from the request; a pipe or a number's type makes plain values of them."""
    for one in _walk(outer):
        if one.type in ("required_parameter", "optional_parameter") and _DECORATED.search(_text(one)):
            text = _text(one)
            if "Pipe" not in text and not re.search(r":\s*(number|boolean|[A-Z]\w*Dto)\b", text):
                yield _text(one.child_by_field_name("pattern"))


def _called(node: Node) -> tuple[str, str]:
    """(what it is called on, the last name) of a call."""
    target = node.child_by_field_name("function") or node.child_by_field_name("constructor")
    if target is None:
        return "", ""
    if target.type == "member_expression":
        return _text(target.child_by_field_name("object")), _text(target.child_by_field_name("property"))
    return "", _text(target)


def _arguments(node: Node) -> list[Node]:
    given = node.child_by_field_name("arguments")
    if given is None or given.type != "arguments":  # sql`…`: the library makes parameters of the values
        return []
    return [one for one in given.named_children if one.type != "comment"]


def _hit(rule: str, node: Node, severity: Severity | None = None) -> Hit:
    return Hit(rule, node.start_point[0] + 1, " ".join(_text(node).split())[:300], severity or RULES[rule].severity)


def _is_dynamic(node: Node | None) -> bool:
    if node is None:
        return False
    if node.type == "template_string":
        holes = [
            one.named_children[0]
            for one in node.named_children
            if one.type == "template_substitution" and one.named_children
        ]
        return any(not re.fullmatch(r"[A-Z][A-Z0-9_.]+", _text(one)) for one in holes)
    if node.type == "binary_expression" and _text(node.child_by_field_name("operator")) == "+":
        parts = [node.child_by_field_name("left"), node.child_by_field_name("right")]
        literal = ("string", "template_string", "number")
        return any(
            part is not None and part.type not in literal and part.type != "binary_expression" for part in parts
        ) or any(_is_dynamic(part) for part in parts)
    return False


def _sql(node: Node, scope: _Scope) -> Iterator[Hit]:
    if node.type not in _CALL or _called(node)[1] not in _SQL:
        return
    for one in _arguments(node)[:1]:
        text = scope.made(one)
        if _is_dynamic(text) and (
            _SQL_WORD.match(_text(text)) or _called(node)[1].endswith(("Raw", "Unsafe", "literal"))
        ):
            yield _hit("sql-from-text", node)


def _code(node: Node, scope: _Scope) -> Iterator[Hit]:
    if node.type not in _CALL:
        return
    owner, name = _called(node)
    given = _arguments(node)
    if (name == "eval" and not owner) or (name == "Function" and node.type == "new_expression"):
        if given and given[-1].type != "string":
            yield _hit("code-from-text", node)
    elif owner == "vm" and name.startswith(("runIn", "compileFunction")):
        yield _hit("code-from-text", node)
    elif name in ("unserialize", "deserialize") and scope.has(given[0] if given else None):
        yield _hit("unsafe-deserialisation", node)
    elif (
        name in ("exec", "execSync")
        and owner in ("", "child_process", "cp")
        and given
        and _is_dynamic(scope.made(given[0]))
    ):
        yield _hit("command-from-text", node)


def _redirect(node: Node, scope: _Scope) -> Iterator[Hit]:
    if node.type != "call_expression" or _called(node)[1] != "redirect" or not _arguments(node):
        return
    target = _arguments(node)[-1]
    if scope.has(target) and not re.match(r"[`'\"](/[^/\\$]|https?://[^/$]+/)", _text(scope.made(target))):
        yield _hit("open-redirect", node, "note" if scope.checked(target) else None)


def _assignment(node: Node, scope: _Scope) -> Iterator[Hit]:
    owner, name = _called(node) if node.type in _CALL else ("", "")
    given = _arguments(node) if name else []
    if (
        (name == "assign" and owner in ("Object", "_", "lodash") and any(scope.whole(one) for one in given[1:]))
        or (node.type == "new_expression" and name[:1].isupper() and any(scope.whole(one) for one in given))
        or (owner and name in _WRITES and any(scope.whole(one) for one in given))
    ):
        yield _hit("mass-assignment", node)
    elif node.type == "pair" and _text(node.child_by_field_name("key")) in ("data", "$set"):
        yield from [_hit("mass-assignment", node)] if scope.whole(node.child_by_field_name("value")) else []
    finds = name in ("find", "findOne", "deleteMany", "deleteOne", "updateMany", "countDocuments")
    if finds and given and scope.whole(given[0]):
        yield _hit("query-from-input", node)


def _file(node: Node, scope: _Scope) -> Iterator[Hit]:
    owner, name = _called(node) if node.type == "call_expression" else ("", "")
    reads = owner in ("fs", "fsp", "fs.promises", "promises") and name not in ("existsSync",)
    if not (reads or name in ("sendFile", "download", "createReadStream", "readFile", "readFileSync")):
        return
    given = _arguments(node)
    if given and scope.has(given[0]) and "basename(" not in _text(given[0]):
        rooted = (
            any("root" in _text(one) for one in given[1:]) and name == "sendFile"
        )  # Express keeps it below its root
        if not rooted:
            yield _hit("path-traversal", node, "note" if scope.checked(given[0]) else None)


def _request(node: Node, scope: _Scope) -> Iterator[Hit]:
    owner, name = _called(node) if node.type == "call_expression" else ("", "")
    asks = (not owner and name in ("fetch", "axios", "got", "request")) or owner in (
        "axios",
        "got",
        "http",
        "https",
        "needle",
        "superagent",
    )
    given = _arguments(node)
    if not asks or not given or not scope.has(given[0]):
        return
    start = _text(scope.made(given[0]))
    if re.match(r"[`'\"]https?://[^/$?#]+/|`\$\{(?:[A-Z][A-Z0-9_]+|config|process\.env|env)\b", start):
        return
    yield _hit("server-side-request", node, "note" if scope.checked(given[0]) else None)


def _tls(node: Node, scope: _Scope) -> Iterator[Hit]:
    if node.type == "pair" and _text(node.child_by_field_name("key")).strip("'\"") in (
        "rejectUnauthorized",
        "strictSSL",
    ):
        if _text(node.child_by_field_name("value")) == "false":
            yield _hit("tls-unverified", node)
    elif node.type == "assignment_expression":
        off = _text(node.child_by_field_name("right")).strip("'\"`") == "0"
        if off and "NODE_TLS_REJECT_UNAUTHORIZED" in _text(node.child_by_field_name("left")):
            yield _hit("tls-unverified", node)


def _hash(node: Node, scope: _Scope) -> Iterator[Hit]:
    if node.type != "call_expression" or _called(node)[1] != "update" or "createHash(" not in _called(node)[0]:
        return
    if any(_PASSWORD.search(_text(one)) for one in _arguments(node)):
        yield _hit("weak-password-hash", node)


def _cors(node: Node, scope: _Scope) -> Iterator[Hit]:
    if node.type != "call_expression" or not _called(node)[1].lower().endswith(("cors", "header", "register", "set")):
        return
    text = "".join(_text(one) for one in _arguments(node))
    if re.search(r"origin:\s*(['\"]\*['\"]|true)", text):
        yield _hit("cors-any-origin", node, "error" if re.search(r"credentials:\s*true", text) else None)
    elif re.search(r"Access-Control-Allow-Origin['\"]['\"]\*", text, re.I):
        yield _hit("cors-any-origin", node)


def _jwt(node: Node, scope: _Scope) -> Iterator[Hit]:
    if node.type != "call_expression":
        return
    owner, name = _called(node)
    text = "".join(_text(one) for one in _arguments(node))
    if (
        (name == "decode" and "jwt" in owner.lower())
        or name in ("decodeJwt", "jwtDecode", "jwt_decode")
        or (name == "verify" and re.search(r"algorithms:\s*\[[^\]]*['\"]none['\"]|ignoreExpiration:\s*true", text))
    ):
        yield _hit("jwt-unverified", node)


_RULES: tuple[Callable[[Node, _Scope], Iterator[Hit]], ...] = (
    _sql, _code, _redirect, _assignment, _file, _request, _tls, _hash, _cors, _jwt
)  # fmt: skip
