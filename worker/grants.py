"""Between providers and rows: what was granted is stored, and tokens are kept fresh; it knows no page and no task."""

import random
import time
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from threading import Lock
from weakref import WeakValueDictionary

import structlog

from integrations import INTEGRATIONS
from integrations.contract import Account, Integration, Tokens
from integrations.errors import GrantGone, NeedsUser, Transient
from integrations.google_calendar.errors import dead_grant
from models.connection import LISTENING, Connection, claimed_elsewhere, drop_tokens, needs_person, read_tokens
from models.database import past_deadlocks
from models.form import read_all_soon
from models.grant import BeingRevoked, NewGrant, Stored, Trouble, marks_of, store_grants
from models.job import NewJob, hurry_connections
from models.refresh import Turn, end_turn, store_refreshed, take_turn
from models.tenancy import SYSTEM, system_session, tenant_session
from worker import jobs
from worker.services import Services
from worker.work import Work

log = structlog.get_logger(__name__)

BY_NAME = {integration.name: integration for integration in INTEGRATIONS}
CHECK_EVERY = {"facebook_leads": timedelta(hours=1), "google_calendar": timedelta(hours=20)}
"""How often a grant is looked at, at the latest; less up to a quarter, so that they spread."""
EARLY = timedelta(minutes=5)
"""Tokens are refreshed so long before they expire."""
PATIENCE = timedelta(seconds=30)
"""How long to wait for another process that refreshes the same tokens."""
_LOOK_EVERY = 0.05


def next_check(services: Services, integration: str, *, soonest: float = 0.75) -> timedelta:
    """How long until a grant is looked at again."""
    wait: timedelta = CHECK_EVERY[integration] * random.uniform(soonest, 1)  # noqa: S311 - spreads load
    return wait


def new_grants(
    services: Services, tenant_id: str, integration: Integration, accounts: Sequence[Account]
) -> list[NewGrant]:
    """What a provider gave, ready to be stored. Call it before the transaction: it opens its own."""
    now = services.clock()
    with system_session(services.database, reads_only=True) as session:
        is_keyed = services.vault.existing(session, SYSTEM, SYSTEM) is not None
    with system_session(services.database, reads_only=is_keyed) as session:
        found = []
        for account in accounts:
            marks = marks_of(
                session, services.vault, integration.name, (*account.holders, *_own(integration, account)), now
            )
            key, elsewhere = account.external_id, False
            if integration.is_person:
                (mark,) = marks_of(session, services.vault, integration.name, [account.external_id], now)
                key = mark.hex()
            else:
                elsewhere = claimed_elsewhere(
                    session, tenant_id=tenant_id, integration=integration.name, external_id=account.external_id
                )
            trouble = None if account.problem is None else _trouble(account.problem)
            found.append(
                NewGrant(
                    integration.name, key, account.external_id, account.name, account.tokens, account.scopes,
                    account.expires_at, marks, now + next_check(services, integration.name, soonest=0.1),
                    integration.is_person, elsewhere, trouble,
                )
            )  # fmt: skip
    return found


def _own(integration: Integration, account: Account) -> tuple[str, ...]:
    return (account.external_id,) if integration.is_person else ()


def keep(services: Services, work: Work, tenant_id: str, grants: Sequence[NewGrant]) -> list[Stored | BeingRevoked]:
    """Store grants in this transaction; what waited for them runs after it. Raises as `models.grant.store_grants`."""
    stored = store_grants(work.session, services.vault, grants, tenant_id=tenant_id, now=services.clock())
    rows = [one.connection for one in stored if isinstance(one, Stored) and one.connection.tokens is not None]
    start(work, services, tenant_id, rows)
    return stored


def start(work: Work, services: Services, tenant_id: str, connections: Sequence[Connection], *also: NewJob) -> None:
    """Grants are fresh or well again: everything that waited for them may run, and these jobs `also`."""
    if not connections:
        work.put(*also)
        return
    hurry_connections(work.session, tenant_id, [row.id for row in connections], services.clock())
    # Look-ups by e-mail or phone use the tenant's own key; it is made here, where nothing races for it.
    services.vault.keyring(work.session, tenant_id, tenant_id, services.clock())
    read_all_soon(work.session, [row.id for row in connections], services.clock())  # nobody could read them for a while
    # At the end and all at once: by one statement, and in the one order of jobs.
    work.put(*also, *(job for row in connections for job in jobs.after_grant(tenant_id, row.id, row.integration)))


