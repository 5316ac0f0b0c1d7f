"""Lint findings as SARIF 2.1.0, the format that code scanning of GitHub, GitLab and editors reads."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from backend_crew.tools.lint_rules import RULES, LintFinding

_LEVELS = {"error": "error", "warning": "warning", "info": "note"}
_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def to_sarif(findings: Sequence[LintFinding], version: str, sources: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A SARIF log with one run; `version` is that of backend-crew, `sources` the texts by the findings' paths.

    Paths become URIs relative to the repository's root. A result's fingerprint is made of its rule, its path and the
    line's text where `sources` has it, so that it stays the same when lines move.
    """
    rules = list(dict.fromkeys(one.rule for one in findings))
    prints = _fingerprints(findings, sources or {})
    results = [
        _result(one, rules.index(one.rule), fingerprint) for one, fingerprint in zip(findings, prints, strict=True)
    ]
    driver = {"name": "backend-crew", "semanticVersion": version, "rules": [_rule(name, findings) for name in rules]}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {"REPOSITORY": {"description": {"text": "The root of the repository."}}},
        "results": results,
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(name: str, findings: Sequence[LintFinding]) -> dict[str, Any]:
    known = RULES.get(name)
    first = next(one for one in findings if one.rule == name)
    why, advice = (known.why, known.advice) if known else (first.text, first.advice)
    return {
        "id": name,
        "shortDescription": {"text": f"{why[:1].upper()}{why[1:]}{'' if why.endswith('.') else '.'}"},
        "help": {"text": advice},
        "defaultConfiguration": {"level": _LEVELS[known.severity if known else first.severity]},
    }


def _result(one: LintFinding, index: int, fingerprint: str) -> dict[str, Any]:
    place = {
        "artifactLocation": {"uri": quote(one.path), "uriBaseId": "REPOSITORY"},
        "region": {"startLine": max(one.line, 1)},
    }
    return {
        "ruleId": one.rule,
        "ruleIndex": index,
        "level": _LEVELS[one.severity],
        "message": {"text": f"{one.text} {one.advice}"},
        "locations": [{"physicalLocation": place}],
        "partialFingerprints": {"backendCrew/v1": fingerprint},
    }


def _fingerprints(findings: Sequence[LintFinding], sources: Mapping[str, str]) -> Iterator[str]:
    """Two results that are alike in everything are told apart by their order."""
    seen: Counter[str] = Counter()
    lines = {path: text.splitlines() for path, text in sources.items()}
    for one in findings:
        source = lines.get(one.path, [])
        # without the source the message stands for it: it names the table, and no line but by the rule's own words
        about = " ".join(source[one.line - 1].split()) if 0 < one.line <= len(source) else one.text
        alike = "\0".join((one.rule, one.path, about))
        seen[alike] += 1
        yield hashlib.sha256(f"{alike}\0{seen[alike]}".encode()).hexdigest()
