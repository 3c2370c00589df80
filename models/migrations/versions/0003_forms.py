"""Forms, the daily counts beside the provider's, and what else is known of a lead: its first double, its acknowledgement."""

import sqlalchemy as sa
from alembic import op

import models.base

revision = "0003"
down_revision = "0002"

MINE = "current_setting('troth.tenant', true) IN ('*', tenant_id::text)"
TENANT_SCOPED = ("forms", "lead_checks")


def upgrade() -> None:
    """Forward."""
    op.create_table(
        "forms",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("connection_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("external_id", sa.String(length=190), nullable=False),
        sa.Column("name", sa.String(length=190), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("locale", sa.String(length=32), nullable=True),
        sa.Column("questions", models.base.JsonText(), nullable=False),
        sa.Column("legal", models.base.JsonText(), nullable=True),
        sa.Column("mapping", models.base.JsonText(), nullable=True),
        sa.Column("leads_count", sa.Integer(), nullable=True),
        sa.Column("expired_count", sa.Integer(), nullable=True),
        sa.Column("made_at", models.base.UtcDateTime(timezone=True), nullable=True),
        sa.Column("seen_at", models.base.UtcDateTime(timezone=True), nullable=False),
        sa.Column("gone_at", models.base.UtcDateTime(timezone=True), nullable=True),
        sa.Column("gone_sentence", sa.String(length=500), nullable=True),
        sa.Column("last_lead_at", models.base.UtcDateTime(timezone=True), nullable=True),
        sa.Column("silent_since", models.base.UtcDateTime(timezone=True), nullable=True),
        sa.Column("proven_until", models.base.UtcDateTime(timezone=True), nullable=True),
        sa.Column("read_due_at", models.base.UtcDateTime(timezone=True), nullable=True),
        sa.Column("reading_since", models.base.UtcDateTime(timezone=True), nullable=True),
        sa.Column("reading_began_at", models.base.UtcDateTime(timezone=True), nullable=True),
        sa.Column("reading_after", sa.String(length=500), nullable=True),
        sa.Column("check_due_at", models.base.UtcDateTime(timezone=True), nullable=True),
        sa.Column("backfill_since", models.base.UtcDateTime(timezone=True), nullable=True),
        sa.Column("backfill_after", sa.String(length=500), nullable=True),
        sa.Column("backfill_read", sa.Integer(), nullable=False),
        sa.Column("backfill_state", sa.String(length=32), nullable=True),
        sa.Column("backfill_sentence", sa.String(length=500), nullable=True),
        sa.Column("tenant_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "connection_id"],
            ["connections.tenant_id", "connections.id"],
            name=op.f("fk_forms_tenant_id_connection_id"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_forms_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_forms")),
        sa.UniqueConstraint(
            "tenant_id", "connection_id", "external_id", name=op.f("uq_forms_tenant_id_connection_id_external_id")
        ),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_forms_tenant_id_id")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index("ix_forms_read_due_at", "forms", ["read_due_at"], unique=False)

    op.create_table(
        "lead_checks",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("form_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("provider", sa.Integer(), nullable=False),
        sa.Column("received", sa.Integer(), nullable=False),
        sa.Column("acknowledged", sa.Integer(), nullable=False),
        sa.Column("missing", models.base.JsonText(), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("checked_at", models.base.UtcDateTime(timezone=True), nullable=False),
        sa.Column("tenant_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "form_id"], ["forms.tenant_id", "forms.id"], name=op.f("fk_lead_checks_tenant_id_form_id")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_lead_checks_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lead_checks")),
        sa.UniqueConstraint("tenant_id", "form_id", "day", name=op.f("uq_lead_checks_tenant_id_form_id_day")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index("ix_lead_checks_day", "lead_checks", ["tenant_id", "day"], unique=False)

    with op.batch_alter_table("leads", schema=None) as batch_op:
        batch_op.add_column(sa.Column("duplicate_of", sa.Uuid(as_uuid=False), nullable=True))
        batch_op.add_column(sa.Column("acknowledged_at", models.base.UtcDateTime(timezone=True), nullable=True))
        batch_op.create_index("ix_leads_form", ["tenant_id", "form_external_id", "created_at"], unique=False)
    if op.get_bind().dialect.name == "postgresql":
        for table in TENANT_SCOPED:
            op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
            op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
            op.execute(f"CREATE POLICY tenant_scope ON {table} USING ({MINE}) WITH CHECK ({MINE})")
