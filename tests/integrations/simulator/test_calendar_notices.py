"""Notices and answers on the wire: what Google's pushes look like, how they go astray, and answers that nobody hears."""

import httpx
import pytest

from integrations.simulator.server import SimulatorServer
from tests.integrations.simulator.google_client import EVENT, Client
from tests.integrations.simulator.receiver import Receiver


def watch(client: Client, calendar: str, receiver: Receiver, channel: str = "channel-1") -> None:
    body = {"id": channel, "type": "web_hook", "address": receiver.url, "token": "secret"}
    client.events.watch(calendarId=calendar, body=body).execute()


def named(headers: dict[str, str], *names: str) -> tuple[str, ...]:
    return tuple(headers[f"X-Goog-{name}"] for name in names)


def test_the_first_message_may_come_before_the_answer(
    server: SimulatorServer, client: Client, calendar: str, receiver: Receiver
) -> None:
    server.panel.press("late_answer", kind="calendar", seconds=0.3, times=1)
    watch(client, calendar, receiver)
    ((body, headers),) = receiver.got  # it was here already
    assert named(headers, "Resource-State", "Message-Number", "Channel-ID", "Channel-Token") == (
        "sync", "1", "channel-1", "secret")  # fmt: skip
    assert headers["X-Goog-Resource-URI"].endswith(f"/calendars/{calendar}/events?alt=json")
    assert body == b""


def test_a_message_comes_again_while_the_receiver_is_ill(client: Client, calendar: str, receiver: Receiver) -> None:
    receiver.answers = [503, 500, 404]  # the last says no more than that it failed
    watch(client, calendar, receiver)
    receiver.heard(3)
    client.insert(calendar)
    states = [named(headers, "Resource-State") for headers in receiver.heard(4)]
    assert states == [("sync",)] * 3 + [("exists",)]


def test_messages_are_lost_or_come_twice(
    server: SimulatorServer, client: Client, calendar: str, receiver: Receiver
) -> None:
    watch(client, calendar, receiver)
    watch(client, calendar, receiver, "channel-2")
    receiver.heard(2)
    switches = {"lost": 1, "twice": True}
    httpx.post(f"{server.url}/_sim/calendars", json=switches, trust_env=False).raise_for_status()
    client.insert(calendar)
    first, second = receiver.heard(4)[2:]
    assert named(first, "Channel-ID", "Message-Number") == named(second, "Channel-ID", "Message-Number")
    assert named(first, "Channel-ID", "Resource-State") == ("channel-2", "exists")


def test_an_answer_may_be_lost_though_all_is_done(server: SimulatorServer, client: Client, calendar: str) -> None:
    server.panel.press("lost_answer", kind="calendar", times=1)
    url = f"{server.url}/calendar/v3/calendars/{calendar}/events"
    with httpx.Client(headers={"authorization": f"Bearer {client.token}"}, trust_env=False) as http:
        with pytest.raises(httpx.TransportError):
            http.post(url, json=EVENT)
        assert http.post(url, json=EVENT).status_code == 409
