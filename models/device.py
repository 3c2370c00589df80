"""Devices that take a tenant's bulletins: whose, by which address, with which tags; an address belongs to one device.

Addresses and users are sealed with the tenant's own key, and found by keyed hashes. It asks no provider whether one lives.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import Index, String, Table, UniqueConstraint, and_, delete, or_, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, ExternalId, Id, Instant, Key, Sealed, Word, new_id, short_binary, table_args
from models.feed import DEVICE_REMOVED, emit
from models.opt_out import user_mark
from models.statements import among, insert_all
from models.tenancy import TenantScoped, check_scope, same_tenant
from models.vault import Keyring

FID, TOKEN, WEBPUSH = "fid", "token", "webpush"
KINDS = (FID, TOKEN, WEBPUSH)
"""A Firebase installation id, an old registration token of FCM, a Web Push subscription."""
STALE_AFTER = timedelta(days=270)
"""FCM drops an Android registration that was not seen for so long; a host tells of its devices at each start."""
GONE, FOREIGN, MOVED, STALE, BY_HOST = "gone", "foreign", "moved", "stale", "by_host"
"""Why a device was removed: the provider's word, another project's, its address came with another device, not seen, asked."""


class Device(TenantScoped, Base):
    """One installation of the host's app, or one browser. `host_id` is its id at the host, `seen_at` when we last heard of it.

    `address` is sealed JSON: {"token"} of FCM, {"endpoint", "p256dh", "auth"} of Web Push."""

    __tablename__ = "devices"
    __table_args__ = table_args(
        UniqueConstraint("tenant_id", "id"),
        UniqueConstraint("tenant_id", "host_id"),
        UniqueConstraint("tenant_id", "address_hash"),
        Index("ix_devices_tenant_id_user_hash", "tenant_id", "user_hash"),
        Index("ix_devices_seen_at", "seen_at"),
    )

    id: Mapped[Key]
    host_id: Mapped[ExternalId]
    kind: Mapped[Word]
    address: Mapped[Sealed]
    address_hash: Mapped[bytes] = mapped_column(short_binary(16))
    user: Mapped[Sealed]
    user_hash: Mapped[bytes] = mapped_column(short_binary(16))
    locale: Mapped[str | None] = mapped_column(String(35))
    timezone: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[Instant]
    seen_at: Mapped[Instant]


class DeviceTag(TenantScoped, Base):
    """A word by which a bulletin's audience is chosen."""

    __tablename__ = "device_tags"
    __table_args__ = table_args(
        same_tenant("device_id", "devices"),
        UniqueConstraint("tenant_id", "device_id", "tag"),
        Index("ix_device_tags_tag", "tenant_id", "tag"),
    )

    id: Mapped[Key]
    device_id: Mapped[Id]
    tag: Mapped[str] = mapped_column(String(64))


@dataclass(frozen=True, slots=True)
class NewDevice:
    """What the host says of a device, in the clear. `address` as `Device.address`."""

    host_id: str
    kind: str
    address: dict[str, str] = field(repr=False)
    user: str = field(repr=False)
    tags: tuple[str, ...] = ()
    locale: str | None = None
    timezone: str | None = None


DEVICES: Table = Device.__table__  # type: ignore[assignment]
TAGS: Table = DeviceTag.__table__  # type: ignore[assignment]


def register(session: Session, keyring: Keyring, new: NewDevice, *, tenant_id: str, now: datetime) -> Device:
    """Store a device, or what changed about it; another device with its address is removed. `keyring` is the tenant's.

    IntegrityError when a rival registered the same at this moment: do it again.
    """
    check_scope(session, (tenant_id,))
    mark = keyring.fingerprint(_identity(new))
    # In one order for all, so that two devices that swap their addresses wait for each other, and no more.
    same = or_(Device.host_id == new.host_id, Device.address_hash == mark)
    found = session.scalars(select(Device).where(same).order_by(Device.id).with_for_update()).all()
    row = next((one for one in found if one.host_id == new.host_id), None)
    moved = [one for one in found if one is not row]
    remove(session, tenant_id, [(one.id, one.host_id) for one in moved], MOVED, now)
    if row is None:
        row = Device(id=new_id(), tenant_id=tenant_id, host_id=new.host_id, created_at=now)
        session.add(row)
    row.kind, row.locale, row.timezone, row.seen_at = new.kind, new.locale, new.timezone, now
    row.address = keyring.seal(orjson.dumps(new.address), table="devices", row=row.id, column="address")
    row.user = keyring.seal(new.user.encode(), table="devices", row=row.id, column="user")
    row.address_hash, row.user_hash = mark, user_mark(keyring, new.user)
    session.flush()
    _tag(session, tenant_id, row.id, new.tags)
    return row


