"""Imported before anything that imports crewai: no .env, no telemetry, and its own files out of the real home."""

import tempfile
from pathlib import Path

from backend_crew.crew import settings

settings.prepare(Path(tempfile.gettempdir()) / "backend-crew-tests")
