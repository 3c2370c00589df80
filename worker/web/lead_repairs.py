"""What people do so that leads come: replay what failed, fetch what is missing, read or count now, ask for a test lead."""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Final

from sqlalchemy import select

from integrations.errors import IntegrationError, NeedsUser, Throttled, Transient
from models import inbox
from models.connection import ACTIVE, LISTENING, Connection, read_tokens
from models.form import BACKFILL_RUNNING, KEPT, Form, LeadCheck, begin_backfill, forms_of, read_all_soon
from models.inbox import Notice
from models.job import NewJob, hurry
from models.tenancy import tenant_session
from worker import jobs
from worker.services import Services
from worker.web.form_reader import form_of
from worker.web.problems import Problem, not_found
from worker.work import Work

LEAD: Final = "lead"
COUNTED_AGAIN: Final = timedelta(minutes=1)
"""How long what was missing has to arrive before its day is counted again."""

_CLOSED = "The page of this form is not connected any more: connect it again first."
_GONE = "Facebook does not list this form any more, so its leads cannot be read there."
_RUNNING = "A backfill from a later instant is running; begin this one when it is done."


def replay(
    work: Work, services: Services, tenant_id: str, *, connection_id: str | None = None, error: str | None = None,
    ids: Sequence[str] | None = None,
) -> int:  # fmt: skip
    """Failed events that fit are pending again, and fetched; how many. None of a connection that is closed."""
    query = select(Connection.id).where(Connection.status.in_(LISTENING))
    if connection_id is not None:
        query = query.where(Connection.id == connection_id)
    total = 0
    for one in work.session.scalars(query.order_by(Connection.id)).all():
        count = inbox.replay(work.session, tenant_id, one, error, ids, services.clock())
        if count:
            fetch_soon(work, services, tenant_id, one)
        total += count
    return total


def fetch_soon(work: Work, services: Services, tenant_id: str, connection_id: str) -> None:
    """The connection's pending leads are fetched now, also when its job was waiting for a later try."""
    _now(work, services, jobs.leads_fetch(tenant_id, connection_id))


def fetch_missing(work: Work, services: Services, check: LeadCheck) -> int:
    """What a check found at the provider and not here is fetched; how many. What had failed is tried again."""
    form = work.session.get_one(Form, check.form_id)
    require_open(work, form)
    missing = [str(one) for one in check.missing]
    if not missing:
        return 0
    notices = [
        Notice(check.tenant_id, form.connection_id, LEAD, one, "catch_up", {"form_id": form.external_id})
        for one in missing
    ]
    now = services.clock()
    inbox.take_in(work.session, notices, now)
    fetch_soon(work, services, check.tenant_id, form.connection_id)
    # Then the day is counted again; from the beginning of the day after it, if it was long ago.
    following = datetime.combine(check.day + timedelta(days=1), time(), UTC)
    if form.check_due_at is None or following < form.check_due_at:
        form.check_due_at = following
    work.put(jobs.leads_check(check.tenant_id, form.connection_id, now + COUNTED_AGAIN))
    return len(missing)


def backfill(work: Work, services: Services, form: Form, since: datetime) -> None:
    """Read a form's leads since an instant, as far back as Meta keeps them; what is being read already is not begun anew."""
    now = services.clock()
    if since > now:
        raise Problem("invalid", "A backfill begins in the past.", errors=[_since("This instant is still to come.")])
    if since < now - KEPT:
        raise Problem("invalid", "Meta keeps leads for 90 days: choose a later instant.",
                      errors=[_since("This is more than 90 days ago; Meta has no leads from then any more.")])  # fmt: skip
    require_open(work, form)
    if form.gone_at is not None:
        raise Problem("wrong-state", _GONE)
    if form.backfill_state != BACKFILL_RUNNING:
        begin_backfill(work.session, form, since, now)
    elif form.backfill_since is None or since < form.backfill_since:
        raise Problem("wrong-state", _RUNNING)
    # One that covers this one is running: its job goes on where it is, also after it was dead.
    _now(work, services, jobs.leads_backfill(form.tenant_id, form.connection_id, form.id))


def _since(words: str) -> dict[str, str]:
    return {"field": "body.since", "problem": words}


def read_now(work: Work, services: Services, connection: Connection) -> None:
    """List the page's forms, and read each from the point up to which it is proven."""
    _require(connection)
    read_all_soon(work.session, [connection.id], services.clock())
    _now(work, services, jobs.forms_discover(connection.tenant_id, connection.id))
    _now(work, services, jobs.leads_catch_up(connection.tenant_id, connection.id))


def check_now(work: Work, services: Services, connection: Connection) -> None:
    """Look at the grant and its subscription, and count the leads of every form beside Meta's."""
    _require(connection)
    for form in forms_of(work.session, connection.id):
        form.check_due_at = services.clock()
    _now(work, services, jobs.connections_check(connection.tenant_id, connection.id))
    _now(work, services, jobs.leads_check(connection.tenant_id, connection.id))


def _now(work: Work, services: Services, job: NewJob) -> None:
    hurry(work.session, job.tenant_id, job.key, services.clock())
    work.put(job)


def require_open(work: Work, form: Form) -> None:
    """A problem unless the form's page is connected, be it broken for the moment."""
    _require(work.session.get_one(Connection, form.connection_id))


def _require(connection: Connection) -> None:
    if connection.status not in LISTENING:
        raise Problem("wrong-state", _CLOSED)


def make_test_lead(services: Services, tenant_id: str, form_id: str) -> str:
    """Have Meta make a test lead of a form; its id. Meta tells of it as of any other. No transaction is open meanwhile."""
    with tenant_session(services.database, tenant_id, reads_only=True) as session:
        form = form_of(session, form_id)
        if form is None:
            raise not_found()
        connection = session.get_one(Connection, form.connection_id)
        token = read_tokens(session, services.vault, connection).get("page_access_token")
    if connection.status != ACTIVE or token is None:
        raise Problem("wrong-state", "The page of this form needs to be connected (again) first.")
    if services.graph is None:
        missing = ", ".join(services.settings.meta.missing)
        raise Problem("turned-off", f"The operator turns it on by setting {missing}.")
    try:
        return services.trials.create_test_lead(token, form.external_id)
    except IntegrationError as error:
        refused = _refused(error)
    raise refused


def _refused(error: IntegrationError) -> Problem:
    """Why Meta made none. The sentences are ours."""
    told = error.sentence if error.fix is None else f"{error.sentence} {error.fix}"
    if isinstance(error, Throttled | Transient):
        wait = error.retry_after or timedelta(seconds=30)
        return Problem("provider-busy", told, headers={"retry-after": str(max(1, int(wait.total_seconds())))})
    return Problem("wrong-state" if isinstance(error, NeedsUser) else "provider-refused", told)
