"""JSON and YAML texts read as data: no aliases, no tags, no key twice, bounded depth."""

import json
import re
from collections.abc import Hashable
from typing import Any

import yaml

from backend_crew.tools.errors import ToolRetry

_DEPTH_LIMIT = 64
_YAML = "tag:yaml.org,2002:"


class _Loader(yaml.SafeLoader):
    """YAML 1.2's plain values (a date, `on` or `12:30` stays a text, as in JSON), keys as texts, nothing shared."""

    yaml_implicit_resolvers = {}  # noqa: RUF012  # the base class declares it without ClassVar
    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: object = self.peek_event()  # type: ignore[no-untyped-call]  # the stubs leave it open
        if getattr(event, "anchor", None) is not None:
            raise yaml.MarkedYAMLError(
                problem="anchors and aliases are not accepted; write the value out",
                problem_mark=getattr(event, "start_mark", None),
            )
        if self._depth >= _DEPTH_LIMIT:
            raise yaml.MarkedYAMLError(
                problem=f"nested deeper than {_DEPTH_LIMIT} levels; flatten it",
                problem_mark=getattr(event, "start_mark", None),
            )
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        found: dict[Hashable, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key has to be a text", problem_mark=key.start_mark)
            if key.value in found:
                raise yaml.MarkedYAMLError(problem=f"the key {key.value!r} is there twice", problem_mark=key.start_mark)
            found[key.value] = self.construct_object(value, deep=deep)
        return found


# What a plain value may mean, by its first characters.
for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", list("-+0123456789")),
    ("float", r"[-+]?[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?", list("-+0123456789")),
):
    _Loader.add_implicit_resolver(_YAML + _tag, re.compile(rf"^(?:{_pattern})$"), _first)


def read_document(text: str) -> object:
    """The value of a JSON or YAML text; ToolRetry says which line is wrong and why."""
    if text.lstrip().startswith(("{", "[")):
        try:
            value = json.loads(text, object_pairs_hook=_unique)
            _check_depth(value)
        except json.JSONDecodeError as error:
            raise ToolRetry(f"The document is not valid JSON: line {error.lineno}: {error.msg}.") from error
        except ValueError as error:
            raise ToolRetry(f"The document cannot be read: {error}.") from error
        except RecursionError as error:
            raise ToolRetry(f"The document is nested deeper than {_DEPTH_LIMIT} levels; flatten it.") from error
        return value
    try:
        return _Loader(text).get_single_data()
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        line, problem = _where(error)
        raise ToolRetry(f"The document is not YAML that can be read: line {line}: {problem}.") from error


def yaml_error(text: str) -> tuple[int, str] | None:
    """Line (from 1) and problem of a text that is not YAML, None for good YAML of any dialect, tags and all."""
    try:
        for _ in yaml.parse(text, Loader=yaml.SafeLoader):
            pass
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        return _where(error)
    return None


def _where(error: Exception) -> tuple[int, str]:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return error.problem_mark.line + 1, " ".join(str(error.problem or error.context or "not YAML").split())
    return 1, " ".join(str(error).split())[:200]


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} is there twice")
        found[key] = value
    return found


def _check_depth(value: object) -> None:
    level = [value]
    for _ in range(_DEPTH_LIMIT + 1):
        inner = [item for item in level if isinstance(item, (dict, list))]
        if not inner:
            return
        level = [child for item in inner for child in (item.values() if isinstance(item, dict) else item)]
    raise ValueError(f"nested deeper than {_DEPTH_LIMIT} levels; flatten it")
