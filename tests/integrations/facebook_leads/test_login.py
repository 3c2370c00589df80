"""From the dialog to Pages: what was given is read, and what was left out has a name."""

import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from integrations.contract import Account
from integrations.errors import GrantGone, NeedsUser, OurBug, Transient
from integrations.facebook_leads import FACEBOOK_LEADS
from integrations.facebook_leads.graph import Graph
from integrations.facebook_leads.login import FacebookPages
from integrations.http import Http
from integrations.simulator.records import Page
from integrations.simulator.seed import ACME_PAGE, APP_ID, APP_SECRET
from tests.integrations.facebook_leads.conftest import ADA, BACK, NOON, Call, Meta, Simulated, one_each


def add_pages(simulated: Simulated, count: int) -> None:
    """More Pages for Ada, after her first."""
    user = simulated.world.users[ADA]
    for number in range(count):
        simulated.world.add_page(Page(str(520000000000000 + number), f"Branch {number}", "acme"), user)


def problem(account: Account) -> NeedsUser:
    assert account.problem is not None
    assert account.problem.fix and account.problem.fix.endswith(".") and account.problem.sentence.endswith(".")
    return account.problem


def test_the_dialog_is_asked_for_every_scope_again_and_holds_no_secret(simulated: Simulated) -> None:
    begun = simulated.pages.begin(redirect_uri=BACK, state="s1&x")
    address = urlsplit(begun.url)
    assert address.path == "/v26.0/dialog/oauth"
    assert one_each(address.query) == {
        "client_id": APP_ID,
        "redirect_uri": BACK,
        "state": "s1&x",
        "scope": ",".join(FACEBOOK_LEADS.scopes),
        "response_type": "code",
        "auth_type": "rerequest",
    }
    assert begun.verifier is None and APP_SECRET not in begun.url and "s1" not in repr(begun)


def test_a_page_given_is_an_account_that_can_be_used(simulated: Simulated) -> None:
    [account] = simulated.given()
    assert (account.external_id, account.name, account.problem) == (ACME_PAGE, "Acme Kitchens", None)
    assert set(FACEBOOK_LEADS.scopes) == set(account.scopes)
    assert (account.holders, account.expires_at) == ((ADA,), None)
    page, user = (simulated.world.tokens[account.tokens[name]] for name in ("page_access_token", "user_access_token"))
    assert (page.kind, page.page_id, user.kind) == ("page", ACME_PAGE, "user")
    assert user.expires_at is not None and (user.expires_at - NOON).days == 60
    for secret in (*account.tokens.values(), ADA, "Acme Kitchens"):
        assert secret not in repr(account)


def test_every_page_comes_also_behind_an_empty_part_of_the_list(simulated: Simulated) -> None:
    add_pages(simulated, 230)
    simulated.world.users[ADA].empty_page = 1
    accounts = simulated.given()
    assert len(accounts) == 231 == len({account.tokens["page_access_token"] for account in accounts})
    assert all(account.problem is None for account in accounts)
    assert simulated.server.calls.requests["accounts"] == 4
    assert simulated.server.calls.requests["batch"] == 5  # 232 tokens, 50 in a call
    assert simulated.server.calls.of("debug_token") == 232


def test_only_ticked_pages_come(simulated: Simulated) -> None:
    add_pages(simulated, 2)
    assert [one.external_id for one in simulated.given(pages=["520000000000001"])] == ["520000000000001"]


def test_no_page_is_said_in_a_sentence(simulated: Simulated) -> None:
    with pytest.raises(NeedsUser) as caught:
        simulated.given(pages=[])
    assert caught.value.code == "no_pages" and caught.value.fix
    assert type(caught.value) is NeedsUser


def test_a_list_of_pages_that_may_not_be_read_is_not_mistaken_for_no_pages(simulated: Simulated) -> None:
    with pytest.raises(NeedsUser, match="pages_show_list") as caught:
        simulated.given(untick=["pages_show_list"])
    assert caught.value.code == "scope_missing"


@pytest.mark.parametrize("scope", ["leads_retrieval", "pages_manage_ads", "pages_manage_metadata"])
def test_a_permission_left_out_is_named_in_words(simulated: Simulated, scope: str) -> None:
    [account] = simulated.given(untick=[scope])
    assert problem(account).code == "scope_missing"
    [words] = [one.words for one in FACEBOOK_LEADS.permissions if one.scope == scope]
    assert scope in problem(account).sentence and words[1:] in problem(account).sentence
    assert scope not in account.scopes


def test_several_permissions_left_out_are_all_named(simulated: Simulated) -> None:
    [account] = simulated.given(untick=["leads_retrieval", "pages_manage_metadata", "ads_management"])
    sentence = problem(account).sentence
    assert "leads_retrieval" in sentence and "pages_manage_metadata" in sentence and "ads_management" not in sentence


def test_a_permission_that_only_adds_comfort_is_no_problem(simulated: Simulated) -> None:
    [account] = simulated.given(untick=["ads_management", "business_management"])
    assert account.problem is None
    assert "ads_management" not in account.scopes


