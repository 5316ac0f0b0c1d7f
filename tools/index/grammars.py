"""The tree-sitter grammars, each loaded once and only when a file of its language is parsed."""

from functools import cache
from importlib import import_module

from tree_sitter import Language, Parser, Query, Tree

# language → (package, function that gives the grammar)
_GRAMMARS = {
    "Python": ("tree_sitter_python", "language"),
    "JavaScript": ("tree_sitter_javascript", "language"),
    "TypeScript": ("tree_sitter_typescript", "language_typescript"),
    "TSX": ("tree_sitter_typescript", "language_tsx"),
    "Go": ("tree_sitter_go", "language"),
    "Java": ("tree_sitter_java", "language"),
    "Ruby": ("tree_sitter_ruby", "language"),
    "PHP": ("tree_sitter_php", "language_php"),
}

BY_SUFFIX = {
    ".py": "Python",
    ".js": "JavaScript",
    ".jsx": "JavaScript",
    ".mjs": "JavaScript",
    ".cjs": "JavaScript",
    ".ts": "TypeScript",
    ".mts": "TypeScript",
    ".cts": "TypeScript",
    ".tsx": "TSX",
    ".go": "Go",
    ".java": "Java",
    ".rb": "Ruby",
    ".php": "PHP",
}


@cache
def grammar(language: str) -> Language:
    """The grammar of one of the languages in BY_SUFFIX; KeyError for another."""
    package, function = _GRAMMARS[language]
    return Language(getattr(import_module(package), function)())


def parse(language: str, source: bytes) -> Tree:
    """The syntax tree of a source; broken code gives a tree with ERROR nodes, never an exception."""
    return Parser(grammar(language)).parse(source)


@cache
def query(language: str, patterns: str) -> Query:
    """A compiled query over the grammar of `language`."""
    return Query(grammar(language), patterns)
