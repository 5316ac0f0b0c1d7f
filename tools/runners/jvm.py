"""JUnit by Maven and Gradle: the XML that both write for each class, put together into one report.

Where they write it is not ours to choose: what lies there before the run is removed, and what lies there after it counts,
so code that runs in the build can add to it. The exit code of the build has to agree.
"""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from backend_crew.tools.errors import ToolRetry
from backend_crew.tools.junit import CASE_LIMIT, TestCase, merged, read_report
from backend_crew.tools.runners.protocol import Argv, Place, Plan, Report, Runner, program, split_id

_PLACES = (
    "*/target/surefire-reports/TEST-*.xml",
    "*/target/failsafe-reports/TEST-*.xml",
    "*/build/test-results/*/TEST-*.xml",
)
# $1 the report; the rest is the build. Each file comes behind the report's name, which no file can hold by chance.
_SCRIPT = r"""
report=$1; shift
find . -type f \( PLACES \) -delete
"$@"
status=$?
find . -type f \( PLACES \) -exec sh -c 'for one; do printf "\n%s\n" "$0"; cat "$one"; done' "$report" {} + >"$report"
exit "$status"
"""
_SOURCES = ("src/test/java", "src/test/kotlin", "src/test/groovy")
_ENDINGS = (".java", ".kt", ".groovy")
_CAUSE = re.compile(
    r"^(?:\[ERROR\] |\* What went wrong:\s*|> )(.*(?:COMPILATION ERROR|Could not|cannot access|Cannot |Compilation failed|offline).*)$",
    re.MULTILINE,
)


def _owns_maven(argv: Argv) -> bool:
    return program(argv) in ("mvn", "mvnw") and any(word in argv for word in ("test", "verify", "package", "install"))


def _owns_gradle(argv: Argv) -> bool:
    return program(argv) in ("gradle", "gradlew") and any(word in argv for word in ("test", "check", "build"))


def _maven(argv: Argv, paths: Sequence[str], report: str) -> Plan:
    names = ",".join("#".join(part for part in _names(path) if part) for path in paths)
    chosen = (f"-Dtest={names}", "-Dsurefire.failIfNoSpecifiedTests=false", "-DfailIfNoTests=false") if paths else ()
    # Every module is tested, also behind one that failed.
    return _plan((*argv, "--batch-mode", "-Dstyle.color=never", "--fail-at-end", *chosen), argv, paths, report)


def _gradle(argv: Argv, paths: Sequence[str], report: str) -> Plan:
    chosen = [word for path in paths for word in ("--tests", ".".join(part for part in _names(path) if part))]
    return _plan((*argv, "--continue", *chosen), argv, paths, report)


def _plan(build: Argv, argv: Argv, paths: Sequence[str], report: str) -> Plan:
    places = " -o ".join(f"-path '{one}'" for one in _PLACES)
    return Plan(("sh", "-c", _SCRIPT.replace("PLACES", places), "sh", report, *build), report, (*argv, *paths))


def _names(path: str) -> tuple[str, str]:
    """The class of a file or an id, and its method without parameters."""
    file, method = split_id(path)
    pure = PurePosixPath(file)
    return (pure.stem if pure.suffix in _ENDINGS else file), re.split(r"[(\[{]", method)[0].strip()


def _read(data: bytes, place: Place) -> Report:
    cases: list[TestCase] = []
    claimed = 0
    mark, _, _ = data.lstrip().partition(b"\n")
    for part in data.split(b"\n" + mark + b"\n")[1:] if mark else ():
        found, failures = read_report(part, lambda attributes, _: _id(attributes, place))
        cases += found
        claimed += failures
        if len(cases) > CASE_LIMIT:
            raise ToolRetry(f"the reports have more than {CASE_LIMIT} cases; run fewer tests at a time")
    return Report(tuple(merged(cases)), claimed)


def _id(attributes: dict[str, str], place: Place) -> str:
    dotted, name = attributes.get("classname", ""), attributes.get("name", "")
    path = dotted.partition("$")[0].replace(".", "/")
    files = (f"{folder}/{path}{ending}" for folder in _SOURCES for ending in _ENDINGS)
    nested = dotted.partition("$")[2]
    file = next((one for one in files if place.holds(one)), None)
    return "::".join(part for part in (file or dotted, nested if file else "", name) if part)


def _cause(code: int | None, output: str) -> str:
    """What the build says of why no test ran."""
    found = _CAUSE.search(output) if code == 1 else None
    return f"the build failed before its tests: {found[1].strip()[:300]}" if found else ""


MAVEN = Runner(name="maven", owns=_owns_maven, plan=_maven, read=_read, names_files=False, cause=_cause)
GRADLE = Runner(name="gradle", owns=_owns_gradle, plan=_gradle, read=_read, names_files=False, cause=_cause)
