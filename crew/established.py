"""What code established about the thing that a gate shows; a policy's rules read this and nothing that a model said."""

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

from backend_crew.crew.artifacts import Design
from backend_crew.crew.session import Session
from backend_crew.tools import additive, git, manifests

#: Beside the manifests that declare packages: what pins them.
_LOCKS = frozenset(
    {"uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "package-lock.json", "yarn.lock", "pnpm-lock.yaml", "bun.lock",
     "bun.lockb", "go.sum", "go.work", "Gemfile.lock", "composer.lock", "mix.lock", "Cargo.toml", "Cargo.lock"}
)  # fmt: skip

Facts = dict[str, Any]


def about_design(session: Session, design: Design) -> Facts:
    """Facts about a plan: its files are what can be written, so they are facts although a model chose them."""
    paths = [file.path for file in design.files]
    return {
        "files": paths,
        "no_new_dependency": not design.new_dependencies and not declares_packages(paths),
        "no_migration": not design.migration.needed and not any(map(session.permissions.is_migration, paths)),
        "no_deleted_file": all(file.action != "delete" for file in design.files),
    }


def about_migrations(session: Session, facts: Mapping[str, Any], altered: int) -> Facts:
    """Facts about the migrations of a change, from its rehearsal, its files and its diff."""
    files = [*facts["files"], *facts["pending"]]
    severe = [one for one in facts["findings"] if one["severity"] != "info"]
    changed = git.changes(session.clone, session.clone.base)
    return {
        "files": [one["path"] for one in (*files, *facts["executed"])],
        "additive": (
            facts.get("added_only") is True
            and not severe
            and all(not one["gone"] and additive.adds_only(one["text"]) for one in files)
        ),
        "rehearsed": facts["status"] == "passed" and _went(facts, "up"),
        "on_copy": facts["status"] == "passed" and str(facts["data"]).startswith("copy"),
        "reversible": facts["status"] == "passed" and _went(facts, "up", "down", "up again") and not severe,
        # other files of the change, models for one, that applying imports
        "runs_nothing_else": not facts["executed"],
        # None: no linter read them, so nothing is known
        "lint_clean": facts["status"] == "passed" and not facts["findings"] and facts.get("lint") == [],
        "no_altered_definition": altered == 0,
        "no_new_dependency": not declares_packages(one.path for one in changed),
    }


def declares_packages(paths: Iterable[str]) -> bool:
    """Whether any of the paths is a file that says which packages are used."""
    return any(manifests.is_manifest(path) or PurePosixPath(path).name in _LOCKS for path in paths)


def _went(facts: Mapping[str, Any], *names: str) -> bool:
    """Whether exactly these steps were taken, at least, and every step ended well."""
    done = [step["name"] for step in facts["steps"]]
    return all(name in done for name in names) and all(step["ok"] for step in facts["steps"])
