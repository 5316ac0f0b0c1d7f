"""The hits of one set of files, whatever their languages."""

import ast
from collections.abc import Mapping
from pathlib import PurePosixPath

from backend_crew.tools.audit.bandit_run import bandit_hits
from backend_crew.tools.audit.code_secrets import secret_hits
from backend_crew.tools.audit.node_rules import node_hits
from backend_crew.tools.audit.python_rules import python_hits
from backend_crew.tools.audit.rules import Hit
from backend_crew.tools.errors import ToolFault
from backend_crew.tools.index.grammars import BY_SUFFIX, parse

_NODE = ("JavaScript", "TypeScript", "TSX")


def hits_of(texts: Mapping[str, str]) -> tuple[dict[str, list[Hit]], list[str]]:
    """Hits by path, and what could not be looked at, in words."""
    found: dict[str, list[Hit]] = {path: [] for path in texts}
    unseen: list[str] = []
    python: dict[str, str] = {}
    for path, text in texts.items():
        found[path] += secret_hits(text)
        language = BY_SUFFIX.get(PurePosixPath(path).suffix, "")
        try:
            if language == "Python":
                found[path] += python_hits(ast.parse(text), path)
                python[path] = text
            elif language in _NODE:
                found[path] += node_hits(parse(language, text.encode()).root_node)
            elif language:
                unseen.append(f"{path}: no rules for {language}; secrets alone were looked for")
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            unseen.append(f"{path}: cannot be parsed, so no rule was applied")
    try:
        for path, hits in bandit_hits(python).items():
            found[path] += hits
    except (ToolFault, ValueError, KeyError, TypeError) as error:
        unseen.append(f"bandit's rules were not applied: {error}")
    return found, unseen
