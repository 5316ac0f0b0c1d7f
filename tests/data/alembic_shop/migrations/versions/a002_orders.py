"""Orders."""

import sqlalchemy as sa
from alembic import op

revision: str = "a002"
down_revision: str | None = "a001"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Creates the table."""
    op.create_table(
        "orders",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("user_id", sa.Integer(), sa.ForeignKey("users.id"), nullable=False),
        sa.Column("status", sa.String(10), nullable=False),
        sa.Column("total", sa.Numeric(10, 2), nullable=False),
        sa.Column("placed_at", sa.DateTime(), nullable=False),
        sa.CheckConstraint("status IN ('open', 'paid', 'sent')", name="ck_orders_status"),
    )
    op.create_index("ix_orders_user_id", "orders", ["user_id"])


def downgrade() -> None:
    """Drops the table."""
    op.drop_index("ix_orders_user_id", table_name="orders")
    op.drop_table("orders")
