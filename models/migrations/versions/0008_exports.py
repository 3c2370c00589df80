"""Copies that people ask for, and their sealed pieces."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

import models.base

revision = "0008"
down_revision = "0007"

MINE = "current_setting('troth.tenant', true) IN ('*', tenant_id::text)"


def _binary(size: int) -> sa.types.TypeEngine[bytes]:
    return sa.LargeBinary(length=size).with_variant(sa.VARBINARY(length=size), "mysql", "mariadb")


def upgrade() -> None:
    """Forward."""
    op.create_table(
        "exports",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("email", _binary(16), nullable=True),
        sa.Column("phone", _binary(16), nullable=True),
        sa.Column("requester", _binary(16), nullable=True),
        sa.Column("verification", sa.String(length=32), nullable=True),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("counts", models.base.JsonText(), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("downloads", sa.Integer(), nullable=False),
        sa.Column("sentence", sa.String(length=500), nullable=True),
        sa.Column("key", _binary(100), nullable=True),
        sa.Column("link", _binary(100), nullable=True),
        sa.Column("digest", _binary(32), nullable=True),
        sa.Column("requested_at", models.base.UtcDateTime(timezone=True), nullable=False),
        sa.Column("ready_at", models.base.UtcDateTime(timezone=True), nullable=True),
        sa.Column("expires_at", models.base.UtcDateTime(timezone=True), nullable=True),
        sa.Column("tenant_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_exports_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_exports")),
        sa.UniqueConstraint("digest", name=op.f("uq_exports_digest")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_exports_tenant_id_id")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index("ix_exports_status_expires_at", "exports", ["status", "expires_at"], unique=False)
    op.create_table(
        "export_chunks",
        sa.Column("tenant_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("export_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("data", sa.LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql", "mariadb"), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "export_id"], ["exports.tenant_id", "exports.id"],
            name=op.f("fk_export_chunks_tenant_id_export_id"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "export_id", "number", name=op.f("pk_export_chunks")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )  # fmt: skip
    if op.get_bind().dialect.name == "postgresql":
        for table in ("exports", "export_chunks"):
            op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
            op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
            op.execute(f"CREATE POLICY tenant_scope ON {table} USING ({MINE}) WITH CHECK ({MINE})")
