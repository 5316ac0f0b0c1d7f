"""The embedding example runs as it stands."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parent.parent / "examples" / "embed.py"


@pytest.mark.slow
def test_the_embedding_example_finishes(tmp_path: Path) -> None:
    env = {"PATH": os.defpath, "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "gate design" in done.stdout
    assert "finished on backend-crew/order-refunds-" in done.stdout
