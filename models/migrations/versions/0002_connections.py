"""Connections for their whole life: links, states, holders and grants; the feed; requests to delete.

Names of accounts were plain and are sealed from now on; those that were there go, and are shown by their ids.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

import models.base

revision = "0002"
down_revision = "0001"

MINE = "current_setting('troth.tenant', true) IN ('*', tenant_id::text)"
TENANT_SCOPED = ("connect_links", "connect_states", "deletion_steps", "deletions", "events", "feeds", "holders")


def upgrade() -> None:
    """Forward."""
    _tables()
    _connections()
    if op.get_bind().dialect.name == "postgresql":
        for table in TENANT_SCOPED:
            op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
            op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
            op.execute(f"CREATE POLICY tenant_scope ON {table} USING ({MINE}) WITH CHECK ({MINE})")


def _tables() -> None:
    op.create_table(
        "connect_links",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("integration", sa.String(length=32), nullable=False),
        sa.Column(
            "user",
            sa.LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mariadb").with_variant(mysql.MEDIUMBLOB(), "mysql"),
            nullable=True,
        ),
        sa.Column(
            "digest",
            sa.LargeBinary(length=32)
            .with_variant(sa.VARBINARY(length=32), "mariadb")
            .with_variant(sa.VARBINARY(length=32), "mysql"),
            nullable=False,
        ),
        sa.Column("created_at", models.base.UtcDateTime(timezone=True), nullable=False),
        sa.Column("expires_at", models.base.UtcDateTime(timezone=True), nullable=False),
        sa.Column("used_at", models.base.UtcDateTime(timezone=True), nullable=True),
        sa.Column("tenant_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_connect_links_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_connect_links")),
        sa.UniqueConstraint("digest", name=op.f("uq_connect_links_digest")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_connect_links_tenant_id_id")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_table(
        "events",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("data", models.base.JsonText(), nullable=False),
        sa.Column("created_at", models.base.UtcDateTime(timezone=True), nullable=False),
        sa.Column("tenant_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_events_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
        sa.UniqueConstraint("tenant_id", "position", name=op.f("uq_events_tenant_id_position")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index("ix_events_created_at", "events", ["created_at"], unique=False)

    op.create_table(
        "feeds",
        sa.Column("tenant_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_feeds_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_feeds")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_table(
        "connect_states",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("link_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("integration", sa.String(length=32), nullable=False),
        sa.Column(
            "digest",
            sa.LargeBinary(length=32)
            .with_variant(sa.VARBINARY(length=32), "mariadb")
            .with_variant(sa.VARBINARY(length=32), "mysql"),
            nullable=False,
        ),
        sa.Column(
            "browser",
            sa.LargeBinary(length=32)
            .with_variant(sa.VARBINARY(length=32), "mariadb")
            .with_variant(sa.VARBINARY(length=32), "mysql"),
            nullable=False,
        ),
        sa.Column(
            "kept",
            sa.LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mariadb").with_variant(mysql.MEDIUMBLOB(), "mysql"),
            nullable=False,
        ),
        sa.Column("created_at", models.base.UtcDateTime(timezone=True), nullable=False),
        sa.Column("expires_at", models.base.UtcDateTime(timezone=True), nullable=False),
        sa.Column("used_at", models.base.UtcDateTime(timezone=True), nullable=True),
        sa.Column("tenant_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "link_id"],
            ["connect_links.tenant_id", "connect_links.id"],
            name=op.f("fk_connect_states_tenant_id_link_id"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_connect_states_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_connect_states")),
        sa.UniqueConstraint("digest", name=op.f("uq_connect_states_digest")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index("ix_connect_states_expires_at", "connect_states", ["expires_at"], unique=False)

    op.create_table(
        "deletions",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("confirmation_code", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("connection_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("integration", sa.String(length=32), nullable=True),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("requested_by", sa.String(length=32), nullable=False),
        sa.Column("requested_at", models.base.UtcDateTime(timezone=True), nullable=False),
        sa.Column("undo_until", models.base.UtcDateTime(timezone=True), nullable=False),
        sa.Column("safe_due_at", models.base.UtcDateTime(timezone=True), nullable=False),
        sa.Column("promise_due_at", models.base.UtcDateTime(timezone=True), nullable=False),
        sa.Column("completed_at", models.base.UtcDateTime(timezone=True), nullable=True),
        sa.Column("tenant_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "connection_id"],
            ["connections.tenant_id", "connections.id"],
            name=op.f("fk_deletions_tenant_id_connection_id"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_deletions_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deletions")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_deletions_tenant_id_id")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index("ix_deletions_confirmation_code", "deletions", ["confirmation_code"], unique=False)
    op.create_index("ix_deletions_connection", "deletions", ["tenant_id", "connection_id"], unique=False)

    op.create_table(
        "holders",
        sa.Column("connection_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column(
            "mark",
            sa.LargeBinary(length=16)
            .with_variant(sa.VARBINARY(length=16), "mariadb")
            .with_variant(sa.VARBINARY(length=16), "mysql"),
            nullable=False,
        ),
        sa.Column("tenant_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "connection_id"],
            ["connections.tenant_id", "connections.id"],
            name=op.f("fk_holders_tenant_id_connection_id"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_holders_tenant_id")),
        sa.PrimaryKeyConstraint("connection_id", "mark", name=op.f("pk_holders")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index("ix_holders_mark", "holders", ["mark"], unique=False)

    op.create_table(
        "deletion_steps",
        sa.Column("deletion_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("sentence", sa.String(length=500), nullable=True),
        sa.Column("before", sa.Integer(), nullable=True),
        sa.Column("deleted", sa.Integer(), nullable=True),
        sa.Column("after", sa.Integer(), nullable=True),
        sa.Column("updated_at", models.base.UtcDateTime(timezone=True), nullable=False),
        sa.Column("tenant_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "deletion_id"],
            ["deletions.tenant_id", "deletions.id"],
            name=op.f("fk_deletion_steps_tenant_id_deletion_id"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_deletion_steps_tenant_id")),
        sa.PrimaryKeyConstraint("deletion_id", "position", name=op.f("pk_deletion_steps")),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )


def _connections() -> None:
    with op.batch_alter_table("connections", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "account",
                sa.LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mariadb").with_variant(mysql.MEDIUMBLOB(), "mysql"),
                nullable=True,
            )
        )
        batch_op.add_column(sa.Column("grant_id", sa.Uuid(as_uuid=False), nullable=True))
        batch_op.add_column(sa.Column("granted_at", models.base.UtcDateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("token_expires_at", models.base.UtcDateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("token_version", sa.Integer(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("refresh_by", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("refresh_until", models.base.UtcDateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("checked_at", models.base.UtcDateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("check_at", models.base.UtcDateTime(timezone=True), nullable=True))
        batch_op.alter_column(
            "claim", existing_type=sa.VARCHAR(length=230), type_=sa.String(length=300), existing_nullable=True
        )
        batch_op.drop_constraint(batch_op.f("uq_connections_tenant_id_integration_external_id"), type_="unique")
        batch_op.create_index("ix_connections_check_at", ["check_at"], unique=False)
        batch_op.drop_column("name")

    # The default was for the rows that were there.
    with op.batch_alter_table("connections") as batch_op:
        batch_op.alter_column("token_version", existing_type=sa.Integer(), existing_nullable=False, server_default=None)
    op.execute("UPDATE connections SET check_at = updated_at")
    # An index on the state of a job is written three times a job, and misleads PostgreSQL's plans for the ends of groups.
    op.create_index("ix_jobs_tenant_id_id", "jobs", ["tenant_id", "id"])
    op.drop_index("ix_jobs_tenant_id_state", "jobs")
