"""One typed function per kind of job: the only place where the names of jobs are written."""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid5

from models.job import NewJob
from models.tenancy import SYSTEM

INTERACTIVE: Final = "interactive"
"""Work a person waits for: leads, refreshes."""
BULK: Final = "bulk"
"""Work nobody waits for: backfills, pushes, erasures."""
LANES: Final = (INTERACTIVE, BULK)

HELD_AGAIN: Final = timedelta(minutes=10)
"""How long until a job of a restricted tenant is looked at again; the lifting wakes it earlier."""
LEASE: Final = timedelta(seconds=15)
"""How long a claim holds without a sign of life; a worker at work renews all of its leases every few seconds."""
MOST_ATTEMPTS: Final = 12
"""After so many attempts a job is dead: kept, and replayed only by a person."""

TICKS: Final = UUID("7d1f6a0e-5c56-4c8e-9b7e-0f1f2d3c4b5a")
"""The namespace of the ids of beat ticks."""

FORMS_DISCOVER: Final = "forms.discover"
LEADS_FETCH: Final = "leads.fetch"
LEADS_CATCH_UP: Final = "leads.catch_up"
LEADS_BACKFILL: Final = "leads.backfill"
LEADS_CHECK: Final = "leads.check"
LEADS_SWEEP: Final = "leads.sweep"
CONNECTIONS_CHECK: Final = "connections.check"
CONNECTIONS_CHECK_ALL: Final = "connections.check_all"
CONNECTIONS_REVOKE: Final = "connections.revoke"
CONNECTIONS_SWEEP: Final = "connections.sweep"
DELETIONS_RUN: Final = "deletions.run"
DELETIONS_SWEEP: Final = "deletions.sweep"
EXPORTS_RUN: Final = "exports.run"
EXPORTS_SWEEP: Final = "exports.sweep"
POLICIES_ANNOUNCE: Final = "policies.announce"
CALENDARS_CONVERGE: Final = "calendars.converge"
CALENDARS_WATCH: Final = "calendars.watch"
CALENDARS_SWEEP: Final = "calendars.sweep"
BULLETINS_START: Final = "bulletins.start"
BULLETINS_SEND: Final = "bulletins.send"
BULLETINS_SETTLE: Final = "bulletins.settle"
BULLETINS_SWEEP: Final = "bulletins.sweep"
BULLETINS_PRUNE: Final = "bulletins.prune"
DEVICES_PRUNE: Final = "devices.prune"
CANARY: Final = "canary.sing"
RETENTION_RUN: Final = "retention.run"
RETENTION_SWEEP: Final = "retention.sweep"
LEDGER_PRUNE: Final = "ledger.prune"

ALTHOUGH_RESTRICTED: Final = (DELETIONS_RUN, CONNECTIONS_REVOKE)
"""What runs for a tenant that is restricted, too: an erasure, and the end of a grant, which is part of one."""


def leads_fetch(tenant_id: str, connection_id: str) -> NewJob:
    """Read every pending lead of one page from Meta."""
    return NewJob(
        tenant_id, LEADS_FETCH, INTERACTIVE, key=f"{LEADS_FETCH}:{connection_id}", connection_id=connection_id
    )


def forms_discover(tenant_id: str, connection_id: str, due_at: datetime | None = None) -> NewJob:
    """List the forms of one page."""
    return _of_page(FORMS_DISCOVER, tenant_id, connection_id, due_at)


def leads_catch_up(tenant_id: str, connection_id: str, due_at: datetime | None = None) -> NewJob:
    """Read the forms of one page that are due, each from the point up to which it is proven."""
    return _of_page(LEADS_CATCH_UP, tenant_id, connection_id, due_at)


def leads_check(tenant_id: str, connection_id: str, due_at: datetime | None = None) -> NewJob:
    """Count yesterday's leads of one page beside Meta's."""
    return _of_page(LEADS_CHECK, tenant_id, connection_id, due_at)


def leads_backfill(tenant_id: str, connection_id: str, form_id: str) -> NewJob:
    """Read one form's leads from the instant that its row names (`models.form.begin_backfill`)."""
    return NewJob(
        tenant_id, LEADS_BACKFILL, BULK, key=f"{LEADS_BACKFILL}:{form_id}", connection_id=connection_id,
        args={"form": form_id},
    )  # fmt: skip


def _of_page(kind: str, tenant_id: str, connection_id: str, due_at: datetime | None) -> NewJob:
    return NewJob(tenant_id, kind, BULK, key=f"{kind}:{connection_id}", connection_id=connection_id, due_at=due_at)


def connections_check(tenant_id: str, connection_id: str, due_at: datetime | None = None) -> NewJob:
    """Look at a grant: is it good, complete, and still ours."""
    key = f"{CONNECTIONS_CHECK}:{connection_id}"
    return NewJob(tenant_id, CONNECTIONS_CHECK, BULK, key=key, connection_id=connection_id, due_at=due_at)


