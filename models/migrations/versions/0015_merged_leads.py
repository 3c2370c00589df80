"""Since when a tenant's lists show each person once, and the index that finds that person's later leads."""

import sqlalchemy as sa
from alembic import op

import models.base

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Forward."""
    op.add_column("tenants", sa.Column("leads_merged_at", models.base.UtcDateTime(timezone=True), nullable=True))
    op.create_index("ix_leads_duplicate_of", "leads", ["duplicate_of", "tenant_id"], unique=False)
