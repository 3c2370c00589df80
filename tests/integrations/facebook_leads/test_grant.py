"""A grant that is kept, looked at, left and ended, against the simulated Graph."""

import json
from collections.abc import Callable

import pytest

from integrations.errors import GrantGone, IntegrationError, Missing, NeedsUser, OurBug, Throttled, Transient
from integrations.facebook_leads.login import FacebookPages
from integrations.facebook_leads.page_facts import PageAccess
from integrations.facebook_leads.problems import no_lead_access
from integrations.simulator.seed import ACME_PAGE, ACME_TOKEN, APP_ID, GLOBEX_PAGE, GLOBEX_TOKEN
from integrations.simulator.world import SCOPES
from tests.integrations.facebook_leads.conftest import ADA, TOKEN, Call, Meta, Simulated, error_item

ACME = {"page_access_token": ACME_TOKEN}


def broken(simulated: Simulated) -> NeedsUser:
    with pytest.raises(NeedsUser) as caught:
        simulated.pages.check(ACME, ACME_PAGE)
    error = caught.value
    assert error.sentence.endswith(".") and error.fix and error.fix.endswith(".")
    assert error.__cause__ is None
    return error


def subscribed(simulated: Simulated, page: str = ACME_PAGE) -> list[str] | None:
    return simulated.world.pages[page].subscribed.get(APP_ID)


def test_a_grant_that_is_well_is_looked_at_in_one_call(simulated: Simulated) -> None:
    found = simulated.pages.check(ACME, ACME_PAGE)
    assert (set(found.scopes or ()), found.holders, found.expires_at) == (set(SCOPES), (ADA,), None)
    assert dict(simulated.server.calls.requests) == {"batch": 1}


def test_a_lost_subscription_is_mended(simulated: Simulated) -> None:
    simulated.world.pages[ACME_PAGE].subscribed.clear()
    simulated.pages.check(ACME, ACME_PAGE)
    assert subscribed(simulated) == ["leadgen"]
    simulated.pages.check(ACME, ACME_PAGE)
    assert simulated.server.calls.requests["subscribed_apps"] == 1


def test_fields_that_somebody_else_asked_for_are_kept(simulated: Simulated) -> None:
    simulated.world.pages[ACME_PAGE].subscribed[APP_ID] = ["messages", "feed"]
    simulated.pages.check(ACME, ACME_PAGE)
    assert sorted(subscribed(simulated) or ()) == ["feed", "leadgen", "messages"]


def test_a_mending_that_fails_is_raised_as_what_it_is(simulated: Simulated) -> None:
    simulated.world.pages[ACME_PAGE].subscribed.clear()
    for code, decision in ((2, Transient), (32, Throttled)):
        # The first call is the look, in a batch; the second would mend.
        simulated.server.panel.press("error", kind="subscribed_apps", code=code, status=400)
        with pytest.raises(decision):
            simulated.pages.check(ACME, ACME_PAGE)
        simulated.server.panel.release()


def test_a_permission_that_is_needed_to_mend_is_named(simulated: Simulated) -> None:
    simulated.world.pages[ACME_PAGE].subscribed.clear()
    simulated.world.tokens[ACME_TOKEN].scopes -= {"pages_manage_metadata"}
    error = broken(simulated)
    assert error.code == "scope_missing" and "pages_manage_metadata" in error.sentence


def test_what_works_is_not_called_broken_for_a_permission_that_is_not_missed(simulated: Simulated) -> None:
    simulated.world.tokens[ACME_TOKEN].scopes -= {"pages_show_list", "pages_manage_ads", "ads_management"}
    found = simulated.pages.check(ACME, ACME_PAGE)
    assert "pages_manage_ads" not in (found.scopes or ())


def test_without_the_permission_to_read_leads_the_grant_is_broken(simulated: Simulated) -> None:
    simulated.world.tokens[ACME_TOKEN].scopes -= {"leads_retrieval"}
    assert broken(simulated).code == "scope_missing"


@pytest.mark.parametrize("subcode", [None, 459, 460, 463, 464, 467, 492])
def test_a_dead_token_needs_the_person_and_is_told_by_its_code(simulated: Simulated, subcode: int | None) -> None:
    simulated.world.kill(ACME_TOKEN, 190, subcode)
    error = broken(simulated)
    assert type(error) is NeedsUser
    assert error.code in {f"190/{subcode}", f"190/{subcode or 0}"}


