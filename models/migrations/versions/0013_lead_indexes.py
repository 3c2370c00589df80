"""Leads' indexes begin with what they are for, so that only the unique key answers for a tenant and an id."""

from alembic import op

revision = "0013"
down_revision = "0012"

INDEXES = {
    "ix_leads_form": ("ix_leads_form", ["form_external_id", "tenant_id", "created_at"]),
    "ix_leads_tenant_id_email_hash": ("ix_leads_email_hash", ["email_hash", "tenant_id"]),
    "ix_leads_tenant_id_phone_hash": ("ix_leads_phone_hash", ["phone_hash", "tenant_id"]),
}


def upgrade() -> None:
    """Forward."""
    for old, (new, columns) in INDEXES.items():
        op.drop_index(old, table_name="leads")
        op.create_index(new, "leads", columns, unique=False)
