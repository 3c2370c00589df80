"""Every table in one import, for the migrations and the tests that compare them."""

from models import (
    calendar,
    calendar_event,
    connect_link,
    connection,
    deletion,
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
    "calendar", "calendar_event", "connect_link", "connection", "deletion", "export", "feed", "form", "host", "idempotency",
    "inbox", "job", "lead", "opt_out", "policy_notice", "receipt", "receipt_key", "refusal", "restriction", "retention",
    "tenant", "tombstone", "vault",
]  # fmt: skip

metadata = Base.metadata
