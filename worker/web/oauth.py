"""`/oauth/{integration}/callback`: a person comes back from the provider. Nothing of the request is shown or followed."""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

import structlog
from fastapi import APIRouter, Request
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from starlette.responses import Response

from integrations.contract import Account, Integration
from integrations.errors import IntegrationError, NeedsUser, Throttled, Transient
from models.connect_link import Visit, end_visit, live_link, spend_link
from models.connection import ACTIVE, LISTENING, PENDING, Connection
from models.grant import BeingRevoked, NewGrant, Stored
from models.tenancy import system_session
from worker.grants import BY_NAME, keep, new_grants
from worker.jobs import connections_check
from worker.services import Services
from worker.web.admin.rendering import page
from worker.web.callers import Parts
from worker.web.connect import Browser, callback_address
from worker.web.problems import Problem
from worker.web.public import WayOn, message
from worker.work import Work

log = structlog.get_logger(__name__)
router = APIRouter(include_in_schema=False)

_LONGEST = 4096
_BEING_DISCONNECTED = "It is being disconnected just now, and has to be gone before it can be connected again."


class _Spent(Exception):
    """The link has done its work already, or has run out."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one account. `sentence` and `fix` are None when it is simply connected."""

    name: str
    word: str
    sentence: str | None
    fix: str | None


@router.get("/oauth/{integration}/callback")
def callback(integration: str, request: Request, services: Parts, browser: Browser = None) -> Response:
    """Spend the state, ask the provider what was given, store it."""
    asked = {name: request.query_params.get(name, "") for name in ("state", "code", "error")}
    visit = None
    if integration in BY_NAME and 0 < len(asked["state"]) <= _LONGEST:
        with system_session(services.database) as session:
            visit = end_visit(
                session, services.vault, state=asked["state"], browser=browser, integration=integration,
                now=services.clock(),
            )  # fmt: skip
    if visit is None:
        return _begin_again()
    if asked["error"] or not 0 < len(asked["code"]) <= _LONGEST:
        return _not_allowed(BY_NAME[integration], visit, asked["error"])
    return _complete(services, visit, asked["code"])


def _complete(services: Services, visit: Visit, code: str) -> Response:
    integration = BY_NAME[visit.integration]
    try:
        accounts = services.provider(visit.integration).complete(
            code=code, verifier=visit.verifier, redirect_uri=callback_address(services, visit.integration)
        )
    except IntegrationError as error:
        return _failed(integration, visit, error)
    try:
        outcomes = _store(services, visit, integration, accounts)
    except _Spent:
        return _begin_again()
    except BeingRevoked:
        return message(
            "This account is being disconnected just now",
            "It has to be disconnected for good before it can be connected again. Try again in a few minutes.",
            status=409,
            way_on=_again(visit),
        )
    is_done = any(one.sentence is None for one in outcomes)
    return page(
        "connected.html", integration=integration, outcomes=outcomes, is_done=is_done,
        way_on=None if is_done else _again(visit),
    )  # fmt: skip


def _store(services: Services, visit: Visit, integration: Integration, accounts: Sequence[Account]) -> list[Outcome]:
    for _ in range(2):
        # Asked anew on the second try: a rival has just taken one of the accounts.
        grants = new_grants(services, visit.tenant_id, integration, accounts)
        try:
            with Work(services, visit.tenant_id) as work:
                _spend(work, visit, grants, services)
                stored = keep(services, work, visit.tenant_id, grants)
                rows = [one.connection for one in stored if isinstance(one, Stored)]
                if not rows:
                    raise BeingRevoked
                _look_at_the_others(work, integration, [row.id for row in rows])
        except IntegrityError:
            continue
        return [_outcome(grant.name, one) for grant, one in zip(grants, stored, strict=True)]
    raise Problem("conflict", "Open your link again; somebody connected the same account at the same moment.")


def _spend(work: Work, visit: Visit, grants: Sequence[NewGrant], services: Services) -> None:
    """Spend the link, or raise _Spent. It stays good while nothing usable came of it: the way to mend a box that was
    not ticked is to open it again."""
    now = services.clock()
    is_usable = any(grant.trouble is None and not grant.claimed_elsewhere for grant in grants)
    if is_usable:
        is_good = spend_link(work.session, visit.link_id, now)
    else:
        is_good = live_link(work.session, visit.link, now) is not None
    if not is_good:
        raise _Spent


def _look_at_the_others(work: Work, integration: Integration, connections: Sequence[str]) -> None:
    """Where one grant is for many accounts, an account that was left out this time has lost its own."""
    if integration.is_person:
        return
    others = work.session.execute(
        select(Connection.tenant_id, Connection.id).where(
            Connection.integration == integration.name,
            Connection.status.in_(LISTENING),
            Connection.id.not_in(connections),
        )
    )
    work.put(*(connections_check(tenant_id, connection_id) for tenant_id, connection_id in others))


def _outcome(name: str, stored: Stored | BeingRevoked) -> Outcome:
    if isinstance(stored, BeingRevoked):
        return Outcome(name, "Not connected", _BEING_DISCONNECTED, "Open a new connect link in a few minutes.")
    connection = stored.connection
    if connection.status == ACTIVE:
        return Outcome(name, "Connected", None, None)
    word = "Not connected" if connection.status == PENDING else "Connected, but it cannot be used yet"
    return Outcome(name, word, connection.health_sentence, connection.health_fix)


def _again(visit: Visit) -> WayOn:
    return WayOn(f"/connect/{visit.link}", "Open the link again")


def _begin_again() -> Response:
    return message(
        "This sign-in cannot be finished",
        "It was finished before, took too long, or was begun in another browser. Nothing was stored.",
        "Open the link that you were sent once more, and stay in the same browser until the end.",
        status=400,
    )


def _not_allowed(integration: Integration, visit: Visit, error: str) -> Response:
    """Nothing was given. The provider's word for it only chooses among sentences of our own."""
    case = integration.errors.get(error) if error != "access_denied" else None
    sentences = ["Your link still works, should you change your mind."]
    if case is not None and issubclass(case.error, NeedsUser):
        sentences = [case.sentence, *filter(None, [case.fix])]
    return message("Nothing was connected", *sentences, way_on=_again(visit))


def _failed(integration: Integration, visit: Visit, error: IntegrationError) -> Response:
    log.warning("connect_failed", integration=integration.name, kind=error.kind, code=error.code)
    if isinstance(error, NeedsUser):
        said = [error.sentence, *filter(None, [error.fix])]
        return message("Nothing was connected", *said, status=HTTPStatus.BAD_REQUEST, way_on=_again(visit))
    if isinstance(error, Transient | Throttled):
        said = [error.sentence, "Nothing was stored. Try again in a few minutes; your link still works."]
        return message(
            f"{integration.title} cannot be reached just now", *said, status=HTTPStatus.SERVICE_UNAVAILABLE,
            way_on=_again(visit),
        )  # fmt: skip
    said = [error.sentence, "Nothing was stored. Tell the people who sent you the link, and the time when it happened."]
    return message(
        "Something is not set up right", *said, status=HTTPStatus.INTERNAL_SERVER_ERROR, way_on=_again(visit)
    )
