"""Every table in one import, for the migrations and the tests that compare them."""

from models import connection, host, idempotency, inbox, job, lead, refusal, tenant, vault
from models.base import Base

__all__ = ["connection", "host", "idempotency", "inbox", "job", "lead", "refusal", "tenant", "vault"]

metadata = Base.metadata
