"""Bulletins as pages: compose, look at what would go to whom, send or try it on oneself, watch, and cancel."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Form
from pydantic import ValidationError
from starlette.responses import RedirectResponse, Response

from models.bulletin import OPEN, Bulletin, bulletins_page, content_of
from models.push import CANCELLED, EXPIRED, FAILED, OPTED_OUT, REMOVED, RESTRICTED, SENT
from models.tenancy import tenant_session
from models.tenant import Tenant
from worker.services import Services
from worker.web.admin.connection_forms import Chosen
from worker.web.admin.rendering import page
from worker.web.admin.visitors import AtDesk, Desk, OwnForm, Visitor, desk_of
from worker.web.api.bulletin_pace import PerMinute
from worker.web.api.bulletins import BulletinWish, begin, counted, one_of, previewed, take_back
from worker.web.api.paging import Cursor, cursor_to, read_cursor
from worker.web.callers import Parts
from worker.web.problems import Problem
from worker.work import Work

router = APIRouter(prefix="/admin/bulletins")
ROWS: Final = 50
LOOK_AGAIN: Final = 3
"""Seconds until a page of a bulletin that is under way asks for itself again; more for many devices, which each look counts."""
STATES: Final = {"scheduled": "Waits for its time", "starting": "Begins", "sending": "Is being sent", "completed": "Done",
                 "cancelled": "Cancelled", "stopped": "Stopped"}  # fmt: skip
ENDS: Final = {SENT: "Taken by the provider", REMOVED: "Device gone, and removed", FAILED: "Failed", EXPIRED: "Expired",
               CANCELLED: "Cancelled before", OPTED_OUT: "Wanted no pushes",
               RESTRICTED: "Restricted: kept, and not used"}  # fmt: skip
_NAMES: Final = {
    "title": "the title",
    "body": "the text",
    "url": "the link",
    "audience": "who gets it",
    "send_at": "the time",
}


@router.get("")
def listed(services: Parts, desk: AtDesk, cursor: Cursor = None) -> Response:
    """The newest first, and a form for the next one."""
    with tenant_session(services.database, desk.tenant.id, reads_only=True) as session:
        rows = bulletins_page(session, before=read_cursor("bulletins", cursor), limit=ROWS + 1)
        keyring = services.vault.existing(session, desk.tenant.id, desk.tenant.id)
        lines = [(row, content_of(keyring, row).title, counted(session, row)) for row in rows[:ROWS]] if keyring else []
    following = desk.address("/admin/bulletins", {"cursor": cursor_to("bulletins", rows[ROWS - 1].id)}) \
        if len(rows) > ROWS else None  # fmt: skip
    return page("bulletins.html", desk=desk, lines=lines, states=STATES, following=following, is_later=cursor is not None,
                missing=[] if services.pushes.is_on else services.settings.push.missing)  # fmt: skip


@router.get("/{bulletin_id}")
def one(bulletin_id: str, services: Parts, desk: AtDesk) -> Response:
    """How it stands, for as long as it takes."""
    with tenant_session(services.database, desk.tenant.id, reads_only=True) as session:
        row, keyring = one_of(session, services, desk.tenant.id, bulletin_id)
        view = _view(row, counted(session, row).model_dump())
        content = content_of(keyring, row)
    found = page("bulletin.html", desk=desk, row=row, content=content, states=STATES, ends=ENDS, **view)
    if row.status in OPEN:
        found.headers["refresh"] = str(LOOK_AGAIN + row.devices // 100_000)
    return found


def _view(row: Bulletin, counts: dict[str, Any]) -> dict[str, Any]:
    done = counts["devices"] - counts["pending"] if row.fixed_at is not None else 0
    return {"counts": counts, "done": done, "is_open": row.status in OPEN}


@router.post("/pace", dependencies=[OwnForm])
def keep(
    services: Parts, visitor: Visitor, per_minute: Annotated[PerMinute | Literal[""], Form()] = "", tenant: Chosen = ""
) -> Response:
    """How many messages a minute all bulletins together may send; empty: no limit."""
    desk = desk_of(services, visitor, tenant or None)
    with Work(services, desk.tenant.id) as work:
        work.session.get_one(Tenant, desk.tenant.id).pushes_per_minute = per_minute or None
    return RedirectResponse(desk.address("/admin/bulletins"), 303)


@router.post("/preview", dependencies=[OwnForm])
def preview(
    services: Parts,
    visitor: Visitor,
    title: Annotated[str, Form(max_length=400)] = "",
    body: Annotated[str, Form(max_length=20_000)] = "",
    url: Annotated[str, Form(max_length=1_000)] = "",
    kind: Annotated[str, Form(max_length=10)] = "all",
    whom: Annotated[str, Form(max_length=20_000)] = "",
    when: Annotated[str, Form(max_length=10)] = "now",
    at: Annotated[str, Form(max_length=20)] = "",
    quiet: Annotated[str, Form(max_length=5)] = "",
    high: Annotated[str, Form(max_length=5)] = "",
    how: Annotated[str, Form(max_length=10)] = "look",
    me: Annotated[str, Form(max_length=190)] = "",
    tenant: Chosen = "",
) -> Response:
    """Look at it first (`look`), then `send` it, or `try` it on one user."""
    desk = desk_of(services, visitor, tenant or None)
    given = {"title": title, "body": body, "url": url, "kind": kind, "whom": whom, "when": when, "at": at, "quiet": quiet,
             "high": high}  # fmt: skip
    wish = _wish(given, desk, me.strip() if how == "try" else None)
    new = wish.read(services.clock())
    if how in ("send", "try"):
        with Work(services, desk.tenant.id) as work:
            row, _ = begin(work, services, desk.tenant.id, new)
        return RedirectResponse(desk.address(f"/admin/bulletins/{row.id}"), 303)
    return _preview(services, desk, wish, given)


def _preview(services: Services, desk: Desk, wish: BulletinWish, given: dict[str, str]) -> Response:
    with tenant_session(services.database, desk.tenant.id, reads_only=True) as session:
        found = previewed(session, services, desk.tenant.id, wish.read(services.clock()))
    return page("bulletin_preview.html", desk=desk, found=found, given=given)


def _wish(given: dict[str, str], desk: Desk, me: str | None) -> BulletinWish:
    """What was composed; a problem in words for what cannot be sent."""
    several = [part.strip() for part in given["whom"].replace("\n", ",").split(",") if part.strip()]
    audience: dict[str, Any] = {"all": True} if given["kind"] == "all" else {given["kind"]: several}
    wish: dict[str, Any] = {
        "title": given["title"], "body": given["body"], "audience": audience,
        "respect_quiet_hours": bool(given["quiet"]), "priority": "high" if given["high"] else "normal",
        **({"url": given["url"].strip()} if given["url"].strip() else {}), **_when(given, desk),
    }  # fmt: skip
    if me is not None:
        wish |= {"is_test": True, "audience": {"users": [me]}}
        wish.pop("send_at", None)
        wish.pop("local_at", None)
    try:
        return BulletinWish.model_validate(wish)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = str(first["loc"][0]) if first["loc"] else "audience"
        raise Problem("invalid", f"Mend {_NAMES.get(name, name)}, and go back to send it again.") from None


def _when(given: dict[str, str], desk: Desk) -> dict[str, str]:
    """At once, at an instant of the tenant's clock, or when each recipient's clock shows it."""
    if given["when"] not in ("instant", "local"):
        return {}
    try:
        at = datetime.fromisoformat(given["at"])
    except ValueError:
        raise Problem("invalid", "Choose a day and an hour, or send it at once.") from None
    if given["when"] == "local":
        return {"local_at": at.replace(tzinfo=None).isoformat()}
    return {"send_at": at.replace(tzinfo=ZoneInfo(desk.tenant.timezone)).isoformat(timespec="seconds")}


@router.post("/{bulletin_id}/cancel", dependencies=[OwnForm])
def cancel(bulletin_id: str, services: Parts, visitor: Visitor, tenant: Chosen = "") -> Response:
    """What was not sent yet is not sent."""
    desk = desk_of(services, visitor, tenant or None)
    with Work(services, desk.tenant.id) as work:
        row, _ = one_of(work.session, services, desk.tenant.id, bulletin_id)
        take_back(work, services, row.id)
    return RedirectResponse(desk.address(f"/admin/bulletins/{bulletin_id}"), 303)
