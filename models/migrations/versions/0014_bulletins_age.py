"""Bulletins that are over let go of their pushes, feeds keep an entry; restrictions and copies of a user of the host."""

import sqlalchemy as sa
from alembic import op

import models.base

revision = "0014"
down_revision = "0013"


def _mark() -> sa.types.TypeEngine[bytes]:
    short = sa.LargeBinary(length=16)
    return short.with_variant(sa.VARBINARY(length=16), "mariadb").with_variant(sa.VARBINARY(length=16), "mysql")


def _instant() -> models.base.UtcDateTime:
    return models.base.UtcDateTime(timezone=True)


def upgrade() -> None:
    """Forward."""
    op.add_column("restrictions", sa.Column("user", _mark(), nullable=True))
    op.create_index("ix_restrictions_user", "restrictions", ["tenant_id", "user"])
    op.add_column("exports", sa.Column("user", _mark(), nullable=True))
    op.add_column("bulletins", sa.Column("prune_at", _instant(), nullable=True))
    op.create_index("ix_bulletins_prune_at", "bulletins", ["prune_at"])
    # The first look finds the right time.
    op.execute("UPDATE bulletins SET prune_at = ended_at WHERE counts IS NOT NULL")
    if op.get_bind().dialect.name == "postgresql":
        # Each row is changed twice soon after it was written: with room beside it, no index has to learn of that.
        op.execute("ALTER TABLE pushes SET (fillfactor = 50)")
    with op.batch_alter_table("feed_reads") as batch:
        batch.alter_column("read_at", existing_type=_instant(), nullable=True)