def mark(work: Work, services: Services, connection: Connection, error: NeedsUser) -> None:
    """Say what only a person can mend; when the provider has ended the grant, its tokens are destroyed."""
    code, fix = (error.code or "unknown")[:32], error.fix or "Connect it again."
    if isinstance(error, GrantGone):
        drop_tokens(work.session, services.vault, connection)
    if needs_person(work.session, connection, code=code, sentence=str(error), fix=fix, now=services.clock()):
        log.warning("connection_needs_person", connection=connection.id, integration=connection.integration, code=code)


def _trouble(error: NeedsUser) -> Trouble:
    return Trouble((error.code or "unknown")[:32], error.sentence, error.fix or "Connect it again.")


def missing_permission(integration: Integration, scopes: Sequence[str]) -> NeedsUser | None:
    """What was left out of the scopes that a provider told us (none told: nothing is known to be missing)."""
    lacking = [one.words for one in integration.permissions if one.required and one.scope not in scopes]
    if not scopes or not lacking:
        return None
    return NeedsUser(
        f"A permission is missing: {'; '.join(lacking)}.", code="scope_missing",
        fix="Open a new connect link and leave every permission ticked.",
    )  # fmt: skip


_locks: WeakValueDictionary[str, "_Held"] = WeakValueDictionary()
_guard = Lock()


class _Held:
    """A lock that lives while somebody waits for it: of one process's threads one asks, the others wait here."""

    def __init__(self) -> None:
        self.lock = Lock()


def fresh_tokens(
    services: Services, tenant_id: str, connection_id: str, *, renew: bool = False
) -> dict[str, str] | None:
    """Tokens that are good for the next minutes; `renew`: from a refresh that began after this call.

    However many ask, in however many processes, one refreshes and the others get what it stored. None: the connection is
    closed, or its tokens are gone. Raises what the provider's refresh raises, and Transient when another takes too long;
    a grant that the provider has ended is destroyed and marked before its GrantGone is raised, once.
    """
    with _guard:
        held = _locks.setdefault(connection_id, _Held())
    with held.lock:
        return _fresh(services, tenant_id, connection_id, renew)


def _fresh(services: Services, tenant_id: str, connection_id: str, renew: bool) -> dict[str, str] | None:
    deadline, seen = time.monotonic() + PATIENCE.total_seconds(), None
    while True:
        with tenant_session(services.database, tenant_id, reads_only=True) as session:
            row = session.get(Connection, connection_id)
            tokens = {} if row is None or row.status not in LISTENING else read_tokens(session, services.vault, row)
        if row is None or not tokens:
            return None
        seen = row.token_version if seen is None else seen
        due = row.token_expires_at is None or row.token_expires_at <= services.clock() + EARLY
        # Somebody else's refresh serves; a new grant that came meanwhile may still have to be refreshed.
        is_served = row.token_version != seen and "access_token" in tokens
        if is_served or "refresh_token" not in tokens or not (due or renew):
            return tokens
        with tenant_session(services.database, tenant_id) as session:
            turn = take_turn(session, services.vault, row, services.clock())
        if turn is not None:
            refreshed = _refresh(services, row, turn)
            if refreshed is not None:
                return refreshed
        elif time.monotonic() > deadline:
            raise Transient("Another process is refreshing this access and takes long.", code="refreshing")
        else:
            time.sleep(_LOOK_EVERY)


def _refresh(services: Services, row: Connection, turn: Turn) -> dict[str, str] | None:
    """What the provider gave; None when the row was changed meanwhile and has to be read again."""
    outcome = "failed"
    try:
        tokens = services.provider(row.integration).refresh(turn.tokens)
        outcome = "done"
    except GrantGone as error:
        outcome = "gone"
        age = None if row.granted_at is None else services.clock() - row.granted_at
        gone = dead_grant(age) if row.integration == "google_calendar" else error
        if not _end_grant(services, row, gone):
            return None
        raise gone from None
    finally:
        log.info("tokens_refreshed", connection=row.id, integration=row.integration, outcome=outcome)
        if outcome != "done":
            with tenant_session(services.database, row.tenant_id) as session:
                end_turn(session, turn)
    stored = past_deadlocks(partial(_store, services, row, turn, tokens))
    return dict(tokens.values) if stored else None


def _store(services: Services, row: Connection, turn: Turn, tokens: Tokens) -> bool:
    with tenant_session(services.database, row.tenant_id) as session:
        return store_refreshed(session, services.vault, turn, tokens=tokens.values, expires_at=tokens.expires_at,
                               scopes=tokens.scopes, now=services.clock())  # fmt: skip


def _end_grant(services: Services, row: Connection, error: GrantGone) -> bool:
    """Destroy what is gone before anybody else asks for it once more; False when another grant is there by now."""
    with Work(services, row.tenant_id) as work:
        there = work.session.get(Connection, row.id, with_for_update=True)
        if there is None or there.token_version != row.token_version:
            return False
        mark(work, services, there, error)
    return True