def test_a_person_who_removed_the_app_has_ended_the_grant(simulated: Simulated) -> None:
    simulated.world.remove_app(ADA)
    assert type(broken(simulated)) is GrantGone


def test_a_password_that_was_changed_does_not_end_the_grant(simulated: Simulated) -> None:
    simulated.world.change_password(ADA)
    assert type(broken(simulated)) is NeedsUser


def test_an_unknown_token_or_none_needs_the_person(simulated: Simulated) -> None:
    for tokens in ({"page_access_token": "invented"}, {"page_access_token": ""}, {"user_access_token": "u"}, {}):
        with pytest.raises(NeedsUser):
            simulated.pages.check(tokens, ACME_PAGE)


def test_a_token_of_another_page_sees_nothing_of_this_one(simulated: Simulated) -> None:
    with pytest.raises(NeedsUser) as caught:
        simulated.pages.check({"page_access_token": GLOBEX_TOKEN}, ACME_PAGE)
    assert type(caught.value) is NeedsUser
    assert subscribed(simulated, GLOBEX_PAGE) == ["leadgen"]


def test_leads_access_that_was_taken_is_explained_without_metas_words(simulated: Simulated) -> None:
    simulated.world.pages[ACME_PAGE].lead_access = False
    error = broken(simulated)
    assert error.code == "lead_access" and "Leads Access Manager" in error.sentence
    assert "revoked" not in error.sentence + str(error.fix)


def test_an_advertising_task_that_was_taken_is_explained(simulated: Simulated) -> None:
    simulated.world.pages[ACME_PAGE].tasks = ["ANALYZE"]
    error = broken(simulated)
    assert error.code == "lead_access" and "advertising task" in str(error.fix)


@pytest.mark.parametrize("manager", [True, False, None])
@pytest.mark.parametrize("app", [True, False, None])
@pytest.mark.parametrize("user", [True, False, None])
def test_every_way_to_have_no_lead_access_is_a_sentence(
    manager: bool | None, app: bool | None, user: bool | None
) -> None:
    for admin in (True, False, None):
        error = no_lead_access(PageAccess(False, app, user, manager, admin, "Canary reason", "Canary fix"))
        assert error.sentence.endswith(".") and error.fix and error.fix.endswith(".")
        assert "Canary" not in repr(vars(error))
        if manager:
            assert ("this app" in error.sentence) is (app is False or user is not False)
            assert ("the person" in error.sentence) is (user is False)


def test_a_part_that_timed_out_is_asked_for_again_and_mends_nothing(simulated: Simulated) -> None:
    simulated.world.pages[ACME_PAGE].subscribed.clear()
    for kind in ("debug_token", "page", "subscribed_apps"):
        number = simulated.server.panel.press("null_item", kind=kind)
        with pytest.raises(Transient):
            simulated.pages.check(ACME, ACME_PAGE)
        simulated.server.panel.release(number)
    assert subscribed(simulated) is None


def test_a_throttled_look_waits(simulated: Simulated) -> None:
    simulated.server.panel.press("throttle", page=ACME_PAGE, code=80005, minutes=9)
    with pytest.raises(Throttled) as caught:
        simulated.pages.check(ACME, ACME_PAGE)
    assert caught.value.retry_after and caught.value.retry_after.total_seconds() == 540


def test_a_page_that_meta_hides_is_not_spoken_of_as_a_lead(provider: FacebookPages, meta: Meta) -> None:
    valid = {"code": 200, "body": json.dumps({"data": {"is_valid": True, "scopes": ["leads_retrieval"]}})}
    meta.says(200, [valid, error_item(400, 100, 33), error_item(400, 100, 33)])
    with pytest.raises(NeedsUser) as caught:
        provider.check({"page_access_token": TOKEN}, "101")
    assert caught.value.code == "page_hidden" and "Page" in caught.value.sentence


def test_leaving_ends_what_the_page_tells_our_app(simulated: Simulated) -> None:
    simulated.pages.leave(ACME, ACME_PAGE)
    assert subscribed(simulated) is None
    assert subscribed(simulated, GLOBEX_PAGE) == ["leadgen"]
    simulated.pages.leave(ACME, ACME_PAGE)


@pytest.mark.parametrize("tokens", [{"page_access_token": ACME_TOKEN}, {}, {"page_access_token": "invented"}])
def test_leaving_with_a_dead_token_still_ends_it(simulated: Simulated, tokens: dict[str, str]) -> None:
    """Deliveries go on after a token's death for as long as the subscription stands."""
    simulated.world.kill(ACME_TOKEN)
    simulated.pages.leave(tokens, ACME_PAGE)
    assert subscribed(simulated) is None


