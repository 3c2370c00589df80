"""Calls about channels: who is told of a calendar's changes, and until when; it sends nothing."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from integrations.simulator.calendar_ask import Ask, Handler, calendar_of
from integrations.simulator.calendar_world import Calendars, Channel
from integrations.simulator.google_answers import api_fault

_ID = re.compile(r"[A-Za-z0-9\-_+/=]{1,64}", re.ASCII)
_LONGEST, _USUAL = timedelta(days=30), timedelta(days=7)
_LONGEST_TOKEN = 256


def _watch(world: Calendars, ask: Ask) -> dict[str, Any]:
    calendar, body = calendar_of(world, ask), ask.body
    token, address = body.get("token", ""), body.get("address", "")
    if body.get("type") != "web_hook" or not _ID.fullmatch(body.get("id", "")) or len(token) > _LONGEST_TOKEN:
        raise api_fault(400, "invalid", "Invalid value for channel.")
    if body["id"] in world.channels:
        raise api_fault(400, "channelIdNotUnique", f"Channel id {body['id']} not unique")
    # A certificate cannot be had on loopback; anywhere else Google wants one.
    if not address.startswith(("https://", "http://127.0.0.1", "http://localhost")):
        raise api_fault(400, "push.webhookUrlNotHttps", f"WebHook callback must be HTTPS: {address}")
    channel = Channel(body["id"], calendar.id, ask.owner, address, token, world.digest("watched")[:27],
                      world.clock() + _life(world, body))  # fmt: skip
    world.channels[channel.id] = channel
    world.say(channel, "sync")
    found = {"kind": "api#channel", "id": channel.id, "resourceId": channel.resource_id,
             "resourceUri": f"https://www.googleapis.com/calendar/v3/calendars/{calendar.id}/events?alt=json",
             "expiration": str(int(channel.expires_at.timestamp() * 1000))}  # fmt: skip
    return found | ({"token": token} if token else {})


def _life(world: Calendars, body: Mapping[str, Any]) -> timedelta:
    """As long as asked for, and no longer than Google allows."""
    try:
        if "expiration" in body:
            asked = datetime.fromtimestamp(int(body["expiration"]) / 1000, UTC) - world.clock()
        else:
            asked = timedelta(seconds=int((body.get("params") or {}).get("ttl", _USUAL.total_seconds())))
    except (ValueError, OverflowError, OSError):
        raise api_fault(400, "invalid", "Invalid value for channel: expiration or ttl.") from None
    if asked <= timedelta(0):
        raise api_fault(400, "invalid", "Invalid value for channel: it has expired already.")
    return min(asked, _LONGEST)


def _stop(world: Calendars, ask: Ask) -> None:
    channel = world.channels.get(ask.body.get("id", ""))
    if channel is None or channel.resource_id != ask.body.get("resourceId") or channel.owner != ask.owner:
        raise api_fault(404, "notFound", f"Channel '{ask.body.get('id')}' not found for project")
    del world.channels[channel.id]


CHANNELS: Mapping[str, Handler] = {"calendar.events.watch": _watch, "calendar.channels.stop": _stop}
