"""`/v1/opt-outs/{user}`: whether a user of the host wants bulletins. The id is kept as a keyed hash only."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel

from models.opt_out import opt_in, opt_out, opted_out_at
from models.tenancy import tenant_session
from worker.web.api.fields import ExternalId
from worker.web.callers import Access, Parts, tenant_access
from worker.work import Work

router = APIRouter(prefix="/v1/opt-outs", tags=["rights"])
Reader = Annotated[Access, Depends(tenant_access("rights:read"))]
Writer = Annotated[Access, Depends(tenant_access("rights:write"))]
User = Annotated[ExternalId, Path(description="The user's id at the host; no name and no address.")]


class PreferenceShown(BaseModel):
    """Whether the user opted out, and since when."""

    opted_out: bool
    since: datetime | None


@router.get("/{user}")
def one(user: User, access: Reader, services: Parts) -> PreferenceShown:
    """What the user wants."""
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        hashes = services.vault.existing(session, access.tenant_id, access.tenant_id)
        return _shown(None if hashes is None else opted_out_at(session, hashes, user))


@router.put("/{user}")
def out(user: User, access: Writer, services: Parts) -> PreferenceShown:
    """No bulletins from now on; again changes nothing."""
    with Work(services, access.tenant_id) as work:
        now = services.clock()
        hashes = services.vault.keyring(work.session, access.tenant_id, access.tenant_id, now)
        opt_out(work.session, hashes, access.tenant_id, user, now)
        return _shown(opted_out_at(work.session, hashes, user))


@router.delete("/{user}")
def back(user: User, access: Writer, services: Parts) -> PreferenceShown:
    """The user wants bulletins again; again changes nothing."""
    with Work(services, access.tenant_id) as work:
        hashes = services.vault.keyring(work.session, access.tenant_id, access.tenant_id, services.clock())
        opt_in(work.session, hashes, user)
        return _shown(None)


def _shown(since: datetime | None) -> PreferenceShown:
    return PreferenceShown(opted_out=since is not None, since=since)
