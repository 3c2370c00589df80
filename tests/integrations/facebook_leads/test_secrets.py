"""No error, log or address of ours ever holds a token, a secret, a code or a person."""

import base64
import hmac
import logging
from collections.abc import Callable
from typing import Any

import pytest
from facebook_business.adobjects.lead import Lead  # type: ignore[import-untyped]

from integrations.errors import IntegrationError, Refused
from integrations.facebook_leads.forms import Forms
from integrations.facebook_leads.graph import Graph
from integrations.facebook_leads.login import FacebookPages
from integrations.facebook_leads.reading import LeadPages
from integrations.facebook_leads.signed_request import read_signed_request
from integrations.facebook_leads.trial import Trials
from integrations.simulator.seed import APP_SECRET
from tests.integrations.facebook_leads.conftest import BACK, HTML, PROOF, SECRET, TOKEN, Meta, Simulated, told_by

CODE = "canary-code"


def test_no_error_or_log_ever_holds_a_token_or_a_person(
    graph: Graph, meta: Meta, api: Any, caplog: pytest.LogCaptureFixture
) -> None:
    hostile = {"error": {"code": 190, "message": f"Canary Person {TOKEN} {PROOF}", "fbtrace_id": TOKEN}}
    calls: list[Callable[[], object]] = [
        lambda: graph.fetch_leads(TOKEN, ["555"]),
        lambda: graph.page_access(TOKEN, "101"),
        lambda: graph.debug_token(TOKEN),
        lambda: Lead("555", api=api).api_get(fields=["id"]),
        lambda: Lead("555", api=api).api_delete(),
        lambda: Forms(graph).listed(TOKEN, "101"),
        lambda: Forms(graph).one(TOKEN, "202"),
        lambda: LeadPages(graph).read(TOKEN, "202", after="cursor"),
        lambda: LeadPages(graph).lead_ids(TOKEN, "202"),
        lambda: Trials(graph).create_test_lead(TOKEN, "202"),
        lambda: Trials(graph).delete_lead(TOKEN, "555"),
    ]
    answers: list[tuple[int, Any]] = [
        (400, hostile),
        (200, hostile),
        (502, HTML + TOKEN.encode()),
        (200, [hostile] * 2),
    ]
    told = []
    with caplog.at_level(logging.DEBUG):
        for status, body in answers:
            meta.says(status, body)
            for call in calls:
                with pytest.raises(IntegrationError) as caught:
                    call()
                told.append(told_by(caught.value))
        meta.httpd.shutdown()
        meta.httpd.server_close()
    everything = "".join(told) + caplog.text + repr(graph)
    for secret in (TOKEN, SECRET, PROOF, "Canary Person", "EAAcanary"):
        assert secret not in everything


def test_no_token_is_ever_in_an_address(graph: Graph, meta: Meta) -> None:
    meta.says(200, [None])
    for call in (graph.debug_token, lambda token: graph.page_access(token, "101")):
        with pytest.raises(IntegrationError):
            call(TOKEN)
    for seen in meta.calls:
        assert "access_token" not in seen.query and TOKEN not in repr((seen.path, seen.query))


def test_a_whole_grant_puts_no_secret_into_an_address_or_a_log(
    simulated: Simulated, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        code = simulated.code()
        [account] = simulated.pages.complete(code=code, verifier=None, redirect_uri=BACK)
        simulated.world.pages[account.external_id].subscribed.clear()
        simulated.pages.check(account.tokens, account.external_id)
        simulated.pages.leave(account.tokens, account.external_id)
        simulated.pages.revoke(account.tokens)
    assert len(simulated.asked) == 8
    everything = "\n".join(simulated.asked) + caplog.text + repr(account)
    for secret in (code, APP_SECRET, "EAASIM", *account.tokens.values()):
        assert secret not in everything


@pytest.mark.parametrize(
    ("status", "code"), [(400, 1), (400, 100), (400, 190), (403, 200), (500, 2), (400, 4), (200, None), (502, None)]
)
def test_no_error_of_a_grant_holds_a_secret(
    provider: FacebookPages, meta: Meta, caplog: pytest.LogCaptureFixture, status: int, code: int | None
) -> None:
    said = f"Canary Person {TOKEN} {SECRET} {CODE}"
    meta.says(status, {"error": {"code": code, "message": said, "error_user_msg": said}} if code else said.encode())
    held = {"page_access_token": TOKEN, "user_access_token": TOKEN}
    calls: list[Callable[[], object]] = [
        lambda: provider.complete(code=CODE, verifier=None, redirect_uri=BACK),
        lambda: provider.check(held, "101"),
        lambda: provider.leave(held, "101"),
        lambda: provider.revoke(held),
    ]
    told = []
    with caplog.at_level(logging.DEBUG):
        for call in calls:
            try:
                call()
            except IntegrationError as error:
                told.append(told_by(error))
    assert len(told) >= 2
    for secret in (TOKEN, SECRET, PROOF, "Canary Person", CODE, "EAAcanary"):
        assert secret not in "".join(told) + caplog.text + repr(provider)


@pytest.mark.parametrize("payload", [b"Canary Person {", b'{"user_id":"Canary Person","algorithm":"HMAC-SHA256"}'])
def test_a_refused_callback_repeats_nothing_of_it(payload: bytes) -> None:
    encoded = base64.urlsafe_b64encode(payload).decode().rstrip("=")
    signature = base64.urlsafe_b64encode(hmac.digest(SECRET.encode(), encoded.encode(), "sha256")).decode()
    for value in (f"{signature}.{encoded}", f"x.{encoded}", "Canary Person"):
        with pytest.raises(Refused) as caught:
            read_signed_request(value, SECRET)
        for secret in ("Canary", encoded, signature, SECRET):
            assert secret not in told_by(caught.value)
