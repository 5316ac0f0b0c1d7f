"""What a Python assertion demands, by its syntax tree: plain asserts, unittest's methods, pytest's and mock's calls."""

import ast
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from backend_crew.tools.honesty.testcode import Assertion, Kind

_TEXT = 160
DEFAULT_TOLERANCE = 1e-6
_METHODS: dict[str, Kind] = {
    **dict.fromkeys(
        (
            "assertEqual",
            "assertEquals",
            "assertIs",
            "assertListEqual",
            "assertDictEqual",
            "assertSetEqual",
            "assertTupleEqual",
            "assertSequenceEqual",
            "assertMultiLineEqual",
            "assertCountEqual",
            "assertItemsEqual",
            "assertJSONEqual",
            "assertQuerySetEqual",
            "assertQuerysetEqual",
            "assertNumQueries",
            "assertRedirects",
        ),
        "equal",
    ),
    **dict.fromkeys(("assertAlmostEqual", "assertAlmostEquals"), "close"),
    **dict.fromkeys(("assertIn", "assertRegex", "assertRegexpMatches"), "contains"),
    **dict.fromkeys(("assertDictContainsSubset", "assertContains"), "partial"),
    **dict.fromkeys(("assertGreater", "assertGreaterEqual", "assertLess", "assertLessEqual"), "order"),
    **dict.fromkeys(
        ("assertNotEqual", "assertNotEquals", "assertNotIn", "assertIsNot", "assertNotContains"), "differs"
    ),
    "assertIsInstance": "type",
    "assertIsNotNone": "present",
}
_RAISES = frozenset({"raises", "assertRaises", "assertRaisesRegex", "assertRaisesMessage", "warns", "assertWarns"})
_MOCK_EXACT = frozenset(
    {
        "assert_called_with",
        "assert_called_once_with",
        "assert_has_calls",
        "assert_any_call",
        "assert_not_called",
        "assert_awaited_with",
        "assert_awaited_once_with",
        "assert_not_awaited",
    }
)
_MOCK_LOOSE = frozenset({"assert_called", "assert_called_once", "assert_awaited", "assert_awaited_once"})
_WILDCARDS = frozenset({"ANY", "mock.ANY", "unittest.mock.ANY", "anything"})


def code(node: ast.AST | None) -> str:
    """A node as code on one line, bounded."""
    if node is None:
        return ""
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 4 * _TEXT else text[: 4 * _TEXT]


def short(text: str) -> str:
    """Code as it is shown in a finding."""
    return text if len(text) <= _TEXT else text[: _TEXT - 1] + "…"


def dotted(node: ast.AST) -> str:
    """`a.b.c` of a name or attribute; "" for anything else at its root."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    return ".".join([node.id, *reversed(parts)])


def last_name(node: ast.AST) -> str:
    """The last name of what is called, whatever it is called on."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def names_in(*nodes: ast.AST | None) -> frozenset[str]:
    """Attributes, string keys and called functions; plain variables where there is nothing else."""
    found: set[str] = set()
    plain: set[str] = set()
    for root in nodes:
        for node in ast.walk(root) if root is not None else ():
            if isinstance(node, ast.Attribute):
                found.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value[:_TEXT])
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                found.add(node.func.id)
            elif isinstance(node, ast.Name):
                plain.add(node.id)
    return frozenset(found or plain)


def is_assertion(call: ast.Call) -> bool:
    """Whether a call by itself demands something: unittest, mock, or a function that says assert in its name."""
    name = last_name(call.func)
    if dotted(call.func) in ("pytest.fail", "self.fail"):
        return True
    return name.startswith(("assert", "_assert"))


def raising(call: ast.Call) -> bool:
    """Whether a call is one of those that expect an exception or warning."""
    return last_name(call.func) in _RAISES


def of_assert(node: ast.Assert) -> list[Assertion]:
    """What an assert statement demands: one for each side of an `and`."""
    return [replace(one, text=short(f"assert {code(node.test)}")) for one in _of(node.test, node.lineno, False)]


def of_call(call: ast.Call) -> list[Assertion]:
    """What an assertion call demands."""
    name, args = last_name(call.func), call.args
    if name in ("fail", "assertFalse", "assertTrue", "assertIsNone", "assertIsNot") or name in _METHODS:
        found = list(_method(name, call, args))
    elif name in _MOCK_EXACT or name in _MOCK_LOOSE:
        on = call.func.value if isinstance(call.func, ast.Attribute) else None
        kind: Kind = "equal" if name in _MOCK_EXACT else "called"
        given = ast.Tuple([*args, *(key.value for key in call.keywords)], ast.Load())
        names = names_in(on) | {"call"}
        found = [Assertion(call.lineno, kind, code(on), code(given), names, "", _wildcards(given))]
    else:
        slack = max(
            (_number(key.value) for key in call.keywords if key.arg in ("rtol", "atol", "rel", "abs")), default=0
        )
        found = [Assertion(call.lineno, "custom", code(call), "", names_in(call.func, *args), "", slack)]
    return [replace(one, text=short(code(call))) for one in found]


