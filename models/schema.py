"""Every table in one import, for the migrations and the tests that compare them."""

from models import (
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
    refusal,
    tenant,
    vault,
)
from models.base import Base

__all__ = [
    "connect_link", "connection", "deletion", "feed", "form", "host", "idempotency", "inbox", "job", "lead", "refusal",
    "tenant", "vault",
]  # fmt: skip

metadata = Base.metadata
