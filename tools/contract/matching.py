"""Whether the values of a built schema keep what an approved one promised, in the direction in which they travel.

Three ways to differ: the built schema contradicts the approved one; it says less, and code may still do what was
promised; it says more, which callers can live with.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from backend_crew.tools.contract.shapes import Schema, Shape, read_schema

Way = Literal["request", "response"]
Kind = Literal["contradicts", "silent", "more"]
#: Names that no response may have unless the contract names them.
_SECRETS = ("password", "secret", "hash", "private_key", "api_key", "apikey", "salt", "ssn")
_STEPS = 20_000


@dataclass(frozen=True)
class Difference:
    """One difference at a place like "body.items[].total"."""

    kind: Kind
    rule: str
    place: str
    text: str


@dataclass
class Matching:
    """One comparison of two documents: where their references lead, and how much of it may still be done."""

    approved: Mapping[str, object]
    built: Mapping[str, object]
    steps: int = _STEPS
    _open: set[tuple[int, int, str]] = field(default_factory=set)

    def differences(
        self, approved: object, built: object, way: Way, place: str, *, optional: bool = False
    ) -> Iterator[Difference]:
        """What differs between two schemas of the two documents; an `optional` value may be missing altogether."""
        # Schemas that contain themselves: a pair that is being compared further up says nothing new here.
        pair = (id(approved), id(built), way)
        if pair in self._open:
            return
        self.steps -= 1
        if self.steps < 0:
            yield Difference("silent", "not-compared", place, "too large to be compared to the end")
            return
        self._open.add(pair)
        try:
            promised, found = read_schema(self.approved, approved), read_schema(self.built, built)
            if not promised.unknown and not found.unknown:
                yield from _nulls(promised, found, way, place, optional)
            yield from self._schemas(promised, found, way, place)
        finally:
            self._open.discard(pair)

    def needs_fields(self, approved: object) -> bool:
        """Whether a body of the contract cannot be empty."""
        return any(shape.required for shape in read_schema(self.approved, approved).plain)

    def says_something(self, built: object) -> bool:
        """Whether a schema of the built document describes values other than null."""
        found = read_schema(self.built, built)
        return bool(found.plain) and not found.unknown

    def _schemas(self, promised: Schema, found: Schema, way: Way, place: str) -> Iterator[Difference]:
        if promised.unknown:
            return
        if found.unknown:
            yield Difference("silent", "schema", place, "the built API does not describe it")
            return
        yield from _default(promised, found, place)
        # Every value that travels has to fit: of a request what the contract allows, of a response what was built.
        givers, takers = (promised.plain, found.plain) if way == "request" else (found.plain, promised.plain)
        if not givers or not takers:
            if promised.plain and not found.plain:
                yield Difference("contradicts", "type", place, "the built API has null alone")
            return
        for giver in givers:
            tried = []
            for taker in takers:
                pair = (giver, taker) if way == "request" else (taker, giver)
                tried.append(list(self._shapes(*pair, way, place)))
                if not any(one.kind == "contradicts" for one in tried[-1]):
                    break
            # The alternative that comes closest says best what is wrong.
            yield from min(tried, key=lambda found: (sum(_WEIGHT[one.kind] for one in found), len(found)))

    def _shapes(self, promised: Shape, found: Shape, way: Way, place: str) -> Iterator[Difference]:
        if promised.type != found.type:
            yield from _types(promised, found, way, place)
            return
        yield from _enums(promised, found, place, way)
        if promised.enum is None:
            yield from _texts(promised, found, place)
        if promised.type == "array":
            if promised.known and found.known:
                yield from self.differences(promised.items, found.items, way, f"{place}[]")
            elif promised.known:
                yield Difference("silent", "schema", f"{place}[]", "the built API does not describe the items")
        if promised.type == "object":
            yield from self._objects(promised, found, way, place)

    def _objects(self, promised: Shape, found: Shape, way: Way, place: str) -> Iterator[Difference]:
        if not promised.known:
            return
        if not found.known:
            yield Difference("silent", "schema", place, "the built API does not describe the fields")
            return
        for name, schema in promised.fields.items():
            at = f"{place}.{name}"
            if name in found.fields:
                yield from self._field(promised, found, name, way, at)
            elif found.values is not None:
                yield from self.differences(schema, found.values, way, at)
            elif not _one_way(self.approved, schema, way):
                yield Difference(
                    "contradicts", "field-missing", at, "the contract has this field, the built API has not"
                )
        yield from self._others(promised, found, way, place)

    def _others(self, promised: Shape, found: Shape, way: Way, place: str) -> Iterator[Difference]:
        """Fields that the contract does not name one by one."""
        if promised.closed and not found.closed and way == "request":
            text = "the contract refuses unknown fields, the built API does not say so"
            yield Difference("silent", "closed", place, text)
        if promised.values is not None:
            values = [(f"{place}.*", found.values)] if found.values is not None else []
            named = [(f"{place}.{name}", raw) for name, raw in found.fields.items() if name not in promised.fields]
            for at, raw in (*values, *named):
                yield from self.differences(promised.values, raw, way, at)
            return
        for name in found.fields:
            if name not in promised.fields:
                yield from self._extra(promised, found, name, way, f"{place}.{name}")

    def _field(self, promised: Shape, found: Shape, name: str, way: Way, at: str) -> Iterator[Difference]:
        was, now = name in promised.required, name in found.required
        schema = read_schema(self.built, found.fields[name])
        if was and not now:
            if way == "request":
                yield Difference("contradicts", "required", at, "required in the contract, optional in the built API")
            elif schema.default is None and not schema.nullable:
                yield Difference(
                    "contradicts", "required", at, "the contract promises it always, the built API does not"
                )
        elif now and not was and way == "request":
            yield Difference("contradicts", "required", at, "optional in the contract, required by the built API")
        yield from self.differences(promised.fields[name], found.fields[name], way, at, optional=not was)

    def _extra(self, promised: Shape, found: Shape, name: str, way: Way, at: str) -> Iterator[Difference]:
        if _one_way(self.built, found.fields[name], way):
            return
        if way == "request":
            if name in found.required:
                yield Difference("contradicts", "field-extra", at, "required by the built API, not in the contract")
            else:
                kind: Kind = "contradicts" if promised.closed else "more"
                yield Difference(kind, "field-extra", at, "accepted by the built API, not in the contract")
        elif any(word in name.lower() for word in _SECRETS):
            yield Difference("contradicts", "field-extra", at, "looks like a secret and is not in the contract")
        elif promised.closed:
            yield Difference("contradicts", "field-extra", at, "the contract allows no other fields")
        else:
            yield Difference("more", "field-extra", at, "the contract does not have it")


_WEIGHT: Mapping[Kind, int] = {"contradicts": 100, "silent": 1, "more": 1}


def _one_way(document: Mapping[str, object], raw: object, way: Way) -> bool:
    """Whether a field is of the other direction alone: readOnly in a request, writeOnly in a response."""
    inner = raw if isinstance(raw, Mapping) else {}
    return inner.get("readOnly" if way == "request" else "writeOnly") is True or (
        way == "response" and read_schema(document, raw).secret
    )


def _nulls(promised: Schema, found: Schema, way: Way, place: str, optional: bool) -> Iterator[Difference]:
    """Null where it was not promised, or none where it was; a value that may be missing is often null instead."""
    if way == "request" and promised.nullable and not found.nullable:
        yield Difference("contradicts", "null", place, "the contract allows null, the built API does not")
    if way == "response" and found.nullable and not promised.nullable:
        kind: Kind = "silent" if optional else "contradicts"
        yield Difference(kind, "null", place, "may be null in the built API, not in the contract")


def _types(promised: Shape, found: Shape, way: Way, place: str) -> Iterator[Difference]:
    pair = (promised.type, found.type)
    if pair == ("number", "integer") and way == "response":
        return
    if pair == ("integer", "number") and way == "request":
        yield Difference("silent", "type", place, "the contract wants whole numbers, the built API takes any")
        return
    yield Difference("contradicts", "type", place, f"{promised.type} in the contract, {found.type} in the built API")


def _enums(promised: Shape, found: Shape, place: str, way: Way) -> Iterator[Difference]:
    if promised.enum is None:
        if found.enum is not None and way == "request":
            values = ", ".join(found.enum[:8])
            yield Difference(
                "contradicts", "enum", place, f"the built API takes only {values}, the contract does not say so"
            )
        return
    if found.enum is None:
        yield Difference("silent", "enum", place, f"the contract names the values {', '.join(promised.enum[:8])}")
        return
    missing = [value for value in promised.enum if value not in found.enum]
    extra = [value for value in found.enum if value not in promised.enum]
    if extra or (missing and way == "request"):
        more = f"; not in the contract: {', '.join(extra[:8])}" if extra else ""
        less = f"; missing: {', '.join(missing[:8])}" if missing else ""
        yield Difference("contradicts", "enum", place, "other values than in the contract" + less + more)
    elif missing:
        yield Difference("more", "enum", place, f"never {', '.join(missing[:8])}, which the contract names")


def _texts(promised: Shape, found: Shape, place: str) -> Iterator[Difference]:
    if promised.format and found.format != promised.format:
        if found.format:
            text = f"format {promised.format} in the contract, {found.format} in the built API"
            yield Difference("contradicts", "format", place, text)
        elif not found.pattern:
            yield Difference("silent", "format", place, f"the contract says format {promised.format}")
    elif found.format == "binary":
        yield Difference("contradicts", "format", place, "a file in the built API, a text in the contract")
    if promised.pattern and not found.pattern:
        yield Difference("silent", "pattern", place, f"the contract says pattern {promised.pattern[:80]}")
    for name in {**promised.limits, **found.limits}:
        was, now = promised.limits.get(name), found.limits.get(name)
        if was is not None and now is not None and was != now:
            text = f"{name} {was:g} in the contract, {now:g} in the built API"
            yield Difference("contradicts", "limit", place, text)
        elif was is not None and now is None:
            yield Difference("silent", "limit", place, f"the contract says {name} {was:g}")
        elif was is None and now is not None:
            yield Difference("more", "limit", place, f"{name} {now:g} is not in the contract")


def _default(promised: Schema, found: Schema, place: str) -> Iterator[Difference]:
    if promised.default is not None and found.default is not None and promised.default != found.default:
        text = f"default {promised.default[:80]} in the contract, {found.default[:80]} in the built API"
        yield Difference("contradicts", "default", place, text)
