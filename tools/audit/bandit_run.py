"""What bandit says of Python files, in a process of its own; its report is read, never its text."""

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from backend_crew.tools.audit.rules import Hit, Severity
from backend_crew.tools.errors import ToolFault
from backend_crew.tools.process import run

_TIMEOUT_S = 180.0
_SIZE = 5_000_000
# What our own rules see with more of the code around it, and what says little: asserts, random, imports, timeouts.
_LEFT_OUT = (
    "B101,B102,B104,B105,B106,B107,B110,B112,B113,B201,B301,B302,B303,B307,B311,B324,B403,B404,B405,B406,B407,B408,B409,"
    "B411,B412,B413,B415,B501,B506,B602,B603,B604,B605,B606,B607,B608,B610,B611,B703"
)


def bandit_hits(texts: Mapping[str, str]) -> dict[str, list[Hit]]:
    """Hits by the key of each text. `# nosec` counts for nothing: the change could say it about itself.

    ToolFault where bandit did not run to the end.
    """
    found: dict[str, list[Hit]] = {key: [] for key in texts}
    if not texts:
        return found
    with tempfile.TemporaryDirectory(prefix="audit-") as name:
        folder = Path(name)
        keys = {f"file{number}.py": key for number, key in enumerate(texts)}
        for file, key in keys.items():
            (folder / file).write_text(texts[key], encoding="utf-8", errors="replace")
        report = folder / "report.json"
        argv = (
            sys.executable,
            "-m",
            "bandit",
            "-q",
            "-f",
            "json",
            "-o",
            str(report),
            "--ignore-nosec",
            "-s",
            _LEFT_OUT,
        )
        done = run(
            (*argv, "--exit-zero", *(str(folder / file) for file in keys)),
            cwd=folder,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
            timeout_s=_TIMEOUT_S,
        )
        if not done.ok or not report.is_file() or report.stat().st_size > _SIZE:
            why = (
                f"it was ended after {_TIMEOUT_S:.0f} s"
                if done.timed_out
                else done.stderr.strip()[-300:] or "no report"
            )
            raise ToolFault(f"bandit did not run to the end: {why}")
        for file, hit in _read(report.read_text(encoding="utf-8")):
            if file in keys:
                found[keys[file]].append(hit)
    return found


def _read(text: str) -> Iterator[tuple[str, Hit]]:
    for one in json.loads(text)["results"]:
        level = (one["issue_severity"], one["issue_confidence"])
        severity: Severity = "note" if one["issue_severity"] == "LOW" else "warning"
        if level in (("HIGH", "HIGH"), ("HIGH", "MEDIUM")):
            severity = "error"
        # Each line of the excerpt has its number in front.
        code = " ".join(line.partition(" ")[2].strip() for line in str(one["code"]).splitlines())
        rule = f"bandit-{one['test_id']}"
        yield (
            Path(one["filename"]).name,
            Hit(rule, int(one["line_number"]), code[:300], severity, str(one["issue_text"])),
        )
