"""Carrying out a POST once: effect, jobs and kept answer are one transaction; it knows no single endpoint."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Header, Request
from pydantic import BaseModel
from sqlalchemy.exc import IntegrityError
from starlette.responses import Response

from models.database import past_deadlocks
from models.idempotency import begin, keep, replay
from worker.services import Services
from worker.web.callers import Access
from worker.web.problems import Problem
from worker.work import Work

_LONGEST: Final = 255
Effect = Callable[[Work], BaseModel]
"""What a POST does in its transaction; returns what is answered. It may run again, after what it did was rolled back."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What identifies a request: its Idempotency-Key, if there is one, and all that makes it this request."""

    key: str | None
    identity: bytes


async def _ask(
    request: Request,
    idempotency_key: Annotated[
        str | None, Header(alias="Idempotency-Key", description="A repeat within two days gets the first answer.")
    ] = None,
) -> Ask:
    if idempotency_key is not None and not (
        0 < len(idempotency_key) <= _LONGEST and idempotency_key.isascii() and idempotency_key.isprintable()
    ):
        raise Problem("bad-idempotency-key", f"Use 1 to {_LONGEST} printable ASCII characters, such as a UUID.")
    body = await request.body()
    return Ask(idempotency_key, b"\n".join((request.method.encode(), request.url.path.encode(), body)))


Asked = Annotated[Ask, Depends(_ask)]


def once(services: Services, access: Access, ask: Ask, status: int, effect: Effect, *, scoped: bool = True) -> Response:
    """Run `effect` in one transaction and answer with `status`; a repeat of the request gets the kept answer.

    A refused request keeps nothing and may be mended under the same key. When a rival wrote the same unique value
    first, the effect runs again and sees it; so it does when InnoDB undid it to let another pass. `scoped=False` gives
    the effect a session across tenants.
    """

    def transaction() -> Response:
        with Work(services, access.tenant_id if scoped else None) as work:
            return _carry_out(services, access, ask, status, effect, work)

    for _ in range(2):
        try:
            return past_deadlocks(transaction)
        except IntegrityError:
            continue
    raise Problem("conflict", "Another request changed the same thing at the same moment; send this one again.")


def _carry_out(services: Services, access: Access, ask: Ask, status: int, effect: Effect, work: Work) -> Response:
    if ask.key is None:
        return _json(effect(work).model_dump_json().encode(), status)
    now = services.clock()
    keyring = services.vault.keyring(work.session, access.tenant_id, access.tenant_id, now)
    caller = "platform" if access.is_platform else "tenant"
    row, is_same = begin(
        work.session, keyring, tenant_id=access.tenant_id, caller=caller, key=ask.key, request=ask.identity, now=now
    )
    if not is_same:
        raise Problem("idempotency-key-reused", "Another request was sent with this key: use a new key for a new one.")
    kept = replay(row, keyring)
    if kept is not None:
        return _json(kept[1], kept[0], {"idempotency-replayed": "true"})
    body = effect(work).model_dump_json().encode()
    keep(row, keyring, status, body)
    work.session.flush()  # a clash must show here, while it can still be told from the commit of something else
    return _json(body, status)


def _json(body: bytes, status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(body, status, headers, media_type="application/json")
