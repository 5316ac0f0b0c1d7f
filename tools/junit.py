"""JUnit XML reports of untrusted code, read by trusted code: no document type, no entities, bounded."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

from backend_crew.tools.errors import ToolRetry
from backend_crew.tools.excerpt import head

CASE_LIMIT = 50_000
MESSAGE_LIMIT = 2_000
#: Worst first.
OUTCOMES = ("error", "failed", "skipped", "passed")


@dataclass(frozen=True)
class TestCase:
    """One test: `id` as path::Class::name[parameters], `outcome` "passed", "failed", "error" or "skipped"."""

    __test__: ClassVar[bool] = False  # the name begins like a test class, and pytest would collect it

    id: str
    outcome: str
    seconds: float
    message: str


@dataclass
class _Open:
    """A test case that is being read; `suites` are the named suites around it."""

    attributes: dict[str, str]
    suites: tuple[str, ...]
    outcome: str = "passed"
    text: list[str] = field(default_factory=list)
    size: int = 0


class _Reader:
    """Collects the cases of a document; refuses declarations before expat could act on them."""

    def __init__(self, name: Callable[[dict[str, str], tuple[str, ...]], str]) -> None:
        self.cases: list[TestCase] = []
        self.claimed_failures = 0
        self._name = name
        self._case: _Open | None = None
        self._inside: str | None = None
        self._suites: list[str] = []

    def refuse(self, *_: object) -> None:
        raise ToolRetry("the report declares a document type or entities, which no test runner writes")

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "testsuite":
            self._suites.append(attributes.get("name", ""))
            self.claimed_failures += _number(attributes, "failures") + _number(attributes, "errors")
        elif tag == "testcase":
            self._case = _Open(attributes, tuple(self._suites))
        elif self._case is not None and tag in ("failure", "error", "skipped"):
            self._inside = tag
            outcome = "failed" if tag == "failure" else tag
            self._case.outcome = min(self._case.outcome, outcome, key=OUTCOMES.index)
            self.text(attributes.get("message", "") + "\n")

    def text(self, data: str) -> None:
        if self._case is not None and self._inside is not None and self._case.size <= MESSAGE_LIMIT:
            self._case.text.append(data[: MESSAGE_LIMIT + 1])
            self._case.size += len(data)

    def end(self, tag: str) -> None:
        if tag == "testsuite":
            self._suites.pop()
        elif tag == self._inside:
            self._inside = None
        elif tag == "testcase" and self._case is not None:
            done, self._case = self._case, None
            message = head("".join(done.text), MESSAGE_LIMIT).strip()
            seconds = _seconds(done.attributes.get("time", "0"))
            self.cases.append(TestCase(self._name(done.attributes, done.suites), done.outcome, seconds, message))
            if len(self.cases) > CASE_LIMIT:
                raise ToolRetry(f"the report has more than {CASE_LIMIT} cases; run fewer tests at a time")


def _number(attributes: dict[str, str], key: str) -> int:
    value = attributes.get(key, "0")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 10 else 0


def _seconds(text: str) -> float:
    try:
        value = float(text.replace(",", ""))
    except ValueError:
        return 0.0
    return value if 0 <= value < 1e7 else 0.0


def read_report(
    report: bytes, name: Callable[[dict[str, str], tuple[str, ...]], str]
) -> tuple[tuple[TestCase, ...], int]:
    """The cases of a report, one an id with its worst outcome, and how many failures its suites claim.

    `name` makes an id from a case's attributes and the names of the suites around it. Raises ToolRetry with the reason
    for what is no report: broken XML, document types, too many cases.
    """
    reader = _Reader(name)
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = reader.refuse
    parser.EntityDeclHandler = reader.refuse
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    try:
        parser.Parse(report, True)
    except (expat.ExpatError, ValueError) as error:
        raise ToolRetry(f"the report is not XML: {error}") from error
    return tuple(merged(reader.cases)), reader.claimed_failures


def merged(cases: Iterable[TestCase]) -> Iterator[TestCase]:
    """One case an id, with its worst outcome: a test that failed and whose teardown failed too is reported twice."""
    by_id: dict[str, TestCase] = {}
    for case in cases:
        known = by_id.get(case.id)
        if known is None or OUTCOMES.index(case.outcome) < OUTCOMES.index(known.outcome):
            by_id[case.id] = case
    yield from by_id.values()


def written(cases: Iterable[TestCase]) -> bytes:
    """The cases as a JUnit XML report, for people and programs that expect one."""
    parts = ['<?xml version="1.0" encoding="utf-8"?>', "<testsuites><testsuite>"]
    for case in cases:
        file, _, name = case.id.partition("::")
        head = f"<testcase classname={_quoted(file)} name={_quoted(name or file)} time={_quoted(f'{case.seconds:.3f}')}"
        tag = {"failed": "failure", "error": "error", "skipped": "skipped"}.get(case.outcome)
        parts.append(f"{head}><{tag} message={_quoted(case.message)}/></testcase>" if tag else f"{head}/>")
    return "\n".join([*parts, "</testsuite></testsuites>", ""]).encode()


def _quoted(text: str) -> str:
    # What XML cannot hold, in no form, stands as the sign for it.
    plain = "".join(
        char if char in "\t\n\r" or " " <= char < "\ud800" or char >= "\ue000" else "\ufffd" for char in text
    )
    return quoteattr(plain.replace("\ufffe", "\ufffd").replace("\uffff", "\ufffd"), {"\n": "&#10;"})