def _identity(new: NewDevice) -> str:
    """A fid is no token, though both may be the same text; a browser is its endpoint, whatever its keys."""
    return f"{new.kind}:{new.address.get('endpoint') or new.address['token']}"


def _tag(session: Session, tenant_id: str, device_id: str, tags: Sequence[str]) -> None:
    mine = and_(TAGS.c.tenant_id == tenant_id, TAGS.c.device_id == device_id)
    connection = session.connection()
    had = set(connection.execute(select(TAGS.c.tag).where(mine)).scalars())
    lost, won = had - set(tags), set(tags) - had
    if lost:
        connection.execute(delete(TAGS).where(mine, TAGS.c.tag.in_(sorted(lost))))
    rows = [{"id": new_id(), "tenant_id": tenant_id, "device_id": device_id, "tag": tag} for tag in sorted(won)]
    insert_all(connection, TAGS, rows)


def remove(session: Session, tenant_id: str, devices: Sequence[tuple[str, str]], reason: str, now: datetime) -> None:
    """Forget devices, (id, host's id) each, and tell the host. Take it last, as `models.feed.emit`."""
    if not devices:
        return
    check_scope(session, (tenant_id,))
    connection, ids = session.connection(), [device for device, _ in devices]
    connection.execute(delete(TAGS).where(TAGS.c.tenant_id == tenant_id, among(connection, TAGS.c.device_id, ids)))
    connection.execute(delete(DEVICES).where(DEVICES.c.tenant_id == tenant_id, among(connection, DEVICES.c.id, ids)))
    session.expire_all()
    told = [(DEVICE_REMOVED, {"device_id": one, "host_id": host_id, "reason": reason}) for one, host_id in devices]
    emit(session, tenant_id, told, now)


def device_called(session: Session, host_id: str) -> Device | None:
    """The tenant's device with the host's id."""
    return session.scalars(select(Device).where(Device.host_id == host_id)).one_or_none()


def tags_of(session: Session, device_ids: Sequence[str]) -> dict[str, list[str]]:
    """device id -> its tags."""
    found: dict[str, list[str]] = {one: [] for one in device_ids}
    query = select(DeviceTag.device_id, DeviceTag.tag).where(DeviceTag.device_id.in_(device_ids))
    for device, tag in session.execute(query.order_by(DeviceTag.tag)):
        found[device].append(tag)
    return found


def known_tags(session: Session, tags: Collection[str]) -> set[str]:
    """Those of these tags that a device of the tenant has."""
    return set(session.scalars(select(DeviceTag.tag).where(DeviceTag.tag.in_(tags)).distinct())) if tags else set()


def opened(keyring: Keyring, device: Device) -> tuple[dict[str, Any], str]:
    """(address, user) in the clear."""
    address = keyring.unseal(device.address, table="devices", row=device.id, column="address")
    user = keyring.unseal(device.user, table="devices", row=device.id, column="user")
    return orjson.loads(address), user.decode()


def stale(session: Session, now: datetime, *, limit: int) -> dict[str, list[tuple[str, str]]]:
    """tenant -> (id, host's id) of devices that were not seen for too long (system session)."""
    query = select(DEVICES.c.tenant_id, DEVICES.c.id, DEVICES.c.host_id).where(DEVICES.c.seen_at < now - STALE_AFTER)
    found: dict[str, list[tuple[str, str]]] = {}
    for tenant, device, host_id in session.connection().execute(query.order_by(DEVICES.c.seen_at).limit(limit)):
        found.setdefault(tenant, []).append((device, host_id))
    return found
