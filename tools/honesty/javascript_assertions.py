"""What a JavaScript or TypeScript assertion demands: expect, node:assert and tap, chai, supertest."""

from collections.abc import Sequence

from tree_sitter import Node

from backend_crew.tools.honesty.javascript_code import (
    arguments,
    callee,
    chain,
    is_literal,
    line_of,
    names_in,
    source,
    string_of,
    walk,
)
from backend_crew.tools.honesty.testcode import Assertion, Kind

_TEXT = 160
_MATCHERS: dict[str, Kind] = {
    **dict.fromkeys(
        (
            "toBe", "toEqual", "toStrictEqual", "toHaveLength", "toBeNull", "toBeUndefined", "toBeNaN",
            "toHaveBeenCalledWith", "toHaveBeenNthCalledWith", "toHaveBeenLastCalledWith", "toHaveBeenCalledTimes",
            "toHaveBeenCalledOnceWith", "toHaveReturnedWith", "toMatchInlineSnapshot", "toHaveStatus",
            "equal", "equals", "eql", "deep.equal", "null", "undefined", "true", "false", "lengthOf",
        ),
        "equal",
    ),
    **dict.fromkeys(("toMatchObject", "toHaveProperty", "toMatchSnapshot", "property", "include.keys", "keys"), "partial"),
    **dict.fromkeys(("toContain", "toContainEqual", "toMatch", "include", "contain", "match", "string"), "contains"),
    **dict.fromkeys(
        ("toBeGreaterThan", "toBeGreaterThanOrEqual", "toBeLessThan", "toBeLessThanOrEqual", "above", "below", "least", "most", "within"),
        "order",
    ),
    **dict.fromkeys(("toBeCloseTo", "closeTo", "approximately"), "close"),
    **dict.fromkeys(("toBeInstanceOf", "toBeTypeOf", "a", "an", "instanceof", "instanceOf"), "type"),
    **dict.fromkeys(("toBeDefined", "exist"), "present"),
    **dict.fromkeys(("toBeTruthy", "toBeFalsy", "ok", "empty"), "truth"),
    **dict.fromkeys(("toHaveBeenCalled", "toBeCalled", "called", "calledOnce", "toHaveReturned"), "called"),
    **dict.fromkeys(("toThrow", "toThrowError", "toThrowErrorMatchingInlineSnapshot", "throw", "rejectedWith"), "raises"),
}  # fmt: skip
_ASSERTS: dict[str, Kind] = {
    **dict.fromkeys(
        (
            "equal", "strictEqual", "deepEqual", "deepStrictEqual", "equals", "same", "strictSame", "strictDeepEqual", "is",
            "isNull", "isUndefined", "isTrue", "isFalse", "lengthOf", "deepEquals", "strictDeepEquals",
        ),
        "equal",
    ),
    **dict.fromkeys(("match", "includes", "include", "matches"), "contains"),
    **dict.fromkeys(("partialDeepStrictEqual", "has", "hasStrict", "property"), "partial"),
    **dict.fromkeys(("notEqual", "notStrictEqual", "notDeepEqual", "notDeepStrictEqual", "not", "notSame", "doesNotMatch", "notOk", "error", "ifError"), "differs"),
    **dict.fromkeys(("ok", "assert", "true", "isOk"), "truth"),
    **dict.fromkeys(("isAbove", "isBelow", "isAtLeast", "isAtMost"), "order"),
    **dict.fromkeys(("closeTo", "approximately"), "close"),
    **dict.fromkeys(("type", "typeOf", "instanceOf", "isArray", "isObject", "isString", "isNumber"), "type"),
    **dict.fromkeys(("exists", "isDefined", "isNotNull"), "present"),
    **dict.fromkeys(("throws", "rejects"), "raises"),
    **dict.fromkeys(("fail",), "raises"),
}  # fmt: skip
_WILD = (
    "expect.anything",
    "expect.any",
    "expect.objectContaining",
    "expect.arrayContaining",
    "expect.stringContaining",
    "expect.stringMatching",
    "mock.match.any",
)
_ASSERT_ROOTS = frozenset({"assert", "t", "tt", "test", "tap", "should", "strict", "assertStrict"})
_PLAIN = frozenset(
    {"strictEqual", "deepStrictEqual", "deepEqual", "notStrictEqual", "notDeepStrictEqual", "doesNotThrow"}
)
"""Methods that only assertion libraries have, whatever the variable is called."""
_TAP_ROOTS = frozenset({"t", "tt", "test", "tap"})


