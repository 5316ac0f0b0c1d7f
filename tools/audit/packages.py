"""Packages that a change adds, each with the reason that the design has for it."""

from collections.abc import Iterator, Mapping

from backend_crew.tools.audit.rules import RULES
from backend_crew.tools.change_finding import ChangeFinding
from backend_crew.tools.manifests import declared, is_manifest, normal_name


def added_packages(
    before: Mapping[str, str], after: Mapping[str, str], reasons: Mapping[str, str]
) -> Iterator[ChangeFinding]:
    """A note for each package with its reason, an error for each without one; `reasons` are by the package's name."""
    known = {name for path, text in before.items() for name, _ in declared(path, text)}
    named = {_plain(name): reason.strip() for name, reason in reasons.items()}
    told: set[str] = set()
    for path, text in after.items():
        if not is_manifest(path):
            continue
        for package, line in declared(path, text):
            if package in known or package in told:
                continue
            told.add(package)
            name = package.partition(":")[2]
            reason = named.get(_plain(name), "")
            rule = "dependency-added" if reason else "dependency-without-reason"
            said = f"the design's reason: {reason}" if reason else "no reason recorded"
            level = RULES[rule].severity
            yield ChangeFinding("security", rule, level, path, line, f"{package} is added; {said}", RULES[rule].fix)


def _plain(name: str) -> str:
    """A package's name without extras, in the spelling that compares equal."""
    return normal_name(name.partition("[")[0].strip())
