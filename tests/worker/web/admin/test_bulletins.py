"""Bulletins as pages: seen before they are sent, tried on oneself, watched to their end, and nobody else's."""

import re
from collections.abc import Callable
from typing import Any

import httpx
import orjson
import pytest

from tests.worker.runner import Runner
from tests.worker.web.api.test_bulletins import KEY, device
from tests.worker.web.conftest import Api
from worker import jobs
from worker.services import Services
from worker.tasks import HANDLERS

LIST = "/admin/bulletins"
FORM = {"title": "Fire <drill>", "body": "At ten.", "kind": "tags", "whom": "dublin, cork", "when": "now"}


@pytest.fixture
def settings_given(settings_given: dict[str, str]) -> dict[str, str]:
    return {**settings_given, "TROTH_FCM_CREDENTIALS": orjson.dumps(KEY).decode()}


@pytest.fixture
def api(as_tenant: Callable[..., Api], acme: Any) -> Api:
    made = as_tenant(acme)
    device(made, "one", tags=["dublin"])
    device(made, "two", tags=["cork"])
    return made


def test_it_is_seen_before_it_is_sent_and_watched_and_stopped(
    api: Api, signed_in: httpx.Client, services: Services
) -> None:
    seen = signed_in.post(f"{LIST}/preview", data=FORM)
    assert seen.status_code == 200 and "Send this to 2 devices?" in seen.text and "Fire &lt;drill&gt;" in seen.text
    assert "Nothing has been announced" in signed_in.get(LIST).text

    sent = signed_in.post(f"{LIST}/preview", data={**FORM, "how": "send"})
    assert sent.status_code == 303
    Runner(services, {jobs.BULLETINS_START: HANDLERS[jobs.BULLETINS_START]}).run_one("bulk")
    shown = signed_in.get(sent.headers["location"])
    assert "0 of 2 devices" in shown.text and "Is being sent" in shown.text and shown.headers["refresh"]
    assert "Fire &lt;drill&gt;" in signed_in.get(LIST).text

    assert signed_in.post(sent.headers["location"] + "/cancel").status_code == 303
    after = signed_in.get(sent.headers["location"])
    assert "Cancelled" in after.text and "refresh" not in after.headers and "Stop it" not in after.text


def test_it_can_be_tried_on_oneself(api: Api, signed_in: httpx.Client) -> None:
    tried = signed_in.post(f"{LIST}/preview", data={**FORM, "how": "try", "me": "u-one"})
    assert "A test" in signed_in.get(tried.headers["location"]).text
    assert "Nothing has been announced" in signed_in.get(LIST).text


@pytest.mark.parametrize(
    "change, words",
    [({"title": ""}, "Mend the title"), ({"whom": "dubln"}, "No device has the tag"), ({"whom": ""}, "Mend who gets it"),
     ({"when": "instant", "at": ""}, "Choose a day"), ({"when": "instant", "at": "2020-01-01T09:00"}, "has passed"),
     ({"url": "javascript:1"}, "Mend the link"), ({"kind": "planets"}, "Mend who gets it")],
)  # fmt: skip
def test_what_cannot_be_sent_is_refused_in_words(
    api: Api, signed_in: httpx.Client, change: dict[str, str], words: str
) -> None:
    answer = signed_in.post(f"{LIST}/preview", data={**FORM, **change, "how": "send"})
    assert answer.status_code == 422 and words in answer.text
    assert "Nothing has been announced" in signed_in.get(LIST).text


def test_globex_sees_nothing_of_it(
    api: Api, signed_in: httpx.Client, enter: Callable[..., httpx.Client], acme: Any, globex: Any
) -> None:
    mine = signed_in.post(f"{LIST}/preview", data={**FORM, "how": "send"}).headers["location"]
    theirs = enter(globex.id)
    assert "Fire" not in theirs.get(LIST).text
    assert theirs.get(mine).status_code == theirs.post(f"{mine}/cancel").status_code == 404
    for given in ({"tenant": acme.id}, {}):
        assert theirs.post(f"{mine}/cancel", data=given).status_code == 404
    assert "Stop it" in signed_in.get(mine).text


def test_the_pace_is_set_and_dropped_for_the_own_tenant_alone(
    api: Api, signed_in: httpx.Client, enter: Callable[..., httpx.Client], acme: Any, globex: Any
) -> None:
    assert signed_in.post(f"{LIST}/pace", data={"per_minute": "0"}).status_code == 422
    assert signed_in.post(f"{LIST}/pace", data={"per_minute": "250"}).status_code == 303
    assert 'value="250"' in signed_in.get(LIST).text
    theirs = enter(globex.id)
    assert 'value="250"' not in theirs.get(LIST).text
    theirs.post(f"{LIST}/pace", data={"per_minute": "", "tenant": acme.id})
    assert 'value="250"' in signed_in.get(LIST).text
    signed_in.post(f"{LIST}/pace", data={"per_minute": ""})
    assert 'value="250"' not in signed_in.get(LIST).text


def test_another_sites_form_announces_nothing(api: Api, signed_in: httpx.Client) -> None:
    headers = {"sec-fetch-site": "cross-site"}
    assert signed_in.post(f"{LIST}/preview", data={**FORM, "how": "send"}, headers=headers).status_code == 403
    assert not re.search("Fire", signed_in.get(LIST).text)
