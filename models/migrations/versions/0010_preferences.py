"""Who wants no bulletins; notices of a change of policy, and the evidence of who was told."""

import sqlalchemy as sa
from alembic import op

import models.base

revision = "0010"
down_revision = "0009"

MINE = "current_setting('troth.tenant', true) IN ('*', tenant_id::text)"


def _mark() -> sa.types.TypeEngine[bytes]:
    return sa.LargeBinary(length=16).with_variant(sa.VARBINARY(length=16), "mysql", "mariadb")


def _instant() -> models.base.UtcDateTime:
    return models.base.UtcDateTime(timezone=True)


def upgrade() -> None:
    """Forward."""
    op.create_table(
        "opt_outs",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("mark", _mark(), nullable=False),
        sa.Column("created_at", _instant(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_opt_outs_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_opt_outs")),
        sa.UniqueConstraint("tenant_id", "mark", name=op.f("uq_opt_outs_tenant_id_mark")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_table(
        "policy_notices",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("origin", sa.String(length=32), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("effective_at", _instant(), nullable=False),
        sa.Column("url", sa.String(length=500), nullable=False),
        sa.Column("summary", sa.String(length=500), nullable=False),
        sa.Column("created_at", _instant(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_policy_notices_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policy_notices")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_policy_notices_tenant_id_id")),
        sa.UniqueConstraint(
            "tenant_id", "origin", "version", name=op.f("uq_policy_notices_tenant_id_origin_version")
        ),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )  # fmt: skip
    op.create_table(
        "policy_recipients",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("notice_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("mark", _mark(), nullable=False),
        sa.Column("sent_at", _instant(), nullable=False),
        sa.Column("acknowledged_at", _instant(), nullable=True),
        sa.Column("tenant_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_policy_recipients_tenant_id")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "notice_id"], ["policy_notices.tenant_id", "policy_notices.id"],
            name=op.f("fk_policy_recipients_tenant_id_notice_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policy_recipients")),
        sa.UniqueConstraint(
            "tenant_id", "notice_id", "mark", name=op.f("uq_policy_recipients_tenant_id_notice_id_mark")
        ),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )  # fmt: skip
    op.create_index(
        "ix_policy_recipients_acknowledged", "policy_recipients", ["tenant_id", "notice_id", "acknowledged_at"]
    )
    if op.get_bind().dialect.name == "postgresql":
        for table in ("opt_outs", "policy_notices", "policy_recipients"):
            op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
            op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
            op.execute(f"CREATE POLICY tenant_scope ON {table} USING ({MINE}) WITH CHECK ({MINE})")
