"""What the benchmarks share: the tests' sample, timing and a small table."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table, numbers to the right."""
    cells = [list(head), *[[str(cell) for cell in row] for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    print(f"\n{title}\n")
    for number, row in enumerate(cells):
        print(
            "  ".join(
                [row[0].ljust(widths[0]), *(cell.rjust(wide) for cell, wide in zip(row[1:], widths[1:], strict=True))]
            )
        )
        if number == 0:
            print("  ".join("-" * wide for wide in widths))


def verdict(what: str, found: float, most: float, unit: str = "") -> None:
    """Say whether a goal is reached."""
    print(f"{'reached' if found <= most else 'MISSED '}  {what}: {found:.2f}{unit} (goal: at most {most:.2f}{unit})")


def machine() -> None:
    """Say on what was measured."""
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores, load {load}")
