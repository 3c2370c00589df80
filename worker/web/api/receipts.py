"""Receipts of deletions, as they were signed: `/v1/receipts`, `/v1/deletions/{id}/receipt`, and the keys to check them with."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict
from sqlalchemy import select

from models.deletion import Deletion
from models.ed25519 import ALGORITHM
from models.receipt import document, newest_of, receipts_after
from models.receipt_key import public_keys
from models.tenancy import system_session, tenant_session
from worker.web.api.paging import Cursor, Limit, Page, known_id, page_of, read_cursor
from worker.web.callers import Access, Parts, tenant_access
from worker.web.problems import Problem, not_found

router = APIRouter(tags=["receipts"])
Reader = Annotated[Access, Depends(tenant_access("deletions:read"))]


class SignatureShown(BaseModel):
    """What the body is checked with. `digest` is its SHA-256, and what the next receipt names as `previous`."""

    key: str
    public_key: str
    algorithm: str
    digest: str
    value: str


class ReceiptShown(BaseModel):
    """A receipt. Signed is the body as JSON with sorted keys and no spaces, in UTF-8: docs/receipts.md."""

    body: dict[str, Any]
    signature: SignatureShown


class KeyShown(BaseModel):
    """A public key, 32 bytes in base64url."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    algorithm: str = ALGORITHM
    public_key: str
    created_at: datetime


class KeysShown(BaseModel):
    """Every key that ever signed a receipt here, the oldest first."""

    keys: list[KeyShown]


@router.get("/v1/receipts")
def listed(access: Reader, services: Parts, limit: Limit = 50, cursor: Cursor = None) -> Page[ReceiptShown]:
    """The tenant's receipts in the order of their chain."""
    after = read_cursor("receipts", cursor)
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        rows = receipts_after(session, after=after, limit=limit + 1)
        shown = {row.id: ReceiptShown.model_validate(document(row)) for row in rows}
    return page_of("receipts", rows, limit, id_of=lambda row: row.id, show=lambda row: shown[row.id])


@router.get("/v1/deletions/{deletion_id}/receipt")
def of_deletion(deletion_id: str, access: Reader, services: Parts) -> ReceiptShown:
    """The newest receipt of a deletion."""
    known_id(deletion_id)
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        if session.scalars(select(Deletion.id).where(Deletion.id == deletion_id)).one_or_none() is None:
            raise not_found()
        row = newest_of(session, deletion_id)
        if row is None:
            detail = "It is written when the deletion has been carried out and counted again: look at its steps, or ask later."
            raise Problem("no-receipt-yet", detail)
        return ReceiptShown.model_validate(document(row))


@router.get("/.well-known/troth-receipt-keys.json")
def keys(services: Parts) -> KeysShown:
    """The public keys, for whoever holds a receipt; no key of the API is needed."""
    with system_session(services.database, reads_only=True) as session:
        return KeysShown(keys=[KeyShown.model_validate(row) for row in public_keys(session)])
