"""YAML that people write, read strictly: every key with its line, nothing constructed but plain values."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from backend_crew.crew.errors import ConfigError

_MAX_DEPTH, _MAX_NODES = 20, 20_000
#: Besides its own errors PyYAML lets out Python's, for "\UFFFFFFFF" or a thousand opening brackets.
_NOT_YAML = (yaml.YAMLError, ValueError, OverflowError, RecursionError)
_PLAIN_TAGS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong in a YAML file."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


class Lines(dict[str, Any]):
    """A mapping that remembers the line of each key."""

    def __init__(self) -> None:
        super().__init__()
        self.at: dict[str, int] = {}


@dataclass
class Report:
    """Collects faults, so that a person sees all of them at once."""

    file: str
    faults: list[Fault] = field(default_factory=list)
    nodes: int = 0

    def add(self, line: int, text: str) -> None:
        """One more fault; lines count from 1."""
        self.faults.append(Fault(self.file, line, text))


def read_file(folder: Path, report: Report) -> Lines:
    """The mapping in the file that the report is about; whatever is wrong with it is in the report."""
    try:
        text = (folder / report.file).read_text(encoding="utf-8")
    except FileNotFoundError:
        report.add(1, f"the file is missing; expected it in {folder}")
        return Lines()
    except (UnicodeDecodeError, OSError) as error:
        report.add(1, f"cannot be read: {error}")
        return Lines()
    return read_text(text, report)


def read_text(text: str, report: Report) -> Lines:
    """The mapping in a text, with the line of each key; whatever is wrong with it is in the report."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except _NOT_YAML as error:
        mark = getattr(error, "problem_mark", None)
        report.add(mark.line + 1 if mark else 1, f"not valid YAML: {_problem(error)}")
        return Lines()
    if not isinstance(node, yaml.MappingNode):
        report.add(
            1, "expected a mapping of names to definitions, found " + ("nothing" if node is None else "something else")
        )
        return Lines()
    return _mapping(node, report)


def read_mapping(text: str, name: str) -> dict[str, Any]:
    """A YAML or JSON mapping that a person wrote; raises ConfigError."""
    report = Report(name)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except _NOT_YAML as error:
        raise ConfigError(f"{name} is not valid YAML: {_problem(error)}") from error
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{name}: expected a mapping, one `name: value` a line")
    found = _mapping(node, report)
    if report.faults:
        raise ConfigError("\n".join(str(fault) for fault in report.faults))
    return dict(found)


def _problem(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return str(getattr(error, "problem", None) or error).splitlines()[0]


def _plain(node: yaml.Node, report: Report) -> bool:
    """Whether a value is small enough to read; an anchor that holds itself, or a bomb of anchors, is not."""
    report.nodes += 1
    if report.nodes == _MAX_NODES:
        report.add(node.start_mark.line + 1, f"more than {_MAX_NODES} values, anchors written out; make it smaller")
    return report.nodes < _MAX_NODES


def _mapping(node: yaml.MappingNode, report: Report, depth: int = 0) -> Lines:
    result = Lines()
    _untagged(node, report)
    for key, value in node.value:
        # a lone surrogate could not be printed in a message
        name = str(key.value if isinstance(key, yaml.ScalarNode) else "?").encode("utf-8", "backslashreplace").decode()
        if name in result.at:
            report.add(key.start_mark.line + 1, f"{name!r} appears twice; the first is on line {result.at[name]}")
        result.at[name] = key.start_mark.line + 1
        result[name] = _value(value, report, depth + 1)
    return result


def _untagged(node: yaml.Node, report: Report) -> None:
    """A mapping or list that names a type (!!python/object and its like) is no plain data."""
    if not node.tag.startswith(_PLAIN_TAGS):
        report.add(node.start_mark.line + 1, f"the tag {node.tag} is not read here; write plain values")


def _value(node: yaml.Node, report: Report, depth: int = 0) -> Any:
    if depth > _MAX_DEPTH or not _plain(node, report):
        if depth > _MAX_DEPTH:
            report.add(node.start_mark.line + 1, "nested too deeply, or an anchor that holds itself; write it out")
        return None
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, report, depth)
    if isinstance(node, yaml.SequenceNode):
        _untagged(node, report)
        return [_value(item, report, depth + 1) for item in node.value]
    loader = yaml.SafeLoader("")
    try:
        value = loader.construct_object(node)
        str(value).encode()
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, OverflowError) as error:
        # PyYAML lets Python's own errors out of 0x_, 2001-99-99 and !!timestamp words
        report.add(node.start_mark.line + 1, f"not a plain value: {_problem(error)}; put it in quotes")
        return None
    return value


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that a misspelt one most likely stands for."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)), None)


def suggestion(name: str, known: Iterable[str]) -> str:
    """' - did you mean X?', or nothing."""
    close = closest(name, known)
    return f" - did you mean {close!r}?" if close else ""
