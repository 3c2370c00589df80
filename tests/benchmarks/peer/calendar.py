"""The peer's calendar: one Celery task an event, which builds the client and inserts it, as most tutorials do."""

import os
from typing import Any

from celery import Celery
from google.oauth2.credentials import Credentials
from googleapiclient.discovery import build

app = Celery("peer", broker=os.environ["PEER_BROKER_URL"])
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"visibility_timeout": 900},
)


@app.task(name="peer.put_event")
def put_event(calendar_id: str, event: dict[str, Any]) -> None:
    """One event."""
    credentials = Credentials(os.environ["PEER_TOKEN"])  # type: ignore[no-untyped-call]
    service = build(
        "calendar",
        "v3",
        credentials=credentials,
        client_options={"api_endpoint": os.environ["PEER_GOOGLE_URL"] + "/calendar/v3/"},
    )
    service.events().insert(calendarId=calendar_id, body=event).execute()
