"""Calendars at Google, the channels by which their changes are told, and the host's events with their links."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

import models.base

revision = "0007"
down_revision = "0006"

MINE = "current_setting('troth.tenant', true) IN ('*', tenant_id::text)"


def _mark(size: int) -> sa.types.TypeEngine[bytes]:
    return (
        sa.LargeBinary(length=size)
        .with_variant(sa.VARBINARY(length=size), "mariadb")
        .with_variant(sa.VARBINARY(length=size), "mysql")
    )


def _sealed() -> sa.types.TypeEngine[bytes]:
    return sa.LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql", "mariadb")


def _instant() -> models.base.UtcDateTime:
    return models.base.UtcDateTime(timezone=True)


def upgrade() -> None:
    """Forward."""
    _calendars()
    _channels()
    _events()
    if op.get_bind().dialect.name == "postgresql":
        for table in ("calendars", "channels", "calendar_events"):
            op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
            op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
            op.execute(f"CREATE POLICY tenant_scope ON {table} USING ({MINE}) WITH CHECK ({MINE})")


def _calendars() -> None:
    op.create_table(
        "calendars",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("connection_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("external_id", sa.String(length=190), nullable=True),
        sa.Column("clash", sa.String(length=32), nullable=False),
        sa.Column("on_gone", sa.String(length=32), nullable=False),
        sa.Column("on_revoke", sa.String(length=32), nullable=False),
        sa.Column("sync_token", sa.Text(), nullable=True),
        sa.Column("dirty_at", _instant(), nullable=True),
        sa.Column("pulled_at", _instant(), nullable=True),
        sa.Column("look_at", _instant(), nullable=True),
        sa.Column("gone_at", _instant(), nullable=True),
        sa.Column("created_at", _instant(), nullable=False),
        sa.Column("updated_at", _instant(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "connection_id"],
            ["connections.tenant_id", "connections.id"],
            name=op.f("fk_calendars_tenant_id_connection_id"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_calendars_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calendars")),
        sa.UniqueConstraint("tenant_id", "connection_id", name=op.f("uq_calendars_tenant_id_connection_id")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index("ix_calendars_look_at", "calendars", ["look_at"], unique=False)


def _channels() -> None:
    op.create_table(
        "channels",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("connection_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("digest", _mark(32), nullable=False),
        sa.Column("resource_id", sa.String(length=190), nullable=True),
        sa.Column("expires_at", _instant(), nullable=True),
        sa.Column("heard_at", _instant(), nullable=True),
        sa.Column("created_at", _instant(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "connection_id"],
            ["connections.tenant_id", "connections.id"],
            name=op.f("fk_channels_tenant_id_connection_id"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_channels_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_channels")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index("ix_channels_connection", "channels", ["tenant_id", "connection_id"], unique=False)


def _events() -> None:
    op.create_table(
        "calendar_events",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("connection_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("host_id", sa.String(length=190), nullable=False),
        sa.Column("external_id", sa.String(length=64), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("etag", sa.String(length=120), nullable=True),
        sa.Column("content_hash", _mark(16), nullable=True),
        sa.Column("is_dressed", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("wanted", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("wish", _sealed(), nullable=True),
        sa.Column("wished_hash", _mark(16), nullable=True),
        sa.Column("wished_at", _instant(), nullable=False),
        sa.Column("found", _sealed(), nullable=True),
        sa.Column("told_at", _instant(), nullable=True),
        sa.Column("due_at", _instant(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("instances", models.base.JsonText(), nullable=True),
        sa.Column("synced_at", _instant(), nullable=True),
        sa.Column("error_code", sa.String(length=32), nullable=True),
        sa.Column("error_sentence", sa.String(length=500), nullable=True),
        sa.Column("created_at", _instant(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "connection_id"],
            ["connections.tenant_id", "connections.id"],
            name=op.f("fk_calendar_events_tenant_id_connection_id"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_calendar_events_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calendar_events")),
        sa.UniqueConstraint(
            "tenant_id", "host_id", "connection_id", name=op.f("uq_calendar_events_tenant_id_host_id_connection_id")
        ),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index(
        "ix_calendar_events_due", "calendar_events", ["tenant_id", "connection_id", "state", "due_at"], unique=False
    )
    op.create_index(
        "ix_calendar_events_external_id", "calendar_events", ["tenant_id", "connection_id", "external_id"], unique=False
    )
    op.create_index("ix_calendar_events_told_at", "calendar_events", ["told_at"], unique=False)