def shown(node: Node) -> str:
    """Code as it is shown in a finding."""
    text = source(node)
    return text if len(text) <= _TEXT else text[: _TEXT - 1] + "…"


def of_call(call: Node) -> Assertion | None:
    """What a call demands, None where it is no assertion; only the outermost call of a chain is one."""
    names = chain(callee(call))
    if not names:
        return None
    if "expect" in names[:1] and (start := _expect(call)) is not None:
        return _expected(call, names, start)
    if names[0] in _ASSERT_ROOTS and ((len(names) == 1 and names[0] == "assert") or names[-1] in _ASSERTS):
        if names[0] in _TAP_ROOTS and not (len(names) == 2 or names[1:2] == ["assert"]):
            return None
        return _asserted(call, names)
    if len(names) == 2 and names[-1] in _PLAIN:
        return _asserted(call, names)
    if names[-1] == "expect" and len(names) > 1:
        return _supertest(call)
    if "should" in names[1:]:
        matcher = names[-1]
        kind: Kind = _MATCHERS.get(matcher, "custom")
        given = arguments(call)
        return Assertion(
            line_of(call), kind, names[0], source(given[0]) if given else "", frozenset(names[:1]), shown(call)
        )
    return None


def of_property(node: Node) -> Assertion | None:
    """What a chai property demands: `expect(x).to.be.true`, a statement without a call at its end."""
    if (start := _expect(node)) is None:
        return None
    return _expected(node, chain(node), start)


def _expect(node: Node | None) -> Node | None:
    """The call `expect(…)` at the root of a chain."""
    while node is not None:
        if node.type == "call_expression":
            function = callee(node)
            if function is not None and function.type == "identifier":
                return node if source(function) == "expect" else None
            node = function
        elif node.type == "member_expression":
            node = node.child_by_field_name("object")
        elif node.type in ("await_expression", "parenthesized_expression") and node.named_children:
            node = node.named_children[0]
        else:
            return None
    return None


def _expected(call: Node, names: Sequence[str], start: Node) -> Assertion | None:
    subjects = arguments(start)
    subject = subjects[0] if subjects else None
    matcher = names[-1]
    if start == call or subject is None:
        return None
    kind: Kind = _MATCHERS.get(matcher, "custom")
    given = arguments(call) if call.type == "call_expression" else []
    expected = given[0] if given else None
    where, text, line = names_in(subject), shown(call), line_of(call)
    if "not" in names[1:-1]:
        kind = {"toThrow": "differs", "toBeNull": "present", "toBeUndefined": "present"}.get(matcher, "differs")  # type: ignore[assignment]  # literals of Kind, which the dictionary forgets
        return Assertion(line, kind, source(subject), source(expected), where, text)
    if kind in ("equal", "truth") and _cannot_fail(subject, expected, matcher):
        return Assertion(line, "nothing", source(subject), source(expected), frozenset(), text)
    if kind == "equal" and expected is not None:
        return equality(line, subject, expected, text)
    if kind == "close":
        digits = _number(given[1]) if len(given) > 1 else 2.0
        slack = 0.5 * 10.0 ** -max(min(digits, 99.0), -99.0) if matcher == "toBeCloseTo" else digits
        return Assertion(line, kind, source(subject), source(expected), where, text, slack)
    if kind == "raises":
        return Assertion(line, kind, source(subject), source(expected), where, text, float(expected is None))
    spelled = {
        "toBeNull": "null",
        "null": "null",
        "true": "true",
        "false": "false",
        "toBeUndefined": "undefined",
        "undefined": "undefined",
        "toBeTruthy": "truthy",
        "toBeFalsy": "falsy",
        "ok": "truthy",
        "empty": "falsy",
    }
    return Assertion(line, kind, source(subject), source(expected) or spelled.get(matcher, ""), where, text)


def _cannot_fail(subject: Node, expected: Node | None, matcher: str) -> bool:
    if expected is not None:
        return source(subject) == source(expected)
    return is_literal(subject) and matcher in ("toBeTruthy", "toBeDefined", "ok", "true", "exist")