def connections_check_all(tenant_id: str, integration: str) -> NewJob:
    """Look at those of a tenant's grants at one integration whose time has come, many in one call."""
    key = f"{CONNECTIONS_CHECK_ALL}:{integration}"
    return NewJob(tenant_id, CONNECTIONS_CHECK_ALL, BULK, key=key, args={"integration": integration})


def connections_revoke(tenant_id: str, connection_id: str) -> NewJob:
    """Tell the provider that a closed connection is over, then destroy its grant. A person waits for it."""
    key = f"{CONNECTIONS_REVOKE}:{connection_id}"
    return NewJob(tenant_id, CONNECTIONS_REVOKE, INTERACTIVE, key=key, connection_id=connection_id)


def deletions_run(tenant_id: str, deletion_id: str) -> NewJob:
    """Carry a deletion on: freeze, erase, verify, or look once more a day later. It has no connection: it outlives all."""
    key = f"{DELETIONS_RUN}:{deletion_id}"
    return NewJob(tenant_id, DELETIONS_RUN, BULK, key=key, args={"deletion": deletion_id})


def exports_run(tenant_id: str, export_id: str) -> NewJob:
    """Make a copy that was asked for."""
    return NewJob(tenant_id, EXPORTS_RUN, BULK, key=f"{EXPORTS_RUN}:{export_id}", args={"export": export_id})


def policies_announce(notice_id: str) -> NewJob:
    """Tell all tenants of a platform's notice."""
    return NewJob(SYSTEM, POLICIES_ANNOUNCE, BULK, key=f"{POLICIES_ANNOUNCE}:{notice_id}", args={"notice": notice_id})


def calendars_converge(tenant_id: str, connection_id: str, due_at: datetime | None = None) -> NewJob:
    """Read the changes of one connection's calendar, and write what the host wishes."""
    return _of_page(CALENDARS_CONVERGE, tenant_id, connection_id, due_at)


def calendars_watch(tenant_id: str, connection_id: str) -> NewJob:
    """Ask for notices of the changes of one connection's calendar."""
    return _of_page(CALENDARS_WATCH, tenant_id, connection_id, None)


def bulletins_start(tenant_id: str, bulletin_id: str, due_at: datetime | None = None) -> NewJob:
    """Fix a bulletin's recipients, and put the jobs that send it."""
    key = f"{BULLETINS_START}:{bulletin_id}"
    return NewJob(tenant_id, BULLETINS_START, BULK, key=key, args={"bulletin": bulletin_id}, due_at=due_at)


def bulletins_send(
    tenant_id: str, bulletin_id: str, after: str | None, last: str, due_at: datetime | None = None
) -> NewJob:
    """Send a bulletin to its devices behind the id `after`, up to `last`."""
    args = {"bulletin": bulletin_id, "after": after, "last": last}
    return NewJob(
        tenant_id, BULLETINS_SEND, BULK, key=f"{BULLETINS_SEND}:{bulletin_id}:{last}", args=args, due_at=due_at
    )


def bulletins_settle(tenant_id: str, bulletin_id: str, due_at: datetime | None = None) -> NewJob:
    """See whether a bulletin is over, and end what is left of it."""
    key = f"{BULLETINS_SETTLE}:{bulletin_id}"
    return NewJob(tenant_id, BULLETINS_SETTLE, BULK, key=key, args={"bulletin": bulletin_id}, due_at=due_at)


def bulletins_prune(tenant_id: str, bulletin_id: str) -> NewJob:
    """Let go of what is kept no longer of a bulletin that is over."""
    key = f"{BULLETINS_PRUNE}:{bulletin_id}"
    return NewJob(tenant_id, BULLETINS_PRUNE, BULK, key=key, args={"bulletin": bulletin_id})


def retention_run(tenant_id: str, rule_id: str) -> NewJob:
    """Look at a retention rule, and take its next step."""
    return NewJob(tenant_id, RETENTION_RUN, BULK, key=f"{RETENTION_RUN}:{rule_id}", args={"rule": rule_id})


def after_grant(tenant_id: str, connection_id: str, integration: str) -> list[NewJob]:
    """What a fresh or renewed grant makes possible: look at it, and do what waited for it."""
    found = [connections_check(tenant_id, connection_id)]
    if integration == "facebook_leads":
        found += [leads_fetch(tenant_id, connection_id), forms_discover(tenant_id, connection_id),
                  leads_catch_up(tenant_id, connection_id)]  # fmt: skip
    if integration == "google_calendar":
        found.append(calendars_converge(tenant_id, connection_id))
    return found


def tick(kind: str, lane: str, slot: datetime) -> NewJob:
    """A beat tick of Troth's own. Its id comes from name and slot, so that two beats make one job of it."""
    name = f"{kind}:{slot:%Y%m%dT%H%M%SZ}"
    return NewJob(SYSTEM, kind, lane, key=name, id=str(uuid5(TICKS, name)))
