"""Getting in and out: by an API key in a form, or by a one-time link; a key or a link is never put into an address."""

from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from starlette.responses import RedirectResponse, Response

from models.host import session_of, use_link
from models.tenancy import system_session
from worker.web.admin.rendering import page
from worker.web.admin.visitors import COOKIE, OwnForm, SessionCookie, end_session, start_session
from worker.web.callers import Parts, caller_by_key

router = APIRouter(prefix="/admin")
Secret = Annotated[str, Form(max_length=300)]

_SPENT = "This link has been used or has run out. Ask for a new one, or sign in with a key."
_NOT_ACCEPTED = "This key was not accepted. It may be mistyped, revoked or expired, or lack the scope leads:read."


@router.get("")
def front(services: Parts, secret: SessionCookie = None) -> Response:
    """The sign-in page, or on to the leads."""
    if secret:
        with system_session(services.database, reads_only=True) as session:
            if session_of(session, secret, services.clock()) is not None:
                return RedirectResponse("/admin/leads", 303)
    return page("sign_in.html", message=None)


@router.post("/sign-in", dependencies=[OwnForm])
def sign_in(request: Request, services: Parts, key: Secret = "") -> Response:
    """Start a session with a key that may read leads."""
    caller = caller_by_key(services, key.strip()) if key.strip() else None
    if caller is None or not caller.may("leads:read"):
        request.app.state.metrics.keys_refused.inc()
        request.app.state.refused_keys.note(services.clock())
        return page("sign_in.html", status=401, message=_NOT_ACCEPTED)
    return start_session(services, RedirectResponse("/admin/leads", 303), caller.tenant_id, caller.key_id)


@router.get("/enter")
def before_entering(link: Annotated[str, Query(max_length=300)] = "") -> Response:
    """A page with one button: programs that preview links must not spend them."""
    return page("enter.html", link=link)


@router.post("/enter", dependencies=[OwnForm])
def enter(services: Parts, link: Secret = "") -> Response:
    """Spend a one-time link."""
    with system_session(services.database) as session:
        spent = use_link(session, link, services.clock())
    if spent is None:
        return page("sign_in.html", status=401, message=_SPENT)
    return start_session(services, RedirectResponse("/admin/leads", 303), spent.tenant_id)


@router.post("/sign-out", dependencies=[OwnForm])
def sign_out(services: Parts, secret: SessionCookie = None) -> Response:
    """End the session."""
    end_session(services, secret)
    response = RedirectResponse("/admin", 303)
    response.delete_cookie(COOKIE, path="/admin")
    return response