def of_raises(call: ast.Call) -> Assertion:
    """What `raises` and its kin demand: the exceptions as `expected`; slack 1 where the message is not looked at."""
    keywords = {key.arg: key.value for key in call.keywords}
    expected = call.args[0] if call.args else keywords.get("expected_exception")
    looks = "match" in keywords or "Regex" in last_name(call.func) or "Message" in last_name(call.func)
    text = short(code(call))
    return Assertion(
        call.lineno, "raises", last_name(call.func), code(expected), names_in(expected), text, float(not looks)
    )


def _of(node: ast.expr, line: int, negated: bool) -> Iterator[Assertion]:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield from _of(node.operand, line, not negated)
    elif isinstance(node, ast.BoolOp):
        if isinstance(node.op, ast.And) != negated:
            for value in node.values:
                yield from _of(value, line, negated)
        else:
            inner = [next(_of(value, line, negated)) for value in node.values]
            kind: Kind = "nothing" if any(one.kind == "nothing" for one in inner) else "one of"
            subject = inner[0].subject
            yield Assertion(line, kind, subject, code(node), inner[0].names, "", len(inner))
    elif isinstance(node, ast.Compare):
        yield _compared(node, line, negated)
    elif _always_true(node):
        yield Assertion(line, "nothing", code(node), "", frozenset(), "")
    elif isinstance(node, ast.Constant):
        yield Assertion(line, "raises", "unreachable", "", frozenset(), "")  # `assert False`: never to be reached
    elif isinstance(node, ast.Call):
        yield _called(node, line, negated)
    else:
        yield _truth(node, line, negated)


def _truth(node: ast.expr, line: int, negated: bool) -> Assertion:
    return Assertion(line, "truth", code(node), "falsy" if negated else "truthy", names_in(node), "")


def _always_true(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return bool(node.value)
    if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
        return bool(node.elts)
    return isinstance(node, (ast.Lambda, ast.GeneratorExp)) or (isinstance(node, ast.Dict) and bool(node.keys))


def _called(node: ast.Call, line: int, negated: bool) -> Assertion:
    name, args = last_name(node.func), node.args
    if negated or not name:
        return _truth(node, line, negated)
    if name in ("isinstance", "issubclass") and len(args) == 2:
        always = dotted(args[1]) == "object"
        return Assertion(line, "nothing" if always else "type", code(args[0]), code(args[1]), names_in(args[0]), "")
    if name in ("hasattr", "callable") and args:
        return Assertion(line, "present", code(args[0]), code(args[-1]), names_in(*args), "")
    if name in ("startswith", "endswith") and isinstance(node.func, ast.Attribute) and args:
        return Assertion(line, "contains", code(node.func.value), code(args[0]), names_in(node.func.value), "")
    if name in ("isclose", "allclose") and len(args) > 1:
        slack = max((_number(key.value) for key in node.keywords), default=DEFAULT_TOLERANCE)
        return Assertion(line, "close", code(args[0]), code(args[1]), names_in(args[0]), "", slack)
    return _truth(node, line, negated)


_ORDER = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)


def _compared(node: ast.Compare, line: int, negated: bool) -> Assertion:
    left, right, op = node.left, node.comparators[0], node.ops[0]
    if len(node.ops) > 1:
        kind: Kind = "order" if isinstance(op, _ORDER) else "equal"
        middle = node.comparators[0] if isinstance(op, _ORDER) else left
        return Assertion(line, kind, code(middle), code(node), names_in(middle), "")
    if isinstance(op, (ast.In, ast.NotIn)):
        return _membership(left, right, line, isinstance(op, ast.NotIn) != negated)
    if _literal(left) and not _literal(right):
        left, right = right, left
    same = code(left) == code(right)
    if (isinstance(op, (ast.Eq, ast.Is)) and not negated) or (isinstance(op, (ast.NotEq, ast.IsNot)) and negated):
        return (
            Assertion(line, "nothing", code(left), code(right), frozenset(), "") if same else equal(left, right, line)
        )
    if isinstance(op, (ast.IsNot, ast.NotEq, ast.Eq, ast.Is)):
        none = isinstance(right, ast.Constant) and right.value is None
        return Assertion(line, "present" if none else "differs", code(left), code(right), names_in(left), "")
    return _ordered(node, line, negated)


def _ordered(node: ast.Compare, line: int, negated: bool) -> Assertion:
    left, right, op = node.left, node.comparators[0], node.ops[0]
    if (pair := _distance(left)) is not None and isinstance(op, (ast.Lt, ast.LtE)) and not negated:
        return Assertion(line, "close", code(pair[0]), code(pair[1]), names_in(pair[0]), "", _number(right))
    length = isinstance(left, ast.Call) and dotted(left.func) == "len"
    if length and isinstance(op, ast.GtE) and isinstance(right, ast.Constant) and right.value == 0:
        return Assertion(line, "nothing", code(left), code(right), frozenset(), "")
    sign = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}[type(op)]
    subject, bound = (right, left) if _literal(left) else (left, right)
    return Assertion(line, "order", code(subject), f"{sign} {code(bound)}", names_in(subject), "")


