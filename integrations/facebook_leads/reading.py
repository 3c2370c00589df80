"""Reads a form's leads in bulk, one part a call; it stores nothing, remembers no place and knows no schedule.

Source: https://developers.facebook.com/documentation/ads-commerce/marketing-api/guides/lead-ads/retrieving
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil, floor
from typing import Any

import orjson

from integrations.errors import IntegrationError, Missing, OurBug
from integrations.facebook_leads.graph import Graph, require_id
from integrations.facebook_leads.paging import START, listed, next_cursor, refused_part
from integrations.facebook_leads.scalars import read_id
from integrations.facebook_leads.sdk import LEAD_FIELDS
from integrations.facebook_leads.usage import Usage, read_usage

_ID_FIELDS = ("id", "created_time")
_ACCESS = "If the form still exists: in Meta Business settings, under Leads access, allow this app and its user."


@dataclass(frozen=True, slots=True)
class Read:
    """One part of a form's leads, as Graph gave them, each id once and as text.

    `after` goes on, None ends; an empty part may go on. A run that meets an `after` for the second time is at the end.
    `dropped` counts what had no id, or belongs to another form.
    """

    leads: list[dict[str, Any]] = field(repr=False)
    after: str | None
    usage: Usage
    dropped: int = 0


class LeadPages:
    """The leads of forms, newest first as Meta lists them, as far back as Meta keeps them (about 90 days)."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def read(
        self,
        token: str,
        form_id: str,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        after: str | None = None,
        limit: int = START,
        page_id: str | None = None,
    ) -> Read:
        """One call: at most `limit` leads, with all the fields of a lead that is read alone, made in [since, until).

        Instants are aware, and count in whole seconds, outwards. `page_id` is only for finding the Page's usage.
        Raises PageTooLarge, CursorGone (see `paging`), and what any call raises; Missing is about the form.
        """
        return self._part(token, form_id, LEAD_FIELDS, (since, until), after, limit, page_id)

    def lead_ids(
        self,
        token: str,
        form_id: str,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        after: str | None = None,
        limit: int = START,
        page_id: str | None = None,
    ) -> Read:
        """As `read`, of each lead only `id` and `created_time`: enough to see what is missing here."""
        return self._part(token, form_id, _ID_FIELDS, (since, until), after, limit, page_id)

    def _part(
        self,
        token: str,
        form_id: str,
        fields: Sequence[str],
        span: tuple[datetime | None, datetime | None],
        after: str | None,
        limit: int,
        page_id: str | None,
    ) -> Read:
        require_id(form_id, "A form's id is digits.")
        if limit < 1:
            raise OurBug("A part of a list holds at least one lead.", code="request")
        params = {"fields": ",".join(fields), "limit": str(limit)} | _filtering(*span)
        if after is not None:
            params["after"] = after
        try:
            answer, headers = self._graph.get(token, f"{form_id}/leads", params)
        except IntegrationError as error:
            failure = refused_part(_of_form(error), limit=limit, after=after)
        else:
            leads, dropped = _usable(listed(answer), form_id)
            return Read(leads, next_cursor(answer, after), read_usage(headers, page_id), dropped)
        raise failure


def _filtering(since: datetime | None, until: datetime | None) -> dict[str, str]:
    rules = []
    for instant, operator, whole in ((since, "GREATER_THAN_OR_EQUAL", floor), (until, "LESS_THAN", ceil)):
        if instant is not None:
            if instant.tzinfo is None:
                raise OurBug("An instant has to say its time zone.", code="request")
            rules.append({"field": "time_created", "operator": operator, "value": whole(instant.timestamp())})
    return {"filtering": orjson.dumps(rules).decode()} if rules else {}


def _usable(items: list[Any], form_id: str) -> tuple[list[dict[str, Any]], int]:
    """Every lead once, and the number of those that cannot be this form's leads."""
    found: dict[str, dict[str, Any]] = {}
    dropped = 0
    for item in items:
        lead_id = read_id(item.get("id")) if isinstance(item, dict) else None
        # `form_id` may be absent, and is where only ids were asked for.
        if not lead_id or (read_id(item.get("form_id")) or form_id) != form_id:
            dropped += 1
        elif lead_id not in found:
            item["id"] = lead_id
            found[lead_id] = item
    return list(found.values()), dropped


def _of_form(error: IntegrationError) -> IntegrationError:
    """The table of errors speaks of one lead."""
    if type(error) is not Missing:
        return error
    sentence = "Facebook does not show this form's leads: the form was deleted, or its leads may not be read."
    return Missing(sentence, code=error.code, fix=_ACCESS, trace=error.trace)
