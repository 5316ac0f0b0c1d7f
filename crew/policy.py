"""A person's rules in a file, for pipelines: they decide at gates by facts that code established, or let the run wait."""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend_crew.crew import approvers, gates, settings
from backend_crew.crew.approvers import Approver, By, Ruling
from backend_crew.crew.chain import read_small
from backend_crew.crew.choosing import runtime_of
from backend_crew.crew.errors import ConfigError, DecisionRefused
from backend_crew.crew.gates import Packet
from backend_crew.crew.journal import GateRow, Journal, Run
from backend_crew.crew.reach import PIN, check_outside
from backend_crew.crew.yamlfile import Lines, Report, read_text, suggestion
from backend_crew.tools import manifests
from backend_crew.tools.workspace import WRITE

CHANNEL = "policy"
_LIMIT = 64_000
_GATES = ("answers", "design", "migrations", gates.SCOPE.name)
#: Each condition, and the gates at which code can establish it.
_TRUTHS: Mapping[str, tuple[str, ...]] = {
    "additive": ("migrations",),
    "reversible": ("migrations",),
    "rehearsed": ("migrations",),
    "on_copy": ("migrations",),
    "lint_clean": ("migrations",),
    "runs_nothing_else": ("migrations",),
    "no_altered_definition": ("migrations",),
    "no_deleted_file": ("design",),
    "no_migration": ("design",),
    "no_new_dependency": ("design", "migrations", "scope"),
}
_COUNTS: Mapping[str, tuple[str, ...]] = {"max_files": ("design", "migrations"), "max_questions": ("answers",)}
_CONDITIONS: Mapping[str, tuple[str, ...]] = {**_TRUTHS, **_COUNTS, "files": ("design", "migrations", "scope")}


@dataclass(frozen=True)
class Rule:
    """One rule: at its gate it approves, or takes the recommended answers, where every condition holds."""

    name: str
    gate: str
    when: Mapping[str, Any]

    def fails(self, facts: Mapping[str, Any]) -> str:
        """The first condition that does not hold, in words; empty when all hold. What is not known does not hold."""
        for name, wanted in self.when.items():
            if name == "files":
                paths = facts.get("files")
                outside = [path for path in paths if not _covered(path, wanted)] if paths else ["which files"]
                if not paths or outside:
                    return f"files: {', '.join(outside[:3])} {'is not known' if not paths else 'matches no pattern'}"
            elif name in _COUNTS:
                number = len(facts["files"]) if name == "max_files" and facts.get("files") else facts.get("questions")
                if not isinstance(number, int) or number > wanted:
                    return f"{name}: {'not known' if number is None else f'{number} are more than {wanted}'}"
            elif facts.get(name) is not True:
                return f"{name}: {'not known' if name not in facts else 'does not hold'}"
        return ""


@dataclass(frozen=True)
class Policy:
    """The rules of one file, with the hash of its bytes."""

    path: str
    sha256: str
    rules: tuple[Rule, ...]

    def choose(self, packet: Packet) -> tuple[Rule | None, list[str]]:
        """The first rule that matches what a gate shows, and why those before it do not."""
        facts = _facts(packet)
        why: list[str] = []
        for rule in self.rules:
            if rule.gate != packet.gate:
                continue
            failed = rule.fails(facts)
            if not failed:
                return rule, why
            why.append(f"{rule.name}: {failed}")
        return None, why or [f"no rule is for the gate {packet.gate!r}"]


class ByPolicy:
    """A policy at the gates; where no rule matches, whoever else sits there is asked, or the run waits."""

    def __init__(self, policy: Policy, otherwise: Approver | None) -> None:
        self._policy, self._otherwise = policy, otherwise

    def ask(self, journal: Journal, run: str, row: GateRow) -> bool:
        """Decide by the first rule that matches what the gate shows."""
        rule, why = self._policy.choose(gates.packet_of(row))
        if rule is None:
            journal.event(run, "policy waits", gate=row.gate, why=why)
            return self._otherwise.ask(journal, run, row) if self._otherwise else False
        short = self._policy.sha256[:16]
        basis = {"policy": self._policy.sha256, "rule": rule.name}
        by = By(CHANNEL, f"rule {rule.name!r} of policy {short}", basis)
        try:
            _decide(journal, run, row, by)
        except DecisionRefused:
            if journal.decision(run, row.gate, row.digest) is None:
                raise
            return True  # somebody was faster, in another shell
        journal.event(run, "policy decided", gate=row.gate, rule=rule.name, policy=self._policy.sha256)
        return True


