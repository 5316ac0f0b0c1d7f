"""An approved GraphQL schema against the one that was built, both as SDL; compared as syntax trees, never executed."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from graphql import GraphQLError, print_ast
from graphql.language import ast as nodes
from graphql.language import parse

from backend_crew.tools.change_finding import ChangeFinding
from backend_crew.tools.errors import ToolError, ToolRetry
from backend_crew.tools.workspace import JUNK_FOLDERS, read_file

_SIZE, _TOKENS, _FILES = 1_000_000, 200_000, 200
_ROOTS = ("Query", "Mutation", "Subscription")
_FIX = "change the code, or have the contract changed and approved again"


@dataclass
class _Type:
    """One type: fields with their type as SDL, arguments by field, values of an enum or members of a union."""

    kind: str
    fields: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, dict[str, tuple[str, bool]]] = field(default_factory=dict)  # type, has a default
    values: set[str] = field(default_factory=set)


def root_fields(text: str) -> tuple[str, ...]:
    """The fields of the root types, as "Query.orders"; ToolRetry for a text that is not SDL."""
    types = _types(text)
    return tuple(f"{root}.{name}" for root in _ROOTS if root in types for name in types[root].fields)


def schema_file(root: Path) -> str:
    """The SDL files of a tree joined, "" where there is none."""
    found: list[str] = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(one for one in folders if one not in JUNK_FOLDERS)
        for name in sorted(names):
            if name.endswith((".graphql", ".graphqls", ".gql")) and len(found) < _FILES:
                path = os.path.relpath(os.path.join(folder, name), root)  # noqa: PTH118  # os.walk gives texts
                try:
                    data, _ = read_file(root, path.replace(os.sep, "/"), _SIZE)
                except (ToolError, OSError):
                    continue
                found.append(data.decode("utf-8", errors="replace"))
    return "\n".join(found)


def compare_graphql(approved: str, built: str, before: str | None) -> tuple[ChangeFinding, ...]:
    """What the built schema has otherwise than the approved one; ToolRetry where the approved one is not SDL."""
    promised = _types(approved)
    try:
        found = _types(built)
        known = _types(before) if before is not None else None
    except ToolRetry as error:
        return (_finding("not-compared", "warning", f"the built schema cannot be read: {error}"),)
    findings = list(_missing(promised, found))
    for root in _ROOTS:
        there, old = found.get(root, _Type("")), known.get(root, _Type("")) if known is not None else None
        for name in there.fields:
            if name in promised.get(root, _Type("")).fields or (old is not None and name in old.fields):
                continue
            words = "new in this change and not in the contract" if old is not None else "not in the contract"
            severity = "error" if old is not None else "warning"
            findings.append(_finding("operation-extra", severity, f"{root}.{name}: {words}"))
        for name in old.fields if old is not None else ():
            if name not in there.fields and name not in promised.get(root, _Type("")).fields:
                text = f"{root}.{name}: was there before the change and is gone, which the contract does not say"
                findings.append(_finding("operation-removed", "error", text))
    return tuple(findings)


def _missing(promised: Mapping[str, _Type], found: Mapping[str, _Type]) -> Iterator[ChangeFinding]:
    for name, wanted in promised.items():
        there = found.get(name)
        if there is None:
            yield _finding("type-missing", "error", f"{name}: in the contract, not in the built schema")
            continue
        if wanted.kind != there.kind:
            yield _finding("type", "error", f"{name}: {wanted.kind} in the contract, {there.kind} in the built schema")
        if wanted.values != there.values:
            differing = ", ".join(sorted(wanted.values ^ there.values))
            yield _finding("enum", "error", f"{name}: the values differ in {differing}")
        rule = "operation-missing" if name in _ROOTS else "field-missing"
        for one, type_ in wanted.fields.items():
            at = f"{name}.{one}"
            if one not in there.fields:
                yield _finding(rule, "error", f"{at}: in the contract, not in the built schema")
            elif not _keeps(type_, there.fields[one], wanted.kind):
                yield _finding(
                    "type", "error", f"{at}: {type_} in the contract, {there.fields[one]} in the built schema"
                )
            else:
                yield from _arguments(at, wanted.arguments.get(one, {}), there.arguments.get(one, {}))
        for one in there.fields if name not in _ROOTS else ():
            if one not in wanted.fields:
                needed = wanted.kind == "input" and there.fields[one].endswith("!")
                yield _finding("field-extra", "error" if needed else "warning", f"{name}.{one}: not in the contract")


def _keeps(promised: str, found: str, kind: str) -> bool:
    """Whether values still fit: an answer may be more certain to be there, an input less."""
    if promised == found:
        return True
    return (found == f"{promised}!") if kind != "input" else (promised == f"{found}!")


def _arguments(
    at: str, wanted: Mapping[str, tuple[str, bool]], there: Mapping[str, tuple[str, bool]]
) -> Iterator[ChangeFinding]:
    for name, (type_, _) in wanted.items():
        if name not in there:
            yield _finding("parameter-missing", "error", f"{at}({name}): in the contract, not in the built schema")
        elif not _keeps(type_, there[name][0], "input"):
            text = f"{at}({name}): {type_} in the contract, {there[name][0]} in the built schema"
            yield _finding("type", "error", text)
    for name, (type_, default) in there.items():
        if name not in wanted:
            needed = type_.endswith("!") and not default
            yield _finding("parameter-extra", "error" if needed else "warning", f"{at}({name}): not in the contract")


def _types(text: str) -> dict[str, _Type]:
    """The types of a text, extensions laid together with what they extend."""
    if len(text) > _SIZE:
        raise ToolRetry(f"The schema is larger than {_SIZE // 1000} kB.")
    try:
        document = parse(text, no_location=True, max_tokens=_TOKENS)
    except (GraphQLError, RecursionError) as error:
        raise ToolRetry(f"The schema is not SDL that can be read: {str(error).splitlines()[0]}") from error
    found: dict[str, _Type] = {}
    roots = dict(_renamed(document))
    for node in document.definitions:
        if not isinstance(node, nodes.TypeDefinitionNode | nodes.TypeExtensionNode):
            continue
        kind = node.kind.removesuffix("_definition").removesuffix("_extension").removesuffix("_type")
        name = roots.get(node.name.value, node.name.value)
        here = found.setdefault(name, _Type("input" if kind.startswith("input") else kind))
        for one in getattr(node, "fields", None) or ():
            here.fields[one.name.value] = print_ast(one.type)
            here.arguments[one.name.value] = {
                given.name.value: (print_ast(given.type), given.default_value is not None)
                for given in getattr(one, "arguments", None) or ()
            }
        here.values |= {one.name.value for one in getattr(node, "values", None) or ()}
        here.values |= {one.name.value for one in getattr(node, "types", None) or ()}
    return found


def _renamed(document: nodes.DocumentNode) -> Iterator[tuple[str, str]]:
    """Root types that have another name than usual."""
    for node in document.definitions:
        if isinstance(node, nodes.SchemaDefinitionNode):
            for one in node.operation_types:
                yield one.type.name.value, one.operation.value.capitalize()


def _finding(rule: str, severity: str, text: str) -> ChangeFinding:
    return ChangeFinding("contract", rule, "error" if severity == "error" else "warning", "", 0, text, _FIX)
