"""`/v1/keys`: making and revoking a tenant's keys. None gives more or lives longer than its maker; none is shown twice."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field, field_validator
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.responses import Response

from models.host import ApiKey, Caller, add_key
from models.tenancy import system_session
from worker.web.api.fields import Instant, Wish
from worker.web.api.paging import known_id
from worker.web.callers import Access, Parts, tenant_access
from worker.web.once import Asked, once
from worker.web.problems import Problem, not_found
from worker.work import Work

router = APIRouter(prefix="/v1/keys", tags=["keys"])
Anyone = Annotated[Access, Depends(tenant_access(None))]

Scope = Literal[
    "leads:read", "leads:write", "connections:read", "connections:write", "jobs:read", "jobs:write", "events:read", "*"
]  # fmt: skip


class NewKey(Wish):
    """A key to be. `*` is every scope."""

    scopes: list[Scope] = Field(min_length=1, max_length=20)
    expires_at: Instant | None = None

    @field_validator("scopes")
    @classmethod
    def _each_once(cls, scopes: list[Scope]) -> list[Scope]:
        return sorted(set(scopes))


class KeyMade(BaseModel):
    """A new key; `key` is never shown again."""

    id: str
    key: str
    hint: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None


@router.post("", status_code=201, response_model=KeyMade)
def make(wish: NewKey, access: Anyone, services: Parts, ask: Asked) -> Response:
    """Make a key for the tenant."""

    def effect(work: Work) -> KeyMade:
        now = services.clock()
        if wish.expires_at is not None and wish.expires_at <= now:
            raise Problem("invalid", "Mend the fields listed under errors.", errors=[_EXPIRED])
        _within(work.session, access.caller, wish)
        row, key = add_key(
            work.session, tenant_id=access.tenant_id, scopes=tuple(wish.scopes), now=now, expires_at=wish.expires_at
        )
        return KeyMade(id=row.id, key=key, hint=row.hint, scopes=row.scopes, created_at=now, expires_at=row.expires_at)

    return once(services, access, ask, 201, effect, scoped=False)


_EXPIRED = {"field": "body.expires_at", "problem": "It must lie in the future."}


def _within(session: Session, caller: Caller, wish: NewKey) -> None:
    for scope in wish.scopes:
        if not caller.may(scope):
            raise Problem("missing-scope", f"A key gives only scopes that it holds; this one does not hold {scope}.")
    maker = session.get(ApiKey, caller.key_id) if caller.tenant_id else None
    if maker is None or maker.expires_at is None:
        return
    if wish.expires_at is None or wish.expires_at > maker.expires_at:
        raise Problem("missing-scope", "A key cannot make one that outlives it: set expires_at to an earlier instant.")


@router.delete("/{key_id}", status_code=204)
def revoke(key_id: str, access: Anyone, services: Parts) -> None:
    """Revoke a key of the tenant, at once; revoking it again changes nothing."""
    known_id(key_id)
    with system_session(services.database) as session:
        row = session.scalars(
            select(ApiKey).where(ApiKey.id == key_id, ApiKey.tenant_id == access.tenant_id)
        ).one_or_none()
        if row is None:
            raise not_found()
        for scope in row.scopes:
            if not access.caller.may(scope):
                raise Problem("missing-scope", f"Revoking this key needs a key that holds {scope} as well.")
        if row.revoked_at is None:
            row.revoked_at = services.clock()
