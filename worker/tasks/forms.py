"""`forms.discover`: list a page's forms, so that leads have names and labels, and none of them goes unread."""

import structlog

from integrations.errors import Missing
from integrations.facebook_leads.forms import FormInfo
from models.connection import still
from models.form import SeenForm, due_to_read, see_forms
from models.lead_facts import name_form
from worker.jobs import connections_check, leads_catch_up
from worker.task import Ticket
from worker.tasks.storing import open_page

log = structlog.get_logger(__name__)


def discover(ticket: Ticket) -> None:
    """All forms of the connection that the job names; what is due to be read then is read."""
    with ticket.work(reads_only=True) as work:
        page = open_page(work.session, ticket.services.vault, ticket.connection_id)
    asked_at = ticket.now()
    try:
        listed = [] if page is None else ticket.services.forms.listed(page.token, page.external_id)
    except Missing:
        # About the page itself: a look at the connection finds out why, and says so.
        with ticket.work() as work:
            work.put(connections_check(ticket.tenant_id, ticket.connection_id))
            ticket.finish(work)
        return
    with ticket.work() as work:
        if page is not None and still(work.session, page.connection_id):
            new = see_forms(work.session, tenant_id=page.tenant_id, connection_id=page.connection_id,
                            seen=[_seen(form) for form in listed], now=asked_at)  # fmt: skip
            for form in new:
                name_form(work.session, form.tenant_id, form.external_id, form.name)
            if due_to_read(work.session, page.connection_id, ticket.now()):
                work.put(leads_catch_up(page.tenant_id, page.connection_id))
            log.info("forms_listed", forms=len(listed), new=len(new))
        ticket.finish(work)


def _seen(form: FormInfo) -> SeenForm:
    return SeenForm(
        external_id=form.external_id,
        name=form.name,
        status=form.status or "UNKNOWN",
        locale=form.locale,
        questions=[
            {"key": one.key, "label": one.label, "type": one.type,
             "options": [{"key": key, "value": value} for key, value in one.options]}
            for one in form.questions
        ],
        legal=form.legal,
        leads_count=form.leads_count,
        expired_count=form.expired_leads_count,
        made_at=form.created_at,
    )  # fmt: skip
