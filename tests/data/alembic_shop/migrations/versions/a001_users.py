"""Users."""

import sqlalchemy as sa
from alembic import op

revision: str = "a001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Creates the table."""
    op.create_table(
        "users",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("email", sa.String(120), nullable=False, unique=True),
        sa.Column("name", sa.String(80)),
    )


def downgrade() -> None:
    """Drops the table."""
    op.drop_table("users")