def test_what_was_left_out_once_is_asked_for_again_and_mended(simulated: Simulated) -> None:
    [broken] = simulated.given(untick=["leads_retrieval"])
    [mended] = simulated.given()
    assert broken.problem and not mended.problem


def test_a_person_without_the_advertising_task_cannot_connect_the_page(simulated: Simulated) -> None:
    simulated.world.pages[ACME_PAGE].tasks = ["ANALYZE", "MODERATE"]
    assert problem(simulated.given()[0]).code == "task_missing"


def test_a_page_token_that_is_dead_on_arrival_is_a_problem_of_that_page_only(
    provider: FacebookPages, meta: Meta
) -> None:
    pages = [listed("1"), listed("2"), {"id": "3", "name": "No token", "tasks": ["ADVERTISE"]}]
    infos = [
        about(user_id="77"),
        about(is_valid=False, error={"code": 190, "subcode": 458}),
        about(expires_at=int(NOON.timestamp())),
    ]
    with_answers(meta, pages, infos)
    gone, expired, without = provider.complete(code="c", verifier=None, redirect_uri=BACK)
    assert isinstance(gone.problem, GrantGone) and problem(gone).code == "190/458"
    assert problem(expired).code == "190/463"
    assert problem(without).code == "token_missing"
    assert set(without.tokens) == {"user_access_token"} and without.holders == ("77",)


def test_a_code_serves_once(simulated: Simulated) -> None:
    code = simulated.code()
    simulated.pages.complete(code=code, verifier=None, redirect_uri=BACK)
    with pytest.raises(NeedsUser, match="used already") as caught:
        simulated.pages.complete(code=code, verifier=None, redirect_uri=BACK)
    assert caught.value.fix and "connect link" in caught.value.fix


def test_a_code_that_is_none_or_has_another_return_address_gives_nothing(simulated: Simulated) -> None:
    with pytest.raises(NeedsUser):
        simulated.pages.complete(code="invented", verifier=None, redirect_uri=BACK)
    with pytest.raises(OurBug, match="return address"):
        simulated.pages.complete(code=simulated.code(), verifier=None, redirect_uri=BACK + "/x")


def test_a_wrong_app_secret_is_the_operators_to_mend(simulated: Simulated, http: Http) -> None:
    url = simulated.server.url
    graph = Graph(http, base_url=url, app_id=APP_ID, app_secret="wrong")
    about: dict[str, Any] = {"base_url": url, "dialog_url": url, "clock": lambda: NOON}
    for app_id, code in ((APP_ID, "1"), ("5", "101")):
        pages = FacebookPages(http, graph, app_id=app_id, app_secret="wrong", **about)
        with pytest.raises(OurBug) as caught:
            pages.complete(code=simulated.code(), verifier=None, redirect_uri=BACK)
        assert caught.value.code == code and caught.value.fix and caught.value.__context__ is None


@pytest.mark.parametrize("answer", [{}, {"access_token": ""}, {"access_token": 7}, [], True])
def test_a_login_answered_without_a_token_is_transient(provider: FacebookPages, meta: Meta, answer: Any) -> None:
    meta.says(200, answer)
    with pytest.raises(Transient):
        provider.complete(code="c", verifier=None, redirect_uri=BACK)


def test_what_was_lost_while_looking_at_tokens_is_asked_for_once_more(simulated: Simulated) -> None:
    add_pages(simulated, 3)
    simulated.server.panel.press("null_item", kind="debug_token", times=2)
    assert [one.problem for one in simulated.given()] == [None] * 4
    assert simulated.server.calls.of("debug_token") == 5 + 2


def test_what_is_lost_twice_ends_the_login_and_assumes_nothing(simulated: Simulated) -> None:
    simulated.server.panel.press("null_item", kind="debug_token")
    with pytest.raises(Transient):
        simulated.given()


def test_a_page_is_not_refreshed(simulated: Simulated) -> None:
    with pytest.raises(OurBug):
        simulated.pages.refresh({"page_access_token": "t"})


def listed(page_id: str) -> dict[str, Any]:
    return {"id": page_id, "name": f"Page {page_id}", "access_token": f"t{page_id}", "tasks": ["ADVERTISE"]}


def about(**more: Any) -> dict[str, Any]:
    return {"is_valid": True, "scopes": list(FACEBOOK_LEADS.scopes), "expires_at": 0} | more


def with_answers(meta: Meta, pages: list[dict[str, Any]], infos: list[dict[str, Any]]) -> None:
    def answer(call: Call) -> tuple[int, bytes, dict[str, str]]:
        body: Any = {"access_token": "user-token"}
        if call.path.endswith("/me/accounts"):
            body = {"data": pages}
        elif "batch" in call.form:
            body = [{"code": 200, "body": json.dumps({"data": info})} for info in infos]
        return 200, json.dumps(body).encode(), {}

    meta.answer = answer
