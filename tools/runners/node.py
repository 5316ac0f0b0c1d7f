"""`node --test`: a reporter of ours (`node_reporter.mjs`), because its JUnit XML names no files before Node 22."""

import functools
import re
import urllib.parse
from collections.abc import Sequence
from pathlib import Path

from backend_crew.tools.runners import lines
from backend_crew.tools.runners.protocol import Argv, Plan, Runner, program, split_id

_CODES = {9: "node did not understand its options; reports need Node 18.17 or later"}


def _owns(argv: Argv) -> bool:
    return program(argv) == "node" and "--test" in argv


def _plan(argv: Argv, paths: Sequence[str], report: str) -> Plan:
    options = (
        "--test-reporter=spec",
        "--test-reporter-destination=stdout",
        f"--test-reporter={_reporter()}",
        f"--test-reporter-destination={report}",
    )
    # Files that the command names would be run too; what follows node's options is one.
    at = argv.index("--test") + 1
    before, after = argv[:at], argv[at:]
    kept = tuple(word for word in after if word.startswith("-")) if paths else after
    chosen = _choice(paths)
    return Plan((*before, *options, *kept, *chosen), report, (*before, *kept, *chosen))


def _choice(paths: Sequence[str]) -> Argv:
    """The files, and the names of the tests where nothing but tests was asked for."""
    parts = [split_id(path) for path in paths]
    files = tuple(dict.fromkeys(file for file, _ in parts))
    names = [rest.split("::")[-1] for _, rest in parts if rest]
    patterns = [f"--test-name-pattern=/^{re.escape(name).replace('/', chr(92) + '/')}$/" for name in names]
    return (*(patterns if len(names) == len(parts) else ()), *files)


@functools.cache
def _reporter() -> str:
    text = Path(__file__).with_name("node_reporter.mjs").read_text(encoding="utf-8")
    return f"data:text/javascript,{urllib.parse.quote(text)}"


NODE = Runner(name="node", owns=_owns, plan=_plan, read=lines.read, codes=_CODES)
