"""`/v1/devices`: which devices take a tenant's bulletins, as the host knows them."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, Field, StringConstraints, model_validator
from sqlalchemy.orm import Session
from starlette.responses import Response

from integrations.push.addresses import BadEndpoint, check_endpoint
from integrations.push.subscription import BadKeys, checked_keys
from models.device import (
    BY_HOST,
    FID,
    TOKEN,
    WEBPUSH,
    Device,
    NewDevice,
    device_called,
    opened,
    register,
    remove,
    tags_of,
)
from models.tenancy import tenant_session
from models.tenant import ACTIVE_TENANT, Tenant
from worker.services import Services
from worker.web.api.fields import ExternalId, Line, TimeZone, Token, Wish
from worker.web.callers import Access, Parts, tenant_access
from worker.web.once import Ask, once
from worker.web.problems import Problem, not_found
from worker.work import Work

router = APIRouter(prefix="/v1/devices", tags=["bulletins"])
Reader = Annotated[Access, Depends(tenant_access("bulletins:read"))]
Writer = Annotated[Access, Depends(tenant_access("bulletins:write"))]
HostId = Annotated[ExternalId, Path()]
Tag = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$")]
Locale = Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2,3}([_-][A-Za-z0-9]{2,8}){0,3}$", max_length=35)]
_ONE = "Send fid or token with kind fcm, subscription with kind webpush, and none of the others."


class Keys(Wish):
    """Of a browser's subscription, in base64url."""

    p256dh: Annotated[str, StringConstraints(max_length=200)]
    auth: Annotated[str, StringConstraints(max_length=100)]


class Subscription(Wish):
    """A browser's PushSubscription, as its `toJSON()` gives it."""

    endpoint: Annotated[str, StringConstraints(min_length=1, max_length=1_000)]
    keys: Keys
    expirationTime: float | None = None


class DeviceWish(Wish):
    """A device of a user. FCM's: a Firebase installation id (`fid`) or an old registration `token`."""

    user: Line
    kind: Literal["fcm", "webpush"]
    fid: Token | None = None
    token: Token | None = None
    subscription: Subscription | None = None
    tags: Annotated[list[Tag], Field(max_length=50)] = Field(default_factory=list)
    locale: Locale | None = None
    timezone: TimeZone | None = None

    @model_validator(mode="after")
    def _fits(self) -> "DeviceWish":
        given = [name for name in ("fid", "token", "subscription") if getattr(self, name) is not None]
        if len(given) != 1 or (given[0] == "subscription") != (self.kind == "webpush"):
            raise ValueError(_ONE)
        return self


class DeviceShown(BaseModel):
    """A device. `target` is what it is reached by; its address is not shown. `seen_at`: when the host last told of it."""

    id: str
    host_id: str
    user: str
    kind: Literal["fcm", "webpush"]
    target: str
    tags: list[str]
    locale: str | None
    timezone: str | None
    created_at: datetime
    seen_at: datetime


@router.put("/{host_id}", response_model=DeviceShown)
def put(host_id: HostId, wish: DeviceWish, access: Writer, services: Parts) -> Response:
    """Register a device, or tell that it is still there. Its old address is replaced; another device with the same one is
    removed, so that nobody gets a thing twice, or what is another's."""
    kind, address = _address(wish, services)
    new = NewDevice(host_id, kind, address, wish.user, tuple(dict.fromkeys(wish.tags)), wish.locale, wish.timezone)

    def effect(work: Work) -> DeviceShown:
        now = services.clock()
        if work.session.get_one(Tenant, access.tenant_id).status != ACTIVE_TENANT:
            raise Problem("being-erased", "This tenant is being erased; nothing can be added to it.")
        keyring = services.vault.keyring(work.session, access.tenant_id, access.tenant_id, now)
        row = register(work.session, keyring, new, tenant_id=access.tenant_id, now=now)
        return _shown(work.session, row, wish.user)

    return once(services, access, Ask(None, b""), 200, effect)


@router.get("/{host_id}")
def one(host_id: HostId, access: Reader, services: Parts) -> DeviceShown:
    """One device."""
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        keyring = services.vault.existing(session, access.tenant_id, access.tenant_id)
        row = device_called(session, host_id)
        if row is None or keyring is None:
            raise not_found()
        return _shown(session, row, opened(keyring, row)[1])


@router.delete("/{host_id}", status_code=204)
def forget(host_id: HostId, access: Writer, services: Parts) -> None:
    """Forget a device: somebody signed out, or uninstalled the app. What waits to be pushed to it is not sent."""
    with Work(services, access.tenant_id) as work:
        row = device_called(work.session, host_id)
        if row is None:
            raise not_found()
        remove(work.session, access.tenant_id, [(row.id, row.host_id)], BY_HOST, services.clock())


def _address(wish: DeviceWish, services: Services) -> tuple[str, dict[str, str]]:
    """(kind, address), checked. A problem that names the field."""
    if wish.fid is not None:
        return FID, {"token": wish.fid}
    if wish.subscription is None:
        return TOKEN, {"token": str(wish.token)}
    endpoint = wish.subscription.endpoint
    try:
        check_endpoint(endpoint, services.settings.push.allowed)
        keys = checked_keys(wish.subscription.keys.model_dump())
    except (BadEndpoint, BadKeys) as error:
        field = "endpoint" if isinstance(error, BadEndpoint) else "keys"
        wrong = [{"field": f"body.subscription.{field}", "problem": str(error)}]
        detail = "Mend the fields listed under errors, and send the request again."
        raise Problem("invalid", detail, errors=wrong) from None
    return WEBPUSH, {"endpoint": endpoint, **keys}


def _shown(session: Session, row: Device, user: str) -> DeviceShown:
    return DeviceShown(
        id=row.id, host_id=row.host_id, user=user, kind="webpush" if row.kind == WEBPUSH else "fcm", target=row.kind,
        tags=tags_of(session, [row.id])[row.id], locale=row.locale, timezone=row.timezone, created_at=row.created_at,
        seen_at=row.seen_at,
    )  # fmt: skip
