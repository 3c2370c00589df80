"""A browser session knows the key that it began with: one key is one person, however often it signs in."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Forward."""
    op.add_column("sign_ins", sa.Column("key_id", sa.Uuid(as_uuid=False), nullable=True))
