"""Retention rules with their notices, legal retentions, the tenant's switch, and deletions of what was idle."""

from typing import Any

import sqlalchemy as sa
from alembic import op

import models.base

revision = "0011"
down_revision = "0010"

MINE = "current_setting('troth.tenant', true) IN ('*', tenant_id::text)"
ON_MARIADB: dict[str, Any] = {"mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin", "mysql_engine": "InnoDB"}


def _mark() -> sa.types.TypeEngine[bytes]:
    return (
        sa.LargeBinary(length=16)
        .with_variant(sa.VARBINARY(length=16), "mariadb")
        .with_variant(sa.VARBINARY(length=16), "mysql")
    )


def _instant() -> models.base.UtcDateTime:
    return models.base.UtcDateTime(timezone=True)


def upgrade() -> None:
    """Forward."""
    op.add_column("tenants", sa.Column("retention_off_at", _instant(), nullable=True))
    op.add_column("deletions", sa.Column("rule_id", sa.Uuid(as_uuid=False), nullable=True))
    op.add_column("deletions", sa.Column("idle_since", _instant(), nullable=True))
    op.add_column("deletions", sa.Column("at_most", sa.Integer(), nullable=True))
    _rules()
    op.create_table(
        "legal_retentions",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("store", sa.String(length=32), nullable=False),
        sa.Column("jurisdiction", sa.String(length=12), nullable=False),
        sa.Column("reason", sa.String(length=190), nullable=False),
        sa.Column("effective_from", sa.Date(), nullable=False),
        sa.Column("until", sa.Date(), nullable=True),
        sa.Column("created_at", _instant(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_legal_retentions_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_legal_retentions")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_legal_retentions_tenant_id_id")),
        **ON_MARIADB,
    )
    if op.get_bind().dialect.name == "postgresql":
        for table in ("retention_rules", "legal_retentions"):
            op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
            op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
            op.execute(f"CREATE POLICY tenant_scope ON {table} USING ({MINE}) WITH CHECK ({MINE})")


def _rules() -> None:
    instants: list[sa.Column[Any]] = [sa.Column(name, _instant(), nullable=True)
                for name in ("armed_at", "counted_at", "noticed_at", "idle_since", "runs_at", "next_at")]  # fmt: skip
    op.create_table(
        "retention_rules",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("store", sa.String(length=32), nullable=False),
        sa.Column("after_days", sa.Integer(), nullable=False),
        sa.Column("notice_hours", sa.Integer(), nullable=False),
        sa.Column("batch", sa.Integer(), nullable=False),
        sa.Column("author", _mark(), nullable=False),
        sa.Column("armer", _mark(), nullable=True),
        sa.Column("counted", sa.Integer(), nullable=True),
        sa.Column("noticed", sa.Integer(), nullable=True),
        sa.Column("deletion_id", sa.Uuid(as_uuid=False), nullable=True),
        *instants,
        sa.Column("created_at", _instant(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_retention_rules_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retention_rules")),
        sa.UniqueConstraint("tenant_id", "name", name=op.f("uq_retention_rules_tenant_id_name")),
        **ON_MARIADB,
    )
    op.create_index("ix_retention_rules_next_at", "retention_rules", ["next_at"], unique=False)