def _decide(journal: Journal, run: str, row: GateRow, by: By) -> None:
    if row.gate == "answers":
        asked = [item["id"] for item in row.packet["data"]["items"]]
        approvers.answer(journal, run, row, dict.fromkeys(asked, "recommended"), by)
        approvers.confirm(journal, run, row, by)
    else:
        approvers.decide(journal, run, row, Ruling(gates.APPROVE, digest=row.digest), by)


def behind(policy: Policy | None, otherwise: Approver | None) -> Approver | None:
    """Who sits at the gates when a policy decides first; without one, whoever sat there anyway."""
    return ByPolicy(policy, otherwise) if policy else otherwise


def checked(given: str | None, repo: Path) -> str | None:
    """What a new run keeps of the policy it is given; every fault in it is told before there is a run."""
    if given is None:
        return None
    load(given, (repo, settings.state_home()))
    return absolute(given)


def absolute(given: str) -> str:
    """FILE or FILE@sha256:HASH with the whole path, so that a run finds it again from any folder."""
    name, pinned, pin = given.rpartition(PIN)
    return f"{Path(name if pinned else given).expanduser().absolute()}{pinned}{pin if pinned else ''}"


def take(given: str | None, journal: Journal, run: str, say: Callable[[str], None]) -> Policy | None:
    """Read the policy of a run once: the one given now, else the one it was started with; None when it has none.

    Its hash is kept in the run's history, and a file that changed since it was read last is said to be another policy.
    """
    recorded = journal.run(run)
    if given and absolute(given) != recorded.options.get("policy"):
        journal.set_options(run, {**recorded.options, "policy": absolute(given)})
    named = absolute(given) if given else recorded.options.get("policy")
    return _taken(named, journal, recorded, say) if named else None


def _taken(named: str, journal: Journal, recorded: Run, say: Callable[[str], None]) -> Policy:
    repo = Path(recorded.repo)
    mounts = runtime_of(repo, recorded.options.get("python")).mounts if repo.is_dir() else ()
    policy, run = load(named, (repo, journal.home, *mounts)), recorded.id
    earlier = [str(one["policy"]) for one in journal.events(run, "policy read")]
    if earlier and earlier[-1] != policy.sha256:
        say(f"The policy {policy.path} is another one than before: sha256 {earlier[-1]}, now {policy.sha256}")
    if earlier[-1:] != [policy.sha256]:
        journal.event(
            run, "policy read", path=policy.path, policy=policy.sha256, rules=[one.name for one in policy.rules]
        )
    return policy


def load(given: str, places: Iterable[Path]) -> Policy:
    """The policy that FILE or FILE@sha256:HASH names; raises ConfigError or UsageError.

    Without a hash the file must lie outside of `places`, the folders that a run's agents and commands can reach.
    """
    name, pinned, pin = given.rpartition(PIN)
    path = Path(name if pinned else given)
    if pinned and not re.fullmatch(r"[0-9a-f]{64}", pin):
        raise ConfigError(f"--policy: {pin!r} is no SHA-256; expected 64 hex digits, as sha256sum prints them")
    data = read_small("--policy", path, _LIMIT)
    if len(data) > _LIMIT:
        raise ConfigError(f"--policy: {path} has more than {_LIMIT} bytes")
    digest = hashlib.sha256(data).hexdigest()
    if pinned and digest != pin:
        raise ConfigError(f"--policy: {path} has the SHA-256 {digest}, and {pin} was expected; it was changed")
    if not pinned:
        check_outside("--policy", path, places, f", or pin its content: {path}{PIN}{digest}")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: {error}") from error
    return Policy(str(path), digest, _rules(text, path.name))


def _rules(text: str, file: str) -> tuple[Rule, ...]:
    report = Report(file)
    raw = read_text(text, report)
    if not report.faults:
        _only(raw, {"rules"}, "the policy", report)
        listed = raw.get("rules")
        if not isinstance(listed, list) or not listed:
            report.add(raw.at.get("rules", 1), "expected `rules:` with a list of at least one rule")
            listed = []
        rules = [_rule(one, raw.at["rules"], report) for one in listed]
        names = [rule.name for rule in rules if rule]
        for name in {name for name in names if names.count(name) > 1}:
            report.add(raw.at["rules"], f"two rules are called {name!r}; a decision names its rule")
    if report.faults:
        raise ConfigError("the policy is not valid:\n" + "\n".join(f"  {fault}" for fault in report.faults))
    return tuple(rule for rule in rules if rule)


