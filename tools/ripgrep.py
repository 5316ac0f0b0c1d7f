"""Where ripgrep is, and how it is started: with nothing of the person's own settings."""

import shutil
import sys
from pathlib import Path

from backend_crew.tools import process
from backend_crew.tools.errors import ToolFault

QUIET = ("--no-config", "--no-messages", "--color=never")
"""Flags that keep settings of the person, and words about single files, out of every call."""
ENVIRONMENT = {"PATH": process.SEARCH_PATH, "LC_ALL": "C.UTF-8"}


def find_rg(search_path: str = process.SEARCH_PATH) -> Path:
    """Find ripgrep beside the running Python, then in a PATH string; raises ToolFault with the way to install it."""
    beside = Path(sys.executable).parent
    found = shutil.which("rg", path=str(beside)) or shutil.which("rg", path=search_path)
    if found is None or not Path(found).is_absolute():
        raise ToolFault(f"ripgrep (rg) is neither in {beside} nor in {search_path}: run `pip install ripgrep==14.1.0`.")
    return Path(found)
