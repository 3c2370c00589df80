"""What counts as activity, and what has had none for long.

A lead is active when it comes in, and whenever a person or the host does something with it: an entry of its history, be it
called, noted or put right. What Troth writes into the history by itself (that the lead was received, mapped, acknowledged),
notices of the provider, catch-ups and backfills count for nothing; nor does reading, for a nightly copy reads everything.
"""

from datetime import datetime

from sqlalchemy import ColumnElement, Table, and_, select

from models.lead import ACKNOWLEDGED, MAPPED, RECEIVED, Lead, LeadHistory

LEADS = "leads"
RULED = (LEADS,)
"""The stores that a retention rule may be about."""
NO_ACTIVITY = (RECEIVED, MAPPED, ACKNOWLEDGED)
"""Kinds of history entries that machines write."""

_LEADS: Table = Lead.__table__  # type: ignore[assignment]
_HISTORY: Table = LeadHistory.__table__  # type: ignore[assignment]


def idle_leads(tenant_id: str, since: datetime) -> ColumnElement[bool]:
    """A tenant's leads that came before an instant, and with which nobody has done anything since. Those of a restricted
    person are kept: a restriction is asked for where an erasure would harm."""
    entry = _HISTORY.alias()
    done = select(entry.c.id).where(
        entry.c.tenant_id == _LEADS.c.tenant_id, entry.c.lead_id == _LEADS.c.id,
        # When we were told: an entry may say that it happened at any time.
        entry.c.recorded_at >= since, entry.c.kind.not_in(NO_ACTIVITY),
    ).correlate(_LEADS)  # fmt: skip
    mine = _LEADS.c.tenant_id == tenant_id
    return and_(mine, _LEADS.c.received_at < since, _LEADS.c.restricted.is_(None), ~done.exists())
