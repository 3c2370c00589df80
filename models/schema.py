"""Every table in one import, for the migrations and the tests that compare them."""

from models import (
    bulletin,
    calendar,
    calendar_event,
    connect_link,
    connection,
    deletion,
    device,
    export,
    feed,
    form,
    host,
    idempotency,
    inbox,
    job,
    lead,
    opt_out,
    policy_notice,
    push,
    receipt,
    receipt_key,
    refusal,
    restriction,
    retention,
    tenant,
    tombstone,
    vault,
)
from models.base import Base

__all__ = [
    "bulletin", "calendar", "calendar_event", "connect_link", "connection", "deletion", "device", "export", "feed", "form",
    "host", "idempotency", "inbox", "job", "lead", "opt_out", "policy_notice", "push", "receipt", "receipt_key", "refusal",
    "restriction", "retention", "tenant", "tombstone", "vault",
]  # fmt: skip

metadata = Base.metadata
