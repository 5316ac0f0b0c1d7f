"""Makes dataclasses again of what `dataclasses.asdict` and JSON made of them."""

import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

Made = TypeVar("Made")


def revive(kind: type[Made], data: object) -> Made:
    """An object of `kind` from plain data; TypeError, KeyError or ValueError where the data has another form."""
    return cast(Made, _revived(kind, data))


def _revived(kind: Any, data: Any) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if is_dataclass(kind) and isinstance(kind, type):
        hints = get_type_hints(kind)
        return kind(**{one.name: _revived(hints[one.name], data[one.name]) for one in fields(kind)})
    if origin in (Union, types.UnionType):
        return None if data is None else _revived(next(one for one in inner if one is not type(None)), data)
    if origin is tuple:
        _check(data, list)
        kinds = [inner[0]] * len(data) if inner[-1] is Ellipsis else inner
        return tuple(_revived(one, item) for one, item in zip(kinds, data, strict=True))
    if origin in (Mapping, dict):
        _check(data, dict)
        return {_revived(inner[0], key): _revived(inner[1], value) for key, value in data.items()}
    if origin is Sequence:
        _check(data, list)
        return tuple(_revived(inner[0], item) for item in data)
    _check(data, kind)
    return data


def _check(data: object, kind: Any) -> None:
    if not isinstance(data, kind):
        raise TypeError(f"expected {kind}, found {type(data).__name__}")
