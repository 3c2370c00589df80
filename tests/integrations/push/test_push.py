"""Pushes by the real sender to simulated services: taken as documented, read by the browser alone, every refusal understood."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import orjson
import pytest

from integrations.errors import OurBug
from integrations.http import Http
from integrations.push.addresses import BadEndpoint, check_endpoint, is_public
from integrations.push.contract import AGAIN, CREDENTIALS, DEAD, FOREIGN, INVALID, Answer, Channel, Message, Verdict
from integrations.push.fcm import QUOTA_WAIT, Fcm, FcmTokens, fields
from integrations.push.fcm import verdict as fcm_verdict
from integrations.push.message import plain, sanitised, shortened, size
from integrations.push.sender import Sender
from integrations.push.vapid import Vapid
from integrations.push.webpush import WebPush, payload
from integrations.simulator.push_schema import fault
from integrations.simulator.seed import build_world
from integrations.simulator.server import SimulatorServer
from tests.conftest import FrozenClock

TAG = "0190a8a0-0000-7000-8000-000000000001"
MESSAGE = Message(TAG, "Fire drill", "At ten, in the yard. " * 300, timedelta(hours=2), url="https://crm.example/b/1",
                  image_url="https://crm.example/b/1.png", is_urgent=True)  # fmt: skip
VAPID_KEY = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"


@pytest.fixture
def simulator(clock: FrozenClock) -> Iterator[SimulatorServer]:
    with SimulatorServer(build_world(clock)) as server:
        yield server


@pytest.fixture
def sender(simulator: SimulatorServer) -> Iterator[Sender]:
    made = Sender([simulator.url])
    yield made
    made.close()


@pytest.fixture
def http() -> Iterator[Http]:
    made = Http()
    yield made
    made.close()


@pytest.fixture
def fcm(simulator: SimulatorServer, http: Http, clock: FrozenClock) -> Fcm:
    key = simulator.world.push.credentials(simulator.url)
    return Fcm(FcmTokens(http, key, clock), url=simulator.url, project=key["project_id"])


@pytest.fixture
def webpush(simulator: SimulatorServer) -> WebPush:
    return WebPush(Vapid(VAPID_KEY, "mailto:ops@crm.example"), [simulator.url])


def sent(sender: Sender, channel: Channel, kind: str, addresses: list[dict[str, str]]) -> list[Verdict]:
    writer = channel.begin(MESSAGE, kind)
    return [channel.verdict(answer) for answer in sender.send([writer.post(one) for one in addresses])]


def address(simulator: SimulatorServer, name: str) -> dict[str, str]:
    given = simulator.world.push.subscribe(name, simulator.url)
    return {"endpoint": given["endpoint"], **given["keys"]}


def test_fcm_takes_what_its_own_description_allows(simulator: SimulatorServer, sender: Sender, fcm: Fcm) -> None:
    assert fault({"message": {"fid": "f", **fields(MESSAGE)}}) is None
    assert fault({"message": {"fid": "f", "tokens": []}}) is not None, "the check can fail"

    told = sent(sender, fcm, "fid", [{"token": f"fid-{number}"} for number in range(300)])
    assert {verdict.kind for verdict in told} == {"accepted"}
    assert sent(sender, fcm, "token", [{"token": 'old "quoted"'}])[0].kind == "accepted"
    push = simulator.world.push
    assert len(push.taken) == 301 and set(push.taken.values()) == {1}
    shown = push.shown["fid-7"]
    assert shown["android"]["notification"]["tag"] == shown["apns"]["headers"]["apns-collapse-id"] == TAG
    assert shown["notification"]["body"].endswith("…") and size(shown["notification"]["body"]) < 4_000
    assert simulator.calls.requests["fcm_token"] == 1, "one access token for all"


def test_connections_that_are_recycled_lose_nothing(simulator: SimulatorServer, sender: Sender, fcm: Fcm) -> None:
    simulator.world.push.recycle = 7
    told = sent(sender, fcm, "fid", [{"token": f"fid-{number}"} for number in range(2_000)])
    again = [number for number, verdict in enumerate(told) if verdict.kind != "accepted"]
    assert not again
    assert len(simulator.world.push.taken) == 2_000


def test_a_browser_reads_what_was_encrypted_for_it(
    simulator: SimulatorServer, sender: Sender, webpush: WebPush
) -> None:
    one, two = address(simulator, "b-1"), address(simulator, "b-2")
    crossed = {**one, "p256dh": two["p256dh"]}
    told = sent(sender, webpush, "webpush", [one, two, crossed, address(simulator, "dead-1")])
    assert [verdict.kind for verdict in told] == ["accepted", "accepted", INVALID, DEAD]
    assert simulator.world.push.shown["b-1"] == orjson.loads(payload(MESSAGE))
    assert len(payload(MESSAGE)) <= 2_744


def test_a_vapid_token_is_for_one_origin_and_renewed_before_its_end(clock: FrozenClock) -> None:
    vapid = Vapid(VAPID_KEY, "mailto:ops@crm.example", lambda: clock().timestamp())
    one = vapid.authorization("https://a.example:8443")
    assert vapid.authorization("https://b.example") != one == vapid.authorization("https://a.example:8443")
    clock.tick(11.5 * 3600)
    assert vapid.authorization("https://a.example:8443") != one


@pytest.mark.parametrize(
    "press, kind, code",
    [
        ({"does": "error", "reason": "UNREGISTERED"}, DEAD, "unregistered"),
        ({"does": "error", "reason": "SENDER_ID_MISMATCH"}, FOREIGN, "sender_id_mismatch"),
        ({"does": "error", "reason": "INVALID_ARGUMENT"}, INVALID, "invalid_argument"),
        ({"does": "error", "reason": "THIRD_PARTY_AUTH_ERROR"}, CREDENTIALS, "third_party_auth_error"),
        ({"does": "error", "reason": "INTERNAL"}, AGAIN, "internal"),
        ({"does": "html_502"}, AGAIN, "http_502"),
        ({"does": "cut"}, AGAIN, "cut"),
    ],
)
def test_each_refusal_of_fcm_has_its_meaning(
    simulator: SimulatorServer, sender: Sender, fcm: Fcm, press: dict[str, Any], kind: str, code: str
) -> None:
    simulator.panel.press(**press, kind="fcm")
    assert sent(sender, fcm, "fid", [{"token": "f"}])[0][:2] == (kind, code)


def test_a_throttle_says_how_long(simulator: SimulatorServer, sender: Sender, fcm: Fcm, webpush: WebPush) -> None:
    simulator.panel.press("throttle", kind="fcm", seconds=17, times=1)
    simulator.panel.press("throttle", kind="webpush", seconds=120, times=1)
    assert sent(sender, fcm, "fid", [{"token": "f"}]) == [Verdict(AGAIN, "quota_exceeded", timedelta(seconds=17))]
    told = sent(sender, webpush, "webpush", [address(simulator, "b")])
    assert told == [Verdict(AGAIN, "http_429", timedelta(seconds=120))]
    assert fcm_verdict(Answer(429)).wait == QUOTA_WAIT


def test_an_invalid_argument_is_a_dead_token_only_where_the_tokens_field_is_named() -> None:
    def told(field: str) -> str:
        details = [{"@type": "x/google.rpc.BadRequest", "fieldViolations": [{"field": field}]},
                   {"@type": "x/google.firebase.fcm.v1.FcmError", "errorCode": "INVALID_ARGUMENT"}]  # fmt: skip
        return fcm_verdict(Answer(400, orjson.dumps({"error": {"message": "no", "details": details}}))).kind

    assert [told("message.fid"), told("message.token"), told("message.android.ttl")] == [DEAD, DEAD, INVALID]
    for body in (b"", b"<html>", b"[]", b'{"error": 1}', b'{"error": {"details": [1, {"fieldViolations": 1}]}}'):
        assert fcm_verdict(Answer(400, body)).kind == INVALID


def test_a_refused_access_token_is_made_anew(simulator: SimulatorServer, sender: Sender, fcm: Fcm) -> None:
    assert sent(sender, fcm, "fid", [{"token": "f"}])[0].kind == "accepted"
    simulator.world.push.access.clear()
    assert [sent(sender, fcm, "fid", [{"token": "f"}])[0].kind for _ in range(2)] == [CREDENTIALS, "accepted"]


def test_a_key_that_google_does_not_take_is_our_own_mistake(
    simulator: SimulatorServer, http: Http, clock: FrozenClock
) -> None:
    key = simulator.world.push.credentials(simulator.url)
    del simulator.world.push.service_key
    for given in (key, {**key, "private_key": "no key"}):
        with pytest.raises(OurBug) as caught:
            FcmTokens(http, given, clock).get()
        assert caught.value.__context__ is None and "no key" not in str(caught.value)


def test_a_name_that_turns_inwards_after_its_registration_is_not_connected_to(
    sender: Sender, webpush: WebPush, simulator: SimulatorServer
) -> None:
    keys = {name: value for name, value in address(simulator, "b").items() if name != "endpoint"}
    told = sent(sender, webpush, "webpush", [{"endpoint": "https://localhost.localdomain/p", **keys},
                                             {"endpoint": "https://127.0.0.1/p", **keys}])  # fmt: skip
    assert {verdict.kind for verdict in told} == {AGAIN}
    assert told[0].code in ("refused", "connect")
    with pytest.raises(BadEndpoint):
        check_endpoint("https://push.example.com/p", resolve=lambda _: ["93.184.216.34", "10.0.0.7"])
    assert (
        check_endpoint("https://push.example.com/p", resolve=lambda _: ["93.184.216.34"]) == "https://push.example.com"
    )
    assert not any(
        map(is_public, ["::ffff:127.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1", "fe80::1%eth0", "224.0.0.1"])
    )


def test_an_endpoint_that_only_begins_like_a_known_service_is_looked_at() -> None:
    vapid = Vapid(VAPID_KEY, "mailto:ops@crm.example")
    writer = WebPush(vapid, ["http://a.example"]).begin(MESSAGE, "webpush")
    keys = {"p256dh": vapid.public_key, "auth": "A" * 22}
    told = [
        writer.post({"endpoint": f"http://a.example{rest}", **keys}) for rest in ("/p", "", "x", "@b.example/p", "/ü")
    ]
    assert [post.url.startswith("http://a.example") for post in told] == [True, True, False, False, False]
    assert told[0].body != told[1].body, "a fresh key each time"
    with pytest.raises(ValueError):  # noqa: PT011 - before anything is sent, so that its neighbours are
        writer.post({"endpoint": "http://a.example/p", **keys, "p256dh": "A" * 87})


def test_words_are_cut_at_a_word_and_markup_that_runs_is_gone() -> None:
    assert sanitised('<p onclick="x">Hi <script>alert(1)</script><a href="javascript:x">you</a></p>').startswith(
        "<p>Hi <a"
    )
    assert plain("<p>One &amp; two</p><p>three<br>four</p>") == "One & two\nthree\nfour"
    assert shortened("one two three", 100) == "one two three"
    assert shortened("one two three four five", 17) == "one two three…"
    assert size(shortened("ü\n" * 4_000, 1_000)) <= 1_000