def test_leaving_a_page_that_is_gone_is_a_success(simulated: Simulated) -> None:
    simulated.pages.leave({"page_access_token": "invented"}, "519999999999999")
    simulated.world.remove_app(ADA)
    simulated.pages.leave(ACME, ACME_PAGE)


@pytest.mark.parametrize("body", [{"success": False}, {"success": True}, True])
def test_leaving_what_meta_says_was_not_there_is_a_success(provider: FacebookPages, meta: Meta, body: object) -> None:
    meta.says(200, body)
    provider.leave({"page_access_token": TOKEN}, "101")
    assert [call.method for call in meta.calls] == ["DELETE"]


def test_an_app_that_may_not_leave_for_a_page_is_taken_for_gone(provider: FacebookPages, meta: Meta) -> None:
    def answer(call: Call) -> tuple[int, bytes, dict[str, str]]:
        return 400, json.dumps({"error": {"code": 190 if TOKEN in call.headers["authorization"] else 100}}).encode(), {}

    meta.answer = answer
    provider.leave({"page_access_token": TOKEN}, "101")
    assert len(meta.calls) == 2


def leave(pages: FacebookPages) -> None:
    pages.leave({"page_access_token": TOKEN}, "101")


def revoke(pages: FacebookPages) -> None:
    pages.revoke({"user_access_token": TOKEN})


@pytest.mark.parametrize("end", [leave, revoke])
@pytest.mark.parametrize(("code", "decision"), [(2, Transient), (4, Throttled), (100, OurBug)])
def test_an_end_that_was_not_reached_is_raised(
    provider: FacebookPages,
    meta: Meta,
    end: Callable[[FacebookPages], None],
    code: int,
    decision: type[IntegrationError],
) -> None:
    meta.says(400, {"error": {"code": code}})
    with pytest.raises(decision):
        end(provider)


def test_an_odd_page_id_is_not_sent(provider: FacebookPages, meta: Meta) -> None:
    for call in (provider.leave, provider.check):
        with pytest.raises(OurBug):
            call({"page_access_token": TOKEN}, "101/../me")
    assert meta.calls == []


def test_revoking_ends_the_grant_of_every_page_of_that_person_and_of_no_other(simulated: Simulated) -> None:
    [account] = simulated.given()
    simulated.pages.revoke(account.tokens)
    assert simulated.world.tokens[account.tokens["page_access_token"]].dead == (190, 458)
    with pytest.raises(GrantGone):
        simulated.pages.check(account.tokens, ACME_PAGE)
    assert simulated.pages.check({"page_access_token": GLOBEX_TOKEN}, GLOBEX_PAGE).scopes


@pytest.mark.parametrize("subcode", [None, 458, 460, 463])
def test_revoking_with_a_dead_token_is_a_success(simulated: Simulated, subcode: int | None) -> None:
    [account] = simulated.given()
    simulated.world.kill(account.tokens["user_access_token"], 190, subcode)
    simulated.pages.revoke(account.tokens)


def test_a_refusal_to_revoke_is_not_taken_for_a_dead_token(provider: FacebookPages, meta: Meta) -> None:
    meta.says(403, {"error": {"code": 200}})
    with pytest.raises(NeedsUser):
        revoke(provider)


def test_revoking_without_a_user_token_is_told_and_not_pretended(simulated: Simulated) -> None:
    with pytest.raises(Missing, match="No user token is held"):
        simulated.pages.revoke(ACME)


def test_the_whole_life_of_a_grant(simulated: Simulated) -> None:
    [account] = simulated.given()
    simulated.world.pages[ACME_PAGE].subscribed.clear()
    simulated.pages.check(account.tokens, ACME_PAGE)
    simulated.world.change_password(ADA)
    with pytest.raises(NeedsUser):
        simulated.pages.check(account.tokens, ACME_PAGE)
    [again] = simulated.given()
    assert again.tokens != account.tokens and again.external_id == account.external_id
    simulated.pages.check(again.tokens, ACME_PAGE)
    simulated.pages.leave(again.tokens, ACME_PAGE)
    simulated.pages.revoke(again.tokens)
    with pytest.raises(GrantGone):
        simulated.pages.check(again.tokens, ACME_PAGE)
