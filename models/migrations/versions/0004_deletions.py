"""Deletions that are carried out: scopes, approval, frozen calendars, instants of each step; tombstones."""

import sqlalchemy as sa
from alembic import op

import models.base

revision = "0004"
down_revision = "0003"

MINE = "current_setting('troth.tenant', true) IN ('*', tenant_id::text)"
INSTANTS = (
    "approved_at",
    "frozen_at",
    "erased_at",
    "verified_at",
    "acknowledged_at",
    "rescanned_at",
    "moved_at",
    "act_at",
)


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
    _deletions()
    with op.batch_alter_table("connections", schema=None) as batch_op:
        batch_op.add_column(sa.Column("closed_at", _instant(), nullable=True))
        batch_op.add_column(sa.Column("tombstoned_at", _instant(), nullable=True))
    op.execute("UPDATE connections SET closed_at = updated_at WHERE status IN ('revoking', 'revoked')")
    op.create_table(
        "tombstones",
        sa.Column("tenant_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("mark", _mark(), nullable=False),
        sa.Column("until", _instant(), nullable=False),
        sa.Column("deletion_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("created_at", _instant(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "deletion_id"],
            ["deletions.tenant_id", "deletions.id"],
            name=op.f("fk_tombstones_tenant_id_deletion_id"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "mark", name=op.f("pk_tombstones")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index("ix_tombstones_until", "tombstones", ["tenant_id", "until"], unique=False)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE tombstones ENABLE ROW LEVEL SECURITY")
        op.execute("ALTER TABLE tombstones FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant_scope ON tombstones USING ({MINE}) WITH CHECK ({MINE})")


def _deletions() -> None:
    flags: list[sa.Column[bool]] = [sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.false())
             for name in ("urgent", "needs_approval", "host_needed")]  # fmt: skip
    with op.batch_alter_table("deletions", schema=None) as batch_op:
        for name in ("email", "phone", "requester", "approver"):
            batch_op.add_column(sa.Column(name, _mark(), nullable=True))
        for flag in flags:
            batch_op.add_column(flag)
        batch_op.add_column(sa.Column("alarm", sa.Integer(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("part_of", sa.Uuid(as_uuid=False), nullable=True))
        for name, size in (("scope_digest", 64), ("verification", 32), ("hold_reason", 32), ("calendar", 120),
                           ("calendar_version", 32), ("calendar_digest", 64)):  # fmt: skip
            batch_op.add_column(sa.Column(name, sa.String(length=size), nullable=True))
        for name in ("skipped", "found", "acks"):
            batch_op.add_column(sa.Column(name, models.base.JsonText(), nullable=True))
        for name in INSTANTS:
            batch_op.add_column(sa.Column(name, _instant(), nullable=True))
        batch_op.create_foreign_key(
            batch_op.f("fk_deletions_tenant_id_part_of"), "deletions", ["tenant_id", "part_of"], ["tenant_id", "id"]
        )
        batch_op.create_index("ix_deletions_act_at", ["act_at"], unique=False)
    # The defaults were for the rows that were there; those that wait are looked at when their time comes.
    with op.batch_alter_table("deletions", schema=None) as batch_op:
        for name in ("urgent", "needs_approval", "host_needed"):
            batch_op.alter_column(name, existing_type=sa.Boolean(), existing_nullable=False, server_default=None)
        batch_op.alter_column("alarm", existing_type=sa.Integer(), existing_nullable=False, server_default=None)
    op.execute("UPDATE deletions SET act_at = undo_until WHERE status = 'scheduled'")
