"""What an expression of Python can stand for."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass

from backend_crew.tools.static.python_modules import AnyFunction, Block, Module


@dataclass(frozen=True)
class Text:
    """A string; not certain where a condition or the environment may give another."""

    value: str
    certain: bool = True


@dataclass(frozen=True, eq=False)
class Function:
    """A function of the repository; `block` is where it is defined."""

    node: AnyFunction
    block: Block


@dataclass(frozen=True, eq=False)
class Class:
    """A class of the repository; `block` is where it is defined."""

    node: ast.ClassDef
    block: Block


@dataclass(frozen=True, eq=False)
class Made:
    """An object: made by `call`, or by nobody seen (a parameter known by its annotation). `of` is what was called."""

    of: "External | Class"
    node: ast.Call | ast.arg | ast.ClassDef
    block: Block
    certain: bool = True


@dataclass(frozen=True)
class External:
    """Something that is not of the repository, by its full dotted name."""

    name: str


@dataclass(frozen=True, eq=False)
class Package:
    """A module of the repository."""

    module: Module


@dataclass(frozen=True, eq=False)
class Items:
    """The elements of a list, tuple or set, or the values of a dictionary, each with the block that it is read in."""

    parts: tuple["Part", ...]


Value = Text | Function | Class | Made | External | Package | Items
Part = tuple[ast.expr, Block]
Given = Mapping[str, Part]
"""What loop variables stand for in one turn."""
