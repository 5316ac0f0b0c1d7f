"""Which migrator knows a tool that was found; none for those that are only shown."""

from pathlib import Path

from backend_crew.tools.migrations import MigrationTool
from backend_crew.tools.migrators.alembic import AlembicMigrator
from backend_crew.tools.migrators.django import DjangoMigrator
from backend_crew.tools.migrators.flask import FlaskMigrator
from backend_crew.tools.migrators.protocol import Migrator, Pointing
from backend_crew.tools.migrators.sql import FORMS, SqlMigrator


def migrator_of(tree: Path, tool: MigrationTool, pointing: Pointing | None = None) -> Migrator | None:
    """The migrator of a tool in a tree, None where its migrations cannot be run here."""
    if not tool.can_rehearse:
        return None
    if tool.flask:
        return FlaskMigrator(tree, tool, pointing or Pointing())
    if tool.name == "alembic":
        return AlembicMigrator(tree, tool, pointing or Pointing())
    if tool.name == "django":
        return DjangoMigrator(tree, tool, pointing or Pointing())
    return SqlMigrator(tree, tool, pointing or Pointing()) if tool.name in FORMS else None
