"""The approved contract against what was built: missing, extra and changed operations, each a finding."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from backend_crew.tools.change_finding import ChangeFinding
from backend_crew.tools.contract.built import BuiltApi
from backend_crew.tools.contract.matching import Difference, Matching
from backend_crew.tools.contract.one_operation import compare_operation
from backend_crew.tools.contract.operations import Operation, operations_of

_PLACES = 8
_FIX_CONTRADICTS = "change the code, or have the contract changed and approved again"
FIX_UNKNOWN = "give the application what it lacks (--sandbox-env NAME=VALUE, --python), or compare the code with the contract yourself"
_FIX_UNDESCRIBED = (
    "compare what was not compared with the contract yourself; the calls of the running application show a part"
)
_FIX_SILENT = "declare it in the code (a response model, a constraint, a status), so that callers can rely on it"


@dataclass(frozen=True)
class _Sides:
    """The three interfaces of one comparison; `before` is None where it is not known."""

    approved: Mapping[str, object]
    built: BuiltApi
    before: BuiltApi | None


def compare(approved: Mapping[str, object], built: BuiltApi, before: BuiltApi | None) -> tuple[ChangeFinding, ...]:
    """What `built` has otherwise than the approved document; `before` is the tree's interface before the change.

    Contradictions are errors. Where the built interface is silent, or offers more than was promised, a warning or a
    note says so: a run of the application has to show the rest. With `built` unknown there is one finding that says so.
    """
    sides = _Sides(approved, built, before)
    if built.source == "none":
        return (
            _finding(
                built, None, "not-compared", "warning", f"the built API is not known: {built.reason}", FIX_UNKNOWN
            ),
        )
    promised = operations_of(approved)
    found = built.operations(promised)
    findings: list[ChangeFinding] = []
    for operation in promised:
        match = _served(operation, found)
        if match is None:
            findings.append(_missing(sides, operation, found))
        else:
            findings += _operation(sides, operation, match)
    findings += _beyond(sides, promised, found)
    if built.source != "openapi":
        text = (
            "only methods and paths were compared: parameters, bodies, statuses and authentication are unknown, "
            f"because {built.reason}"
        )
        findings.append(_finding(built, None, "not-compared", "warning", text, _FIX_UNDESCRIBED))
    return tuple(dict.fromkeys(findings))


def _served(operation: Operation, found: Sequence[Operation]) -> Operation | None:
    same = [one for one in found if one.key == operation.key]
    exact = [one for one in same if one.path.endswith("/") == operation.path.endswith("/")]
    return next(iter(exact or same), None)


def _missing(sides: _Sides, operation: Operation, found: Sequence[Operation]) -> ChangeFinding:
    methods = sorted({one.method for one in found if one.key[1] == operation.key[1]})
    tail = operation.key[1].split("/")[1:]
    elsewhere = [
        one.title
        for one in found
        if one.method == operation.method and len(tail) > 1 and one.key[1].split("/")[-len(tail) + 1 :] == tail[1:]
    ]
    hint = f"; the path has {', '.join(methods)}" if methods else f"; there is {elsewhere[0]}" if elsewhere else ""
    text = f"{operation.title}: in the contract, not in the built API{hint}"
    if sides.built.left_open:
        text += f"; the source leaves {sides.built.left_open} routes open, of which it may be one"
    severity = "warning" if sides.built.left_open else "error"
    return _finding(sides.built, None, "operation-missing", severity, text, "add the operation as the contract has it")


def _operation(sides: _Sides, promised: Operation, found: Operation) -> Iterator[ChangeFinding]:
    if promised.path.endswith("/") != found.path.endswith("/") and promised.path != "/":
        text = f"{promised.title}: the contract says {promised.path}, the app serves {found.path}: the slash at the end differs"
        yield _finding(
            sides.built, found, "trailing-slash", "error", text, "serve the path exactly as the contract has it"
        )
    if sides.built.source != "openapi":
        return
    if not found.answers:
        text = f"{found.title}: served, but the app's description leaves it out, so nothing else of it was compared"
        yield _finding(sides.built, found, "not-described", "warning", text, _FIX_SILENT)
        return
    yield from _findings(sides, promised, found, sides.approved)


def _findings(
    sides: _Sides, promised: Operation, found: Operation, document: Mapping[str, object]
) -> Iterator[ChangeFinding]:
    matching = Matching(document, sides.built.document)
    guarded = any(one.security for one in sides.built.operations())
    quiet: dict[tuple[str, str], list[Difference]] = {}
    for one in compare_operation(matching, promised, found, describes_auth=guarded):
        if one.kind == "contradicts":
            text = f"{promised.title}: {one.place}: {one.text}"
            yield _finding(sides.built, found, one.rule, "error", text, _FIX_CONTRADICTS)
        else:
            quiet.setdefault((one.kind, one.rule), []).append(one)
    for (kind, rule), ones in quiet.items():
        told = "; ".join(f"{one.place}: {one.text}" for one in ones[:_PLACES])
        more = f" and {len(ones) - _PLACES} more" if len(ones) > _PLACES else ""
        request = any(not one.place.startswith("answer") for one in ones)
        weak = "warning" if request or rule in ("schema", "field-extra", "not-compared") else "note"
        if kind == "silent":
            text = f"{promised.title}: the built API does not say what the contract promises: {told}{more}"
            yield _finding(sides.built, found, rule, "warning" if weak == "warning" else "note", text, _FIX_SILENT)
        else:
            text = f"{promised.title}: the built API has more than the contract: {told}{more}"
            fix = "take it out, or have it added to the contract"
            yield _finding(sides.built, found, rule, "warning" if weak == "warning" else "note", text, fix)


def _beyond(sides: _Sides, promised: Sequence[Operation], found: Sequence[Operation]) -> Iterator[ChangeFinding]:
    """What the contract does not name: new operations, operations that are gone, operations that changed."""
    named = {one.key for one in promised}
    known = (
        {one.key: one for one in sides.before.operations(promised)}
        if sides.before and sides.before.source != "none"
        else None
    )
    for one in found:
        if one.key in named:
            continue
        if known is None:
            text = f"{one.title}: not in the contract; whether it was there before is not known"
            yield _finding(sides.built, one, "operation-extra", "warning", text, "")
        elif one.key not in known:
            text = f"{one.title}: new in this change and not in the contract"
            yield _finding(
                sides.built, one, "operation-extra", "error", text, "remove it, or have it added to the contract"
            )
        elif sides.built.source == "openapi" and one.answers and known[one.key].answers:
            yield from _changed(sides, known[one.key], one)
    kept = {one.key for one in found}
    for key, one in (known or {}).items():
        if key not in kept and key not in named:
            text = f"{one.title}: was there before the change and is gone, which the contract does not say"
            yield _finding(
                sides.built, None, "operation-removed", "error", text, "put it back, or have its end approved"
            )


def _changed(sides: _Sides, before: Operation, now: Operation) -> Iterator[ChangeFinding]:
    assert sides.before is not None
    told = [one.text for one in _findings(sides, before, now, sides.before.document) if one.severity == "error"]
    if told:
        told = [text.replace("in the contract", "before").replace("the contract", "it before") for text in told]
        text = f"changed without being in the contract: {'; '.join(told[:_PLACES])}"
        yield _finding(
            sides.built, now, "operation-changed", "warning", text, "have the change approved as part of the contract"
        )


def _finding(
    built: BuiltApi,
    operation: Operation | None,
    rule: str,
    severity: str,
    text: str,
    fix: str,
) -> ChangeFinding:
    route = built.route(operation) if operation else None
    level = {"error": "error", "warning": "warning"}.get(severity, "note")
    return ChangeFinding(
        "contract",
        rule,
        level,  # type: ignore[arg-type]  # one of the three words by the line above
        route.file if route else "",
        route.line if route else 0,
        text,
        fix,
    )
