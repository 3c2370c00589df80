"""The peer's webhook: check the signature, and per change one row, one commit, one `apply_async`."""

import hmac
from typing import Annotated

import orjson
import uvicorn
from fastapi import Depends, FastAPI, Header, HTTPException, Request

from tests.benchmarks.peer import settings, tables
from tests.benchmarks.peer.tasks import fetch_lead

app = FastAPI(openapi_url=None)
engine = tables.connect(pool=40)


async def raw_body(request: Request) -> bytes:
    """The signed bytes."""
    return await request.body()


@app.post("/webhooks/meta", status_code=200)
def deliver(raw: Annotated[bytes, Depends(raw_body)], x_hub_signature_256: Annotated[str, Header()]) -> dict[str, bool]:
    """A sync route, so that the framework's thread pool carries the blocking calls."""
    expected = "sha256=" + hmac.digest(settings.APP_SECRET.encode(), raw, "sha256").hex()
    if not hmac.compare_digest(expected, x_hub_signature_256):
        raise HTTPException(401)
    for entry in orjson.loads(raw)["entry"]:
        for change in entry["changes"]:
            value = change["value"]
            page_id, lead_id = value["page_id"], value["leadgen_id"]
            row = {
                "tenant": settings.pages()[page_id][0],
                "page_id": page_id,
                "lead_id": lead_id,
                "form_id": value.get("form_id"),
                "received_at": tables.now(),
            }
            if tables.insert_once(engine, tables.INBOX, row):
                fetch_lead.apply_async((page_id, lead_id))
    return {"ok": True}


def main(port: int) -> None:
    """One server process."""
    uvicorn.run(
        app, host="127.0.0.1", port=port, log_level="warning", access_log=False, loop="uvloop", http="httptools"
    )


if __name__ == "__main__":
    import sys

    main(int(sys.argv[1]))
