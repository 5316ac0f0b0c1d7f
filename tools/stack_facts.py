"""What is said of a repository's stack: facts, traps and services, each with the line that shows it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Fact:
    """One thing the repository is built with; `quote` is a part of line `line` (from 1) of `path`.

    A library that is declared but never imported is "likely"; one that is imported is "certain".
    `rule` is the id of the rule in `stack_rules.toml` that found it.
    """

    kind: str
    value: str
    path: str
    line: int
    quote: str
    confidence: str
    rule: str = ""


@dataclass(frozen=True)
class Trap:
    """What contradicts itself or must not be taken for a fact, in words, with the lines that show it."""

    rule: str
    summary: str
    evidence: tuple[Fact, ...]


@dataclass(frozen=True)
class Service:
    """One part of a repository that is built by itself; `path` is "" for the root, `role` backend, frontend or library.

    `names` are the words it goes by: its folder's, its manifest's and the composed service's.
    """

    path: str
    role: str
    names: tuple[str, ...]
    facts: tuple[Fact, ...]
    traps: tuple[Trap, ...]


@dataclass(frozen=True)
class Survey:
    """Everything found; not `complete` where the bounds left files unread, so that what is absent is unknown."""

    facts: tuple[Fact, ...]
    traps: tuple[Trap, ...]
    services: tuple[Service, ...]
    complete: bool
