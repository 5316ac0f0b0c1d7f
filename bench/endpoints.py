"""Endpoints and tables read from the samples of the tests, against what each must give: precision, recall, CPU time.

    .venv/bin/python bench/endpoints.py [DIR ...]

With folders, also how long a scan of each takes and how much it finds there.
"""

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from analysis_archives import archive, archives, folder_files  # noqa: E402  # found by the line above
from test_endpoints import line_of  # noqa: E402  # found by the line above
from test_tables import table_text  # noqa: E402  # found by the line above

from backend_crew.tools.endpoints.find import find_endpoints  # noqa: E402  # after the tests' helpers
from backend_crew.tools.tables.find import find_tables  # noqa: E402  # after the tests' helpers


def _endpoints(files: Mapping[str, bytes]) -> tuple[set[str], int]:
    scan = find_endpoints(files)
    return set(map(line_of, scan.endpoints)), len(scan.unresolved)


def _tables(files: Mapping[str, bytes]) -> tuple[set[str], int]:
    scan = find_tables(files)
    return set(map(table_text, scan.tables)), len(scan.unresolved)


_KINDS: Mapping[str, Callable[[Mapping[str, bytes]], Any]] = {"endpoints": _endpoints, "tables": _tables}


def _samples(kind: str) -> None:
    right = found = expected = 0
    for name in archives(kind):
        sample = archive(kind, name)
        lines, unresolved = _KINDS[kind](sample.files)
        hits = len(lines & set(sample.expected))
        right, found, expected = right + hits, found + len(lines), expected + len(sample.expected)
        print(
            f"| {kind} | {name} | {hits} of {len(sample.expected)} | {len(lines) - hits} invented | {unresolved} open |"
        )
    print(f"| {kind} | all | precision {right / found:.3f} | recall {right / expected:.3f} | |")


def _folder(root: Path) -> None:
    files = folder_files(root)
    for kind, scan in _KINDS.items():
        began = time.process_time()
        lines, unresolved = scan(files)
        spent = time.process_time() - began
        print(f"| {root.name} | {len(files)} files | {len(lines)} {kind} | {unresolved} open | {spent:.2f} s CPU |")


def main() -> None:
    """Prints one table."""
    for kind in _KINDS:
        _samples(kind)
    for root in sys.argv[1:]:
        _folder(Path(root))


if __name__ == "__main__":
    main()