def _distance(node: ast.expr) -> tuple[ast.expr, ast.expr] | None:
    """The two sides of `abs(a - b)`."""
    if isinstance(node, ast.Call) and dotted(node.func) in ("abs", "math.fabs") and len(node.args) == 1:
        inner = node.args[0]
        if isinstance(inner, ast.BinOp) and isinstance(inner.op, ast.Sub):
            return inner.left, inner.right
    return None


def _membership(left: ast.expr, right: ast.expr, line: int, negated: bool) -> Assertion:
    if negated:
        return Assertion(line, "differs", code(right), code(left), names_in(right), "")
    if isinstance(right, (ast.Tuple, ast.List, ast.Set)) or _is_range(right):
        count = len(right.elts) if isinstance(right, (ast.Tuple, ast.List, ast.Set)) else 1000
        if count == 1:
            return (
                equal(left, right.elts[0], line)
                if isinstance(right, (ast.Tuple, ast.List, ast.Set))
                else _truth(left, line, False)
            )
        return Assertion(line, "one of", code(left), code(right), names_in(left), "", count)
    return Assertion(line, "contains", code(right), code(left), names_in(right), "")


def _is_range(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and dotted(node.func) == "range"


def equal(left: ast.expr, right: ast.expr, line: int) -> Assertion:
    """An equality; a tolerance or a wildcard in what is expected says how loose it is."""
    if isinstance(left, ast.Call) and last_name(left.func) == "approx":
        left, right = right, left
    if isinstance(right, ast.Call) and last_name(right.func) == "approx":
        values = [key.value for key in right.keywords if key.arg in ("rel", "abs")] + right.args[1:]
        slack = max(map(_number, values), default=DEFAULT_TOLERANCE)
        expected = right.args[0] if right.args else None
        return Assertion(line, "close", code(left), code(expected), names_in(left), "", slack)
    if code(right) in _WILDCARDS:
        return Assertion(line, "nothing", code(left), code(right), names_in(left), "")
    if isinstance(left, ast.Call) and dotted(left.func) == "type" and left.args:
        return Assertion(line, "type", code(left.args[0]), code(right), names_in(left.args[0]), "")
    kind: Kind = "equal"
    return Assertion(line, kind, code(left), code(right), names_in(left), "", _wildcards(right))


def _wildcards(node: ast.AST) -> float:
    return float(sum(code(one) in _WILDCARDS for one in ast.walk(node) if isinstance(one, (ast.Name, ast.Attribute))))


def _method(name: str, call: ast.Call, args: Sequence[ast.expr]) -> Iterator[Assertion]:
    line = call.lineno
    if name == "fail":
        yield Assertion(line, "raises", "unreachable", "", frozenset(), "")
    elif name in ("assertTrue", "assertFalse") and args:
        yield from _of(args[0], line, name == "assertFalse")
    elif name == "assertIsNone" and args:
        yield equal(args[0], ast.Constant(None), line)
    elif name in ("assertIn", "assertNotIn") and len(args) > 1:
        yield _membership(args[0], args[1], line, name == "assertNotIn")
    elif name in ("assertAlmostEqual", "assertAlmostEquals") and len(args) > 1:
        yield _almost(call, args)
    elif len(args) > 1:
        yield _two(name, args, line)
    elif args:
        yield Assertion(line, _METHODS.get(name, "custom"), code(args[0]), "", names_in(args[0]), "")


def _two(name: str, args: Sequence[ast.expr], line: int) -> Assertion:
    """A method that compares its first two arguments, in whichever order they are given."""
    left, right = args[0], args[1]
    if _literal(left) and not _literal(right):
        left, right = right, left
    kind = _METHODS.get(name, "custom")
    if kind == "equal" and code(left) != code(right):
        return equal(left, right, line)
    same: Kind = "nothing" if kind == "equal" else kind
    return Assertion(line, same, code(left), code(right), names_in(left), "")


def _almost(call: ast.Call, args: Sequence[ast.expr]) -> Assertion:
    keywords = {key.arg: key.value for key in call.keywords}
    places = keywords.get("places") or (args[2] if len(args) > 2 else None)
    slack = 10.0 ** -max(min(_number(places), 99.0), -99.0) if places is not None else 1e-7
    slack = _number(keywords["delta"]) if "delta" in keywords else slack
    return Assertion(call.lineno, "close", code(args[0]), code(args[1]), names_in(args[0]), "", slack)


def _literal(node: ast.AST) -> bool:
    """Whether code is a value written out, whatever lies in it."""
    if isinstance(node, ast.UnaryOp):
        return _literal(node.operand)
    if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
        return all(map(_literal, node.elts))
    return isinstance(node, (ast.Constant, ast.Dict, ast.JoinedStr))


def _number(node: ast.AST) -> float:
    """The number that code stands for; infinite where it is not written out, so it never looks tighter than it is."""
    try:
        value = ast.literal_eval(code(node))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return math.inf
    try:
        return float(value) if isinstance(value, (int, float)) else math.inf
    except OverflowError:
        return math.inf
