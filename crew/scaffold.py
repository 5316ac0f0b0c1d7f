"""A new CrewAI project around backend-crew, with roles and tasks of its own to edit."""

import re
import uuid
from importlib.metadata import version
from pathlib import Path

from backend_crew.crew.errors import UsageError
from backend_crew.crew.roles import default_folder

_PYPROJECT = """\
[project]
name = "{name}"
version = "0.1.0"
requires-python = ">=3.11,<3.14"
dependencies = ["backend-crew>={version},<1"]

[project.scripts]
run_crew = "backend_crew.crew.main:run_crew"

[tool.crewai]
type = "crew"
project_id = "{project}"

[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[tool.setuptools]
packages = []
"""

_ENV = """\
# Copy to .env, fill in, and name it: ENV_FILE=.env crewai run
# No other .env is ever loaded, least of all that of the repository that is worked on.
ANTHROPIC_API_KEY=
MODEL=anthropic/claude-sonnet-4-6
REPO=../your-repository
FEATURE=What to build, in your own words
# The variable that holds the URL of the SQLite database to migrate, if there is one:
DATABASE_URL_ENV=
"""

_README = """\
# {name}

Edit `config/agents.yaml` and `config/tasks.yaml`, check them with `backend-crew validate config`, then:

    ENV_FILE=.env crewai run      # stops at each gate; returns 0 whatever happened
    ENV_FILE=.env uv run run_crew # the same, with true exit codes, for pipelines
"""


def write(folder: Path) -> list[str]:
    """Create the project; raises UsageError when the folder holds something already."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is not an empty folder; name a new one")
    name = re.sub(r"[^a-z0-9]+", "-", folder.absolute().name.lower()).strip("-") or "my-crew"
    texts = {
        "pyproject.toml": _PYPROJECT.format(name=name, version=version("backend-crew"), project=uuid.uuid4()),
        ".env.example": _ENV,
        ".gitignore": ".env\n.venv/\n__pycache__/\nuv.lock\n",
        "README.md": _README.format(name=name),
    }
    for file in ("agents.yaml", "tasks.yaml"):
        texts[f"config/{file}"] = (default_folder() / file).read_text(encoding="utf-8")
    for path, text in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return [str(folder / path) for path in texts]
