"""Every table in one import, for the migrations and the tests that compare them."""

from models import (
    calendar,
    calendar_event,
    connect_link,
    connection,
    deletion,
    feed,
    form,
    host,
    idempotency,
    inbox,
    job,
    lead,
    receipt,
    receipt_key,
    refusal,
    retention,
    tenant,
    tombstone,
    vault,
)
from models.base import Base

__all__ = [
    "calendar", "calendar_event", "connect_link", "connection", "deletion", "feed", "form", "host", "idempotency", "inbox",
    "job", "lead", "receipt", "receipt_key", "refusal", "retention", "tenant", "tombstone", "vault",
]  # fmt: skip

metadata = Base.metadata
