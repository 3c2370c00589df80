"""How many messages a minute all bulletins of a tenant together may send."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Forward."""
    op.add_column("tenants", sa.Column("pushes_per_minute", sa.Integer(), nullable=True))
