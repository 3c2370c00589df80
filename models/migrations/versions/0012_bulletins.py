"""Devices with their tags, bulletins with a push for each device, what was read, and a person by their id at the host."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

import models.base

revision = "0012"
down_revision = "0011"

MINE = "current_setting('troth.tenant', true) IN ('*', tenant_id::text)"
TENANT_SCOPED = ("bulletins", "devices", "device_tags", "pushes", "feed_reads")


def _id(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Uuid(as_uuid=False), nullable=nullable)


def _words(name: str, length: int = 32, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(length=length), nullable=nullable)


def _instant(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, models.base.UtcDateTime(timezone=True), nullable=nullable)


def _number(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=nullable)


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), nullable=False)


def _sealed(name: str) -> sa.Column[bytes]:
    blob = sa.LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mariadb").with_variant(mysql.MEDIUMBLOB(), "mysql")
    return sa.Column(name, blob, nullable=False)


def _mark(name: str, *, nullable: bool = False) -> sa.Column[bytes]:
    short = sa.LargeBinary(length=16)
    short = short.with_variant(sa.VARBINARY(length=16), "mariadb").with_variant(sa.VARBINARY(length=16), "mysql")
    return sa.Column(name, short, nullable=nullable)


def _table(name: str, key: Sequence[str], *parts: Any, unique: Sequence[Sequence[str]] = (),
           parent: tuple[str, str] | None = None) -> None:  # fmt: skip
    """A table of tenants' rows. `parent` is (column, table) of what its rows hang on."""
    more: list[Any] = [sa.UniqueConstraint(*columns, name=op.f(f"uq_{name}_{'_'.join(columns)}")) for columns in unique]
    more.append(sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f(f"fk_{name}_tenant_id")))
    if parent is not None:
        column, table = parent
        more.append(
            sa.ForeignKeyConstraint(
                ["tenant_id", column], [f"{table}.tenant_id", f"{table}.id"], name=op.f(f"fk_{name}_tenant_id_{column}")
            )
        )
    op.create_table(
        name, *parts, _id("tenant_id"), *more,
        sa.PrimaryKeyConstraint(*key, name=op.f(f"pk_{name}")),
        mysql_charset="utf8mb4", mysql_collate="utf8mb4_bin", mysql_engine="InnoDB",
    )  # fmt: skip


def upgrade() -> None:
    """Forward."""
    op.add_column("deletions", _mark("user", nullable=True))
    _table(
        "bulletins", ["id"], _id("id"), _sealed("content"), _sealed("audience"), _words("status"), _flag("is_test"),
        _words("priority"), _flag("respect_quiet_hours"), _number("per_minute", nullable=True),
        _instant("send_at", nullable=True), _words("local_at", 19, nullable=True), _instant("starts_at"),
        _instant("expires_at"), _instant("created_at"), _instant("fixed_at", nullable=True),
        _instant("ended_at", nullable=True), _instant("wake_at", nullable=True), _id("after", nullable=True),
        _number("chunks"), _number("devices"), _number("recipients"),
        sa.Column("counts", models.base.JsonText(), nullable=True),
        _words("sentence", 500, nullable=True), unique=[["tenant_id", "id"]],
    )  # fmt: skip
    op.create_index("ix_bulletins_wake_at", "bulletins", ["wake_at"])
    _table(
        "devices", ["id"], _id("id"), _words("host_id", 190), _words("kind"), _sealed("address"), _mark("address_hash"),
        _sealed("user"), _mark("user_hash"), _words("locale", 35, nullable=True), _words("timezone", 64, nullable=True),
        _instant("created_at"), _instant("seen_at"),
        unique=[["tenant_id", "address_hash"], ["tenant_id", "host_id"], ["tenant_id", "id"]],
    )  # fmt: skip
    op.create_index("ix_devices_seen_at", "devices", ["seen_at"])
    op.create_index("ix_devices_tenant_id_user_hash", "devices", ["tenant_id", "user_hash"])
    _table(
        "device_tags", ["id"], _id("id"), _id("device_id"), _words("tag", 64),
        unique=[["tenant_id", "device_id", "tag"]], parent=("device_id", "devices"),
    )  # fmt: skip
    op.create_index("ix_device_tags_tag", "device_tags", ["tenant_id", "tag"])
    _table(
        "pushes", ["id"], _id("id"), _id("bulletin_id"), _id("device_id", nullable=True), _mark("user_hash"),
        _words("state"), _words("reason", nullable=True), _instant("due_at"), _instant("lease_until", nullable=True),
        _number("attempts"), _number("doubts"), _instant("ended_at", nullable=True),
        unique=[["tenant_id", "bulletin_id", "device_id"]], parent=("bulletin_id", "bulletins"),
    )  # fmt: skip
    op.create_index("ix_pushes_user", "pushes", ["tenant_id", "user_hash", "bulletin_id"])
    _table(
        "feed_reads", ["id"], _id("id"), _id("bulletin_id"), _mark("user_hash"), _instant("read_at"),
        unique=[["tenant_id", "bulletin_id", "user_hash"]], parent=("bulletin_id", "bulletins"),
    )  # fmt: skip
    op.create_index("ix_feed_reads_user", "feed_reads", ["tenant_id", "user_hash"])
    if op.get_bind().dialect.name == "postgresql":
        for table in TENANT_SCOPED:
            op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
            op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
            op.execute(f"CREATE POLICY tenant_scope ON {table} USING ({MINE}) WITH CHECK ({MINE})")
