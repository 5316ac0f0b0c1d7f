"""The security pass over a change: what it brings in, never what was there before."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from backend_crew.tools.audit.files import hits_of
from backend_crew.tools.audit.guards import GuardedRoute, unguarded
from backend_crew.tools.audit.packages import added_packages
from backend_crew.tools.audit.rules import RULES, Hit
from backend_crew.tools.change_finding import ChangeFinding
from backend_crew.tools.errors import ToolError
from backend_crew.tools.workspace import MissingPathError, read_file

_SIZE = 1_000_000
_FILES = 500


@dataclass(frozen=True)
class Routes:
    """The routes of both trees, and those that the approved contract opens to everyone."""

    before: Sequence[GuardedRoute] = ()
    after: Sequence[GuardedRoute] = ()
    public: Collection[tuple[str, str]] = ()


@dataclass(frozen=True)
class Audit:
    """The outcome; `unseen` says what was not looked at, `already_there` how many old places were left out."""

    findings: tuple[ChangeFinding, ...]
    unseen: tuple[str, ...] = ()
    files: int = 0
    already_there: int = 0


def audit(
    base: Path,
    changed: Path,
    paths: Sequence[str],
    *,
    reasons: Mapping[str, str] | None = None,
    routes: Routes | None = None,
) -> Audit:
    """What the files at `paths` (relative, added or changed) bring in, against the tree before the change.

    `reasons` are the design's, by the name of the package that it adds. Nothing of the trees is run.
    """
    given = routes or Routes()
    unseen: list[str] = [f"{len(paths) - _FILES} more files than are looked at"] if len(paths) > _FILES else []
    new = dict(_texts(changed, paths[:_FILES], unseen))
    old = dict(_texts(base, paths[:_FILES], []))
    before, _ = hits_of(old)
    after, not_seen = hits_of(new)
    # Known by what they say, not by where: code that moved is not new.
    known = Counter((one.rule, one.code) for hits in before.values() for one in hits)
    findings: list[ChangeFinding] = []
    already = 0
    for path, hits in after.items():
        for one in sorted(hits, key=lambda hit: (hit.line, hit.rule)):
            if known[one.rule, one.code] > 0:
                known[one.rule, one.code] -= 1
                already += 1
            else:
                findings.append(_finding(path, one))
    findings += added_packages(old, new, reasons or {})
    findings += unguarded(given.before, given.after, given.public)
    return Audit(tuple(dict.fromkeys(findings)), (*unseen, *not_seen), len(new), already)


def _texts(root: Path, paths: Sequence[str], unseen: list[str]) -> Iterator[tuple[str, str]]:
    for path in paths:
        try:
            data, _ = read_file(root, path, _SIZE)
        except MissingPathError:
            continue  # deleted, or not there before
        except (ToolError, OSError) as error:
            unseen.append(f"{path}: {error}")
            continue
        if b"\0" not in data[:8000]:
            yield path, data.decode("utf-8", errors="replace")


def _finding(path: str, one: Hit) -> ChangeFinding:
    rule = RULES.get(one.rule)
    if rule is None:
        return ChangeFinding(
            "security", one.rule, one.severity, path, one.line, one.detail, "write it without, or say why"
        )
    shown = one.detail if one.rule == "secret-in-code" else one.code[:160]
    doubt = "; a condition looks at it, which may settle it" if one.severity == "note" != rule.severity else ""
    return ChangeFinding("security", one.rule, one.severity, path, one.line, f"{shown}: {rule.why}{doubt}", rule.fix)
