"""Google's front: finds the endpoint of a call, counts it and presses buttons; knows no HTTP and no rules of OAuth."""

from collections.abc import Callable, Mapping

from integrations.simulator import google_consent, google_tokens
from integrations.simulator.buttons import Button, Panel, Target
from integrations.simulator.calls import Calls
from integrations.simulator.google_answers import GoogleFault, api_fault, oauth_fault
from integrations.simulator.google_call import GoogleCall
from integrations.simulator.google_world import Google
from integrations.simulator.meta_answers import Answer

# Addresses as the real hosts have them, so that whole URLs can be settings; none of them is one of Graph's.
PATHS: Mapping[str, str] = {
    "/o/oauth2/v2/auth": "google_auth",
    "/token": "google_token",
    "/revoke": "google_revoke",
    "/oauth2/v3/userinfo": "google_userinfo",
    "/oauth2/v2/userinfo": "google_userinfo",
    "/v1/userinfo": "google_userinfo",
    "/tokeninfo": "google_tokeninfo",
    "/oauth2/v3/tokeninfo": "google_tokeninfo",
}
_ROUTES: Mapping[tuple[str, str], Callable[[Google, GoogleCall], Answer]] = {
    ("google_auth", "GET"): google_consent.authorize,
    ("google_auth", "POST"): google_consent.authorize,
    ("google_token", "POST"): google_tokens.token,
    ("google_refresh", "POST"): google_tokens.token,
    ("google_revoke", "POST"): google_tokens.revoke,
    ("google_userinfo", "GET"): google_tokens.userinfo,
    ("google_userinfo", "POST"): google_tokens.userinfo,
    ("google_tokeninfo", "GET"): google_tokens.tokeninfo,
    ("google_tokeninfo", "POST"): google_tokens.tokeninfo,
}


class GoogleFront:
    """Answers calls to Google from its world."""

    def __init__(self, google: Google, panel: Panel, calls: Calls) -> None:
        self.google, self.panel, self.calls = google, panel, calls

    def begin(self, call: GoogleCall) -> Target:
        """Count the call; what the buttons look at."""
        value, sub = self._whose(call)
        account = self.google.accounts.get(sub)
        tenant = account.tenant if account else ""
        self.calls.requests[call.kind] += 1
        self.calls.made[call.kind, f"google:{sub}" if sub else "none", tenant] += 1
        return Target(call.kind, value, "", tenant, "", sub)

    def answer(self, call: GoogleCall, target: Target) -> Answer:
        """The answer; raises nothing."""
        try:
            if self.panel.on and call.kind != "google_auth":
                button = self.panel.acting(target, ("error", "throttle"))
                if button is not None:
                    raise _pressed(button, call)
            handler = _ROUTES.get((call.kind, call.method))
            if handler is None:
                raise api_fault(405, "httpMethodNotAllowed", "This endpoint is not for this method.")
            return handler(self.google, call)
        except GoogleFault as fault:
            self.calls.faults[f"google/{fault.word}"] += 1
            return fault.answer()

    def _whose(self, call: GoogleCall) -> tuple[str, str]:
        """(the token that the call is about, the account behind it); "" where there is none."""
        params = call.params
        if call.kind == "google_token":
            code = self.google.codes.get(params.get("code", ""))
            return "", code.holder[1] if code else ""
        names = {"google_refresh": "refresh_token", "google_revoke": "token"}
        value = params.get(names[call.kind], "") if call.kind in names else call.bearer
        token = self.google.tokens.get(value)
        return value, token.holder[1] if token else ""


def _pressed(button: Button, call: GoogleCall) -> GoogleFault:
    """The error that a button stands for, in the shape of the endpoint."""
    if button.does == "throttle":
        wait = (("Retry-After", str(int(button.seconds))),) if button.seconds else ()
        status, word, text = button.status or 429, button.reason or "rateLimitExceeded", "Rate Limit Exceeded"
    else:
        wait, status = (), button.status or 500
        usual = "internal_failure" if status >= 500 else "invalid_request"
        word, text = button.reason or usual, button.message or "Bad Request"
    if call.kind == "google_userinfo":
        return api_fault(status, word, text, wait)
    fault = oauth_fault(word, text, status)
    fault.headers = wait
    return fault