def equality(line: int, subject: Node, expected: Node, text: str) -> Assertion:
    """An equality; wildcards in what is expected say how loose it is."""
    wild = source(expected).startswith(("expect.anything", "expect.any("))
    if wild:
        kind: Kind = "type" if "expect.any(" in source(expected) else "present"
        return Assertion(line, kind, source(subject), source(expected), names_in(subject), text)
    found = sum(source(one).startswith(_WILD) for one in walk(expected) if one.type == "call_expression")
    kind = "partial" if source(expected).startswith(_WILD) else "equal"
    if subject.type == "unary_expression" and source(subject).startswith("typeof"):
        kind = "type"
    return Assertion(line, kind, source(subject), source(expected), names_in(subject), text, float(found))


def _asserted(call: Node, names: Sequence[str]) -> Assertion | None:
    given = arguments(call)
    kind, line, text = _ASSERTS.get(names[-1], "custom"), line_of(call), shown(call)
    if names[-1] == "fail":
        return Assertion(line, "raises", "unreachable", "", frozenset(), text)
    if not given:
        return None
    subject, expected = given[0], given[1] if len(given) > 1 else None
    if kind == "truth":
        return of_truth(subject, line, text)
    if expected is not None and is_literal(subject) and not is_literal(expected):
        subject, expected = expected, subject
    if kind == "raises":
        matched = expected if expected is not None and string_of(expected) is None else None
        return Assertion(line, kind, names[-1], source(matched), names_in(subject), text, float(matched is None))
    if kind == "equal" and expected is not None:
        if source(subject) == source(expected):
            return Assertion(line, "nothing", source(subject), source(expected), frozenset(), text)
        return equality(line, subject, expected, text)
    return Assertion(line, kind, source(subject), source(expected), names_in(subject), text)


def of_truth(node: Node, line: int, text: str) -> Assertion:
    """What a value that has to be true demands, by the comparison that it is."""
    while node.type == "parenthesized_expression" and node.named_children:
        node = node.named_children[0]
    if node.type != "binary_expression":
        fails = is_literal(node) and source(node) not in ("false", "null", "undefined", "0", "''", '""')
        negated = node.type == "unary_expression" and source(node).startswith("!")
        kind: Kind = "nothing" if fails else "truth"
        return Assertion(line, kind, source(node).lstrip("!"), "falsy" if negated else "truthy", names_in(node), text)
    left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
    sign = source(node.child_by_field_name("operator"))
    if left is None or right is None:
        return Assertion(line, "truth", source(node), "truthy", names_in(node), text)
    if is_literal(left) and not is_literal(right):
        left, right = right, left
    if sign in ("==", "==="):
        if source(left) == source(right):
            return Assertion(line, "nothing", source(left), source(right), frozenset(), text)
        return equality(line, left, right, text)
    if sign == "||":
        always = any(is_literal(one) and source(one) == "true" for one in (left, right))
        inner = of_truth(left, line, text)
        return Assertion(line, "nothing" if always else "one of", inner.subject, source(node), inner.names, text, 2.0)
    kinds: dict[str, Kind] = {
        "!=": "differs",
        "!==": "differs",
        "<": "order",
        ">": "order",
        "<=": "order",
        ">=": "order",
        "instanceof": "type",
        "in": "present",
    }
    kind = kinds.get(sign, "truth")
    if kind == "differs" and source(right) in ("null", "undefined"):
        kind = "present"
    return Assertion(line, kind, source(left), f"{sign} {source(right)}", names_in(left), text)


def _supertest(call: Node) -> Assertion:
    given = arguments(call)
    text, line = f".expect({', '.join(source(one) for one in given)})", line_of(call)
    last = call.child_by_field_name("arguments")
    line = line_of(last) if last is not None else line
    if given and given[0].type == "number":
        return Assertion(line, "equal", "response.status", source(given[0]), frozenset({"status"}), text)
    if len(given) > 1 and (header := string_of(given[0])) is not None:
        kind: Kind = "contains" if given[1].type == "regex" else "equal"
        return Assertion(
            line, kind, f"response.headers[{header!r}]", source(given[1]), frozenset({"header", header}), text
        )
    if given and given[0].type in ("arrow_function", "function_expression", "identifier"):
        return Assertion(line, "custom", text, "", names_in(*given), text)
    return Assertion(line, "equal", "response.body", source(given[0]) if given else "", frozenset({"body"}), text)


def _number(node: Node) -> float:
    try:
        return float(source(node))
    except ValueError:
        return 0.0
