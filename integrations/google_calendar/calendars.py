"""The Calendar API, as far as Troth uses it: one calendar of ours, its events in batches, its changes, its channels.

Every method calls Google and raises IntegrationError; what a batch's parts met is in their places. It stores nothing, and
counts no quota. Source: https://developers.google.com/workspace/calendar/api/v3/reference
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import orjson

from integrations.errors import IntegrationError, Missing, OurBug, Transient
from integrations.google_calendar.batch import Answer, Call, decode, encode
from integrations.google_calendar.errors import classify
from integrations.google_calendar.transport import json_of
from integrations.http import Http, Reply

MOST_LISTED = 2_500
NOTIFY = {"none": "none", "external_only": "externalOnly", "all": "all"}
"""Whom Google writes to about a change: our word, and Google's."""
CHANNEL_LIVES = timedelta(days=7)
_GONE_PLACE = ("fullSyncRequired", "updatedMinTooLongAgo")


class PlaceForgotten(IntegrationError):
    """Google has forgotten the place that a sync token stood for: everything is listed again."""

    kind = "place_forgotten"


@dataclass(frozen=True, slots=True)
class Listed:
    """One page of a calendar's changes. `sync_token` is on the last page alone, `page_token` on all before it."""

    items: list[dict[str, Any]] = field(repr=False)
    page_token: str | None
    sync_token: str | None


@dataclass(frozen=True, slots=True)
class Watched:
    """What a channel was granted: Google's name for what is watched, and until when notices come."""

    resource_id: str
    expires_at: datetime