def _rule(body: object, line: int, report: Report) -> Rule | None:
    if not isinstance(body, Lines) or not body:
        report.add(line, f"expected a rule with name, gate and when, found {body!r}")
        return None
    line = min(body.at.values())
    name, gate, before = body.get("name"), body.get("gate"), len(report.faults)
    if not isinstance(name, str) or not re.fullmatch(r"[\w][\w .,:()/-]{0,59}", name):
        report.add(
            body.at.get("name", line), "a rule needs a 'name' of up to 60 letters, digits, spaces and . , : ( ) / -"
        )
        name = "a rule"
    _only(body, {"name", "gate", "when", "answers"}, name, report)
    if gate not in _GATES:
        hint = suggestion(str(gate), _GATES)
        report.add(body.at.get("gate", line), f"{name}: unknown gate {gate!r}{hint}; there are: {', '.join(_GATES)}")
        return None
    _check_answers(name, gate, body, line, report)
    when = body.get("when")
    if not isinstance(when, Lines) or not when:
        known = ", ".join(condition for condition, at in _CONDITIONS.items() if gate in at)
        report.add(body.at.get("when", line), f"{name}: 'when' needs at least one condition; for this gate: {known}")
        return None
    for condition, wanted in when.items():
        _check_condition(name, gate, condition, wanted, when.at[condition], report)
    return Rule(name, str(gate), dict(when)) if len(report.faults) == before else None


def _only(body: Lines, known: set[str], what: str, report: Report) -> None:
    for key in body:
        if key not in known:
            report.add(body.at[key], f"{what}: unknown key {key!r}{suggestion(key, known)}")


def _check_answers(name: str, gate: object, body: Lines, line: int, report: Report) -> None:
    """To take the recommended answers is a person's choice, so it is written down in words."""
    if gate == "answers" and body.get("answers") != "recommended":
        report.add(body.at.get("answers", line), f"{name}: a rule for answers says `answers: recommended`")
    elif gate != "answers" and "answers" in body:
        report.add(body.at["answers"], f"{name}: 'answers' belongs to the gate 'answers'")


def _check_condition(name: str, gate: object, condition: str, wanted: object, line: int, report: Report) -> None:
    at = _CONDITIONS.get(condition)
    if at is None:
        hint = suggestion(condition, _CONDITIONS)
        report.add(line, f"{name}: unknown condition {condition!r}{hint}; there are: {', '.join(_CONDITIONS)}")
    elif gate not in at:
        report.add(line, f"{name}: {condition!r} is not known at gate {gate!r}, only at {', '.join(at)}")
    elif condition in _TRUTHS and wanted is not True:
        report.add(line, f"{name}: {condition!r} is true or left out, found {wanted!r}")
    elif condition in _COUNTS and (isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 1):
        report.add(line, f"{name}: {condition!r} is a whole number from 1, found {wanted!r}")
    elif condition == "files":
        _check_patterns(name, wanted, line, report)


def _check_patterns(name: str, wanted: object, line: int, report: Report) -> None:
    if not isinstance(wanted, list) or not wanted or not all(isinstance(one, str) and one for one in wanted):
        report.add(line, f"{name}: 'files' is a list of patterns like app/**/*.py, found {wanted!r}")
        return
    for one in wanted:
        parts = one.split("/")
        if one.startswith("/") or ".." in parts or "" in parts or re.search(r"[\[\]?{}!\\]", one):
            report.add(line, f"{name}: {one!r} is no pattern; write folders below the repository, with * and ** only")
        elif not re.search(r"[^*/.]", one):
            report.add(line, f"{name}: {one!r} matches every file; name a folder, a file or an ending")


def _covered(path: object, patterns: Iterable[str]) -> bool:
    """Whether a path matches a pattern: * stays within a folder, ** goes through any number of them."""
    text = str(path)
    return ".." not in text.split("/") and any(re.fullmatch(_expression(one), text) for one in patterns)


def _expression(pattern: str) -> str:
    parts = re.split(r"(\*\*/|\*\*|\*)", pattern)
    words = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*"}
    return "".join(words.get(part, re.escape(part)) for part in parts)


def _facts(packet: Packet) -> Mapping[str, Any]:
    """What code put into the packet beside the text; of questions and scope requests, what the packet itself tells."""
    if packet.gate == "answers":
        return {"questions": len(packet.data["items"])}
    if packet.gate == gates.SCOPE.name:
        if packet.bound.get("act") != WRITE:
            return {}  # what takes a file away outside the plan is for a person
        path = str(packet.bound["path"])
        return {"files": [path], "no_new_dependency": not manifests.is_manifest(path)}
    found = packet.data.get("facts")
    return found if isinstance(found, Mapping) else {}
