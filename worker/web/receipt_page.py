"""`/receipts/verify`: whether a receipt that somebody holds is true, in words. What is sent is not kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request
from starlette.datastructures import UploadFile
from starlette.responses import JSONResponse, Response

from models.receipt_key import known_keys
from models.tenancy import system_session
from models.verdict import Body, judge
from worker.web.admin.rendering import page
from worker.web.callers import Parts

router = APIRouter(prefix="/receipts", include_in_schema=False)


@dataclass(frozen=True, slots=True)
class ReceiptTold:
    """What a true receipt says, for people."""

    number: int
    issued_at: datetime
    code: str
    erased_at: datetime | None
    deleted: int
    left: int
    exceptions: Sequence[str]


@router.get("/verify")
def form() -> Response:
    """Where a receipt is shown."""
    return page("receipt.html", verdict=None, receipts=())


async def _sent(request: Request) -> bytes:
    """The file, or else what was pasted; no body is larger than `worker.web.body_cap` lets in."""
    pasted = b""
    async with request.form(max_files=1, max_fields=2) as sent:
        for value in sent.values():
            if isinstance(value, str):
                pasted = pasted or value.encode(errors="replace")
            elif isinstance(value, UploadFile) and (content := await value.read()):
                return content
    return pasted


@router.post("/verify")
def verify(sent: Annotated[bytes, Depends(_sent)], services: Parts, accept: Annotated[str, Header()] = "") -> Response:
    """Whether it is true."""
    with system_session(services.database, reads_only=True) as session:
        keys = known_keys(session)
    verdict = judge(sent, keys)
    if accept.partition(",")[0].strip() == "application/json":
        return JSONResponse({"holds": verdict.holds, "sentence": verdict.sentence})
    return page("receipt.html", verdict=verdict, receipts=[told(body) for body in verdict.bodies])


def told(body: Body) -> ReceiptTold:
    """A body that was found true, so that its shape is ours."""
    erased_at = body["deletion"]["erased_at"]
    return ReceiptTold(
        number=body["receipt"]["number"],
        issued_at=datetime.fromisoformat(body["receipt"]["issued_at"]),
        code=body["deletion"]["confirmation_code"],
        erased_at=None if erased_at is None else datetime.fromisoformat(erased_at),
        deleted=sum(store["deleted"] or 0 for store in body["stores"]),
        left=sum(store["after"] or 0 for store in body["stores"]),
        exceptions=body["exceptions"],
    )
