"""Restrictions of processing, and the leads that are kept and not processed."""

import sqlalchemy as sa
from alembic import op

import models.base

revision = "0009"
down_revision = "0008"

MINE = "current_setting('troth.tenant', true) IN ('*', tenant_id::text)"


def _mark() -> sa.types.TypeEngine[bytes]:
    return sa.LargeBinary(length=16).with_variant(sa.VARBINARY(length=16), "mysql", "mariadb")


def upgrade() -> None:
    """Forward."""
    op.create_table(
        "restrictions",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("email", _mark(), nullable=True),
        sa.Column("phone", _mark(), nullable=True),
        sa.Column("reason", sa.String(length=32), nullable=True),
        sa.Column("requester", _mark(), nullable=True),
        sa.Column("created_at", models.base.UtcDateTime(timezone=True), nullable=False),
        sa.Column("lifted_at", models.base.UtcDateTime(timezone=True), nullable=True),
        sa.Column("tenant_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_restrictions_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_restrictions")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_restrictions_tenant_id_id")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index("ix_restrictions_in_force", "restrictions", ["tenant_id", "kind", "lifted_at"], unique=False)
    op.add_column("leads", sa.Column("restricted", sa.String(length=32), nullable=True))
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE restrictions ENABLE ROW LEVEL SECURITY")
        op.execute("ALTER TABLE restrictions FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant_scope ON restrictions USING ({MINE}) WITH CHECK ({MINE})")
