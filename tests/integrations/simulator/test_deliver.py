import hashlib
import hmac
import json
from typing import Any

import pytest

from integrations.simulator.deliver import Deliverer, Shape, bodies, dashboard_test, read_shape, sign
from integrations.simulator.seed import ACME_FORM, ACME_PAGE, APP_ID, APP_SECRET, GLOBEX_FORM, VERIFY_TOKEN, build_world
from integrations.simulator.server import SimulatorServer
from tests.integrations.simulator.conftest import APP_TOKEN, NOON, Asker
from tests.integrations.simulator.receiver import Receiver


def test_the_signature_is_over_exactly_the_bytes_sent(receiver: Receiver) -> None:
    world = build_world(lambda: NOON)
    sender = Deliverer(world, callback_url=receiver.url)
    for shape in (Shape(), Shape(escaped=True), Shape(spaced=True)):
        assert sender.deliver(world.add_leads(ACME_FORM), shape)[0].delivered
    for body, headers in receiver.got:
        wanted = hmac.new(APP_SECRET.encode(), body, hashlib.sha256).hexdigest()
        assert headers["X-Hub-Signature-256"] == f"sha256={wanted}" == sign(body, APP_SECRET)
    assert len({body[:12] for body, _ in receiver.got}) == 3
    assert [json.loads(body)["object"] for body, _ in receiver.got] == ["page"] * 3


def test_a_refused_delivery_is_tried_again_until_200(receiver: Receiver) -> None:
    world = build_world(lambda: NOON)
    waits: list[float] = []
    sender = Deliverer(world, callback_url=receiver.url, schedule=(0, 1, 5), sleep=waits.append)
    receiver.answers = [503, 204, 200]
    (receipt,) = sender.deliver(world.add_leads(ACME_FORM))
    assert (receipt.statuses, receipt.delivered, waits) == ((503, 204, 200), True, [0, 1])
    assert len({body for body, _ in receiver.got}) == 1


def test_a_delivery_is_dropped_when_the_schedule_ends(receiver: Receiver) -> None:
    world = build_world(lambda: NOON)
    receiver.server.shutdown()
    receiver.server.server_close()
    sender = Deliverer(world, callback_url=receiver.url, schedule=(0, 0), sleep=lambda _: None)
    (receipt,) = sender.deliver(world.add_leads(ACME_FORM))
    assert (receipt.statuses, receipt.delivered) == ((0, 0, 0), False)


def test_a_thousand_changes_of_two_pages_fit_one_body_and_one_more_starts_another() -> None:
    world = build_world(lambda: NOON)
    leads = [lead for _ in range(500) for form in (ACME_FORM, GLOBEX_FORM) for lead in world.add_leads(form)]
    (body,) = bodies(leads, NOON)
    assert [len(entry["changes"]) for entry in json.loads(body)["entry"]] == [500, 500]
    assert len(bodies(leads + world.add_leads(ACME_FORM), NOON)) == 2


def test_ids_come_as_numbers_or_strings_and_ad_ids_are_absent_or_zero() -> None:
    world = build_world(lambda: NOON)
    leads = world.add_leads(ACME_FORM, 2, organic=True)

    def values(shape: Shape) -> list[dict[str, Any]]:
        return [change["value"] for change in json.loads(bodies(leads, NOON, shape)[0])["entry"][0]["changes"]]

    assert [type(value["leadgen_id"]) for value in values(Shape(ids="mixed"))] == [str, int]
    assert [type(value["page_id"]) for value in values(Shape(ids="int"))] == [int, int]
    assert "ad_id" not in values(Shape())[0]
    assert values(Shape(ids="int", zero_ads=True))[0]["ad_id"] == 0
    assert values(Shape())[0]["created_time"] == int(NOON.timestamp())


def test_duplicates_strangers_and_disorder_are_there_when_asked(receiver: Receiver) -> None:
    world = build_world(lambda: NOON)
    leads = world.add_leads(ACME_FORM, 10)
    sender = Deliverer(world, callback_url=receiver.url, workers=3)
    sender.deliver(leads, Shape(duplicates=1, shuffled=True, unknown_page=True, changes=4))
    ids = receiver.ids()
    assert len(receiver.got) == 6
    assert sorted(ids) == sorted([lead.id for lead in leads] * 2 + ["7"])
    assert ids[:10] != [lead.id for lead in leads]


def test_without_values_there_are_no_changes() -> None:
    world = build_world(lambda: NOON)
    (entry,) = json.loads(bodies(world.add_leads(ACME_FORM), NOON, Shape(values=False))[0])["entry"]
    assert entry == {"id": ACME_PAGE, "time": int(NOON.timestamp()), "changed_fields": ["leadgen"]}


def test_late_news_waits_first(receiver: Receiver) -> None:
    world = build_world(lambda: NOON)
    waits: list[float] = []
    Deliverer(world, callback_url=receiver.url, sleep=waits.append).deliver(world.add_leads(ACME_FORM), Shape(late=90))
    assert waits == [90]


def test_the_dashboards_test_button_sends_a_lead_that_is_not_there() -> None:
    (entry,) = json.loads(dashboard_test(NOON))["entry"]
    assert entry["id"] == "0"
    assert entry["changes"][0]["value"]["leadgen_id"] == 444444444444


def test_an_unknown_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="colour"):
        read_shape({"colour": "blue"})


def subscribe(ask: Asker, url: str, **more: Any) -> Any:
    params = {"object": "page", "callback_url": url, "fields": "leadgen", "verify_token": VERIFY_TOKEN, **more}
    return ask("POST", f"/{APP_ID}/subscriptions", token=APP_TOKEN, **params)


def test_a_callback_is_taken_only_after_it_echoed_the_challenge(ask: Asker, receiver: Receiver) -> None:
    assert subscribe(ask, receiver.url, verify_token="wrong").json()["error"]["code"] == 2200
    receiver.challenge = "something else"
    assert subscribe(ask, receiver.url).json()["error"]["code"] == 2200
    assert subscribe(ask, "http://127.0.0.1:9/").json()["error"]["code"] == 2200
    receiver.challenge = None
    assert subscribe(ask, receiver.url, include_values="true").json() == {"success": True}
    (listed,) = ask("GET", f"/{APP_ID}/subscriptions", token=APP_TOKEN).json()["data"]
    assert listed["callback_url"] == receiver.url


def test_a_second_callback_replaces_the_first(ask: Asker, receiver: Receiver) -> None:
    subscribe(ask, receiver.url)
    subscribe(ask, receiver.url + "/other")
    (listed,) = ask("GET", f"/{APP_ID}/subscriptions", token=APP_TOKEN).json()["data"]
    assert listed["callback_url"].endswith("/other")


def test_meta_announces_only_subscribed_pages_and_values_only_if_wanted(
    simulator: SimulatorServer, ask: Asker, receiver: Receiver
) -> None:
    world = simulator.world
    leads = world.add_leads(ACME_FORM, 2) + world.add_leads(GLOBEX_FORM)
    sender = Deliverer(world)
    assert sender.announce(leads) == []
    subscribe(ask, receiver.url, include_values="true")
    world.pages[ACME_PAGE].subscribed.clear()
    sender.announce(leads)
    assert receiver.ids() == [leads[2].id]
    subscribe(ask, receiver.url)
    sender.announce(leads)
    assert b"changed_fields" in receiver.got[-1][0]