class Calendars:
    """`api_url` is https://www.googleapis.com or what stands in for it. Tokens are access tokens. Safe between threads."""

    def __init__(self, http: Http, *, api_url: str) -> None:
        self._http = http
        self._api_url = api_url.rstrip("/")

    def create(self, token: str, *, title: str, time_zone: str) -> str:
        """A new calendar; its id. There is no id of our own to give: a lost answer leaves an empty calendar behind."""
        body = self._call("POST", "/calendar/v3/calendars", token, {"summary": title, "timeZone": time_zone})
        external_id = body.get("id")
        if not isinstance(external_id, str) or not external_id:
            raise Transient("Google's answer names no calendar.", code="answer")
        return external_id

    def exists(self, token: str, calendar: str) -> bool:
        """Whether Google still has a calendar of ours."""
        try:
            self._call("GET", f"/calendar/v3/calendars/{_part(calendar)}", token)
        except Missing:
            return False
        return True

    def delete(self, token: str, calendar: str) -> None:
        """Delete a whole calendar. One that is gone already is a success."""
        try:
            self._call("DELETE", f"/calendar/v3/calendars/{_part(calendar)}", token)
        except Missing:
            return

    def batch(self, token: str, calls: Sequence[Call]) -> list[Answer]:
        """The answers of at most 50 calls, each in its place; an error of the whole batch is raised."""
        content, kind = encode(calls)
        reply = self._http.request("POST", f"{self._api_url}/batch/calendar/v3", content=content, bearer=token,
                                   headers={"content-type": kind, "accept": "multipart/mixed"})  # fmt: skip
        if reply.status != 200:
            raise classify(reply.status, json_of(reply), reply.headers)
        return decode(reply.content, reply.headers.get("content-type", ""), len(calls))

    def changes(self, token: str, calendar: str, *, sync_token: str | None, page_token: str | None) -> Listed:
        """A page of what changed since `sync_token`, deletions among it; without one, of all there is.

        Masters and their exceptions come as they are (singleEvents stays false, as in every pass: Google wants the same
        parameters each time). PlaceForgotten when Google wants everything to be listed again.
        """
        params = {"maxResults": str(MOST_LISTED)}
        if sync_token is not None:
            params["syncToken"] = sync_token
        if page_token is not None:
            params["pageToken"] = page_token
        reply = self._http.request("GET", f"{self._api_url}{_events(calendar)}", params=params, bearer=token)
        body = json_of(reply)
        if reply.status != 200:
            error = classify(reply.status, body, reply.headers)
            raise PlaceForgotten(str(error), code=error.code) if _is_forgotten(reply, error) else error
        items = body.get("items", []) if isinstance(body, dict) else None
        if not isinstance(items, list):
            raise Transient("Google's list of events cannot be read.", code="answer")
        found = [item for item in items if isinstance(item, dict) and isinstance(item.get("id"), str)]
        return Listed(found, body.get("nextPageToken"), body.get("nextSyncToken"))

    def watch(self, token: str, calendar: str, *, channel_id: str, secret: str, address: str) -> Watched:
        """Ask for notices of a calendar's changes. `secret` comes back with each of them."""
        body = self._call(
            "POST", f"{_events(calendar)}/watch", token,
            {"id": channel_id, "type": "web_hook", "address": address, "token": secret,
             "params": {"ttl": str(int(CHANNEL_LIVES.total_seconds()))}},
        )  # fmt: skip
        try:
            expires_at = datetime.fromtimestamp(int(body["expiration"]) / 1000, UTC)
            return Watched(str(body["resourceId"]), expires_at)
        except (KeyError, TypeError, ValueError, OverflowError):
            raise Transient("Google's answer about a channel cannot be read.", code="answer") from None

    def stop(self, token: str, *, channel_id: str, resource_id: str) -> None:
        """No more notices by a channel. One that Google does not know any more is a success."""
        try:
            self._call("POST", "/calendar/v3/channels/stop", token, {"id": channel_id, "resourceId": resource_id})
        except Missing:
            return

    def _call(self, method: str, path: str, token: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        reply = self._http.request(
            method, f"{self._api_url}{path}", bearer=token,
            content=None if body is None else orjson.dumps(body),
            headers=None if body is None else {"content-type": "application/json"},
        )  # fmt: skip
        found = json_of(reply)
        if not 200 <= reply.status < 300:
            raise classify(reply.status, found, reply.headers)
        return found if isinstance(found, dict) else {}


def _is_forgotten(reply: Reply, error: IntegrationError) -> bool:
    return reply.status == 410 or (reply.status == 400 and error.code in _GONE_PLACE)


def error_of(answer: Answer) -> IntegrationError | None:
    """What a part of a batch met; None: it went well."""
    if 200 <= answer.status < 300:
        return None
    if answer.status == 0:
        return Transient("Google's answer to a batch lacks this part.", code="batch_part")
    return classify(answer.status, answer.body, answer.headers)


def is_absent(answer: Answer) -> bool:
    """Whether Google has no such event. A 403 says that of none: it is there, and closed to us."""
    return answer.status in (404, 410)


def insert(calendar: str, resource: Mapping[str, Any], *, notify: str) -> Call:
    """Make an event under the id that the resource names: 409 if there is, or was, one."""
    return Call("POST", f"{_events(calendar)}?sendUpdates={NOTIFY[notify]}", resource)


def put(calendar: str, event: str, resource: Mapping[str, Any], *, etag: str | None, notify: str) -> Call:
    """Replace an event as a whole, if it is still the version that `etag` names (412 if not)."""
    query = f"sendUpdates={NOTIFY[notify]}"
    # Without these two Google ignores what the resource says of them.
    if "conferenceData" in resource:
        query += "&conferenceDataVersion=1"
    if "attachments" in resource:
        query += "&supportsAttachments=true"
    return Call("PUT", f"{_events(calendar)}/{_part(event)}?{query}", resource, etag)


def get(calendar: str, event: str) -> Call:
    """Read an event; of a deleted one Google tells that it is cancelled."""
    return Call("GET", f"{_events(calendar)}/{_part(event)}")


def delete(calendar: str, event: str, *, etag: str | None = None, notify: str = "none") -> Call:
    """Delete an event, if it is still the version that `etag` names (412 if not): `is_absent` if there is none, or none any
    more."""
    return Call("DELETE", f"{_events(calendar)}/{_part(event)}?sendUpdates={NOTIFY[notify]}", None, etag)


def _events(calendar: str) -> str:
    return f"/calendar/v3/calendars/{_part(calendar)}/events"


def _part(value: str) -> str:
    if not value or len(value) > 1_024:
        raise OurBug("An id of Google's cannot be written into an address.", code="request")
    return quote(value, safe="")
