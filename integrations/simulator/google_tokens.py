"""Google's token, revoke, userinfo and tokeninfo endpoints: what is demanded and what is answered; knows no consent page.

https://developers.google.com/identity/protocols/oauth2/web-server
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable
from typing import Any

import orjson

from integrations.simulator.google_answers import answer, bad_bearer, dead_grant, lacks_scope, oauth_fault
from integrations.simulator.google_call import GoogleCall
from integrations.simulator.google_records import GoogleClient, GoogleCode, GoogleToken, Holder
from integrations.simulator.google_world import ACCESS_LIFE, CODE_LIFE, EMAIL, PROFILE, SIGN_IN, Google, spelled
from integrations.simulator.meta_answers import Answer

ISSUER = "https://accounts.google.com"


def token(google: Google, call: GoogleCall) -> Answer:
    """POST /token: a code or a refresh token for an access token."""
    grant = call.params.get("grant_type")
    if not grant:
        raise oauth_fault("invalid_request", "Required parameter is missing: grant_type")
    if grant == "refresh_token":
        return _refresh(google, call)
    if grant != "authorization_code":
        raise oauth_fault("unsupported_grant_type", f"Invalid grant_type: {grant}")
    return _redeem(google, call)


def revoke(google: Google, call: GoogleCall) -> Answer:
    """POST /revoke: whichever token is given, everything this account gave the whole project ends."""
    value = call.params.get("token")
    if not value:
        raise oauth_fault("invalid_request", "Missing required parameter: token")
    known = google.tokens.get(value)
    if known is None or google.ended(known):
        raise oauth_fault("invalid_token", "Token expired or revoked")
    client_id, sub = known.holder
    google.revocations[sub] += 1
    google.revoke(sub, project=google.clients[client_id].project)
    return answer({})


def userinfo(google: Google, call: GoogleCall) -> Answer:
    """GET userinfo: who the access token is about. v2 has other names for the same."""
    scopes = check_bearer(google, call.bearer, any_of=SIGN_IN).scopes
    claims = _person(google, google.tokens[call.bearer])
    if call.path == "/oauth2/v2/userinfo":
        claims["id"] = claims.pop("sub")
        if EMAIL in scopes:
            claims["verified_email"] = claims.pop("email_verified")
    return answer(claims)


def tokeninfo(google: Google, call: GoogleCall) -> Answer:
    """GET /tokeninfo?access_token="""
    known = google.tokens.get(call.bearer)
    if known is None or known.kind != "access" or known.expires_at is None or google.ended(known):
        raise oauth_fault("invalid_token", "Invalid Value")
    client_id, sub = known.holder
    left = int((known.expires_at - google.clock()).total_seconds())
    told = {"azp": client_id, "aud": client_id, "sub": sub, "scope": " ".join(known.scopes)}
    times = {"exp": str(int(known.expires_at.timestamp())), "expires_in": str(left), "access_type": "offline"}
    return answer({**told, **times})


def check_bearer(google: Google, value: str, *, any_of: Iterable[str]) -> GoogleToken:
    """The access token behind a Bearer, if it lives and holds one of these scopes; GoogleFault 401 or 403 otherwise."""
    known = google.tokens.get(value)
    if known is None or known.kind != "access" or google.ended(known):
        raise bad_bearer()
    if not set(any_of).intersection(known.scopes):
        raise lacks_scope()
    return known


def _redeem(google: Google, call: GoogleCall) -> Answer:
    client = _client(google, call)
    if not call.params.get("code"):
        raise oauth_fault("invalid_request", "Missing required parameter: code")
    code = google.codes.get(call.params["code"])
    if code is None:
        raise oauth_fault("invalid_grant", "Malformed auth code.")
    if code.holder[0] != client.id or code.used or google.clock() - code.issued_at >= CODE_LIFE:
        raise oauth_fault("invalid_grant")
    if call.params.get("redirect_uri") != code.redirect_uri:
        raise oauth_fault("redirect_uri_mismatch")
    _check_verifier(code, call.params.get("code_verifier", ""))
    if code.holder not in google.grants:
        # Revoked between the consent and this call.
        raise dead_grant()
    code.used = True
    refresh = google.issue_refresh(code.holder, code.scopes) if code.refreshable else None
    return _issued(google, code.holder, code.scopes, refresh, nonce=code.nonce)


def _refresh(google: Google, call: GoogleCall) -> Answer:
    client = _client(google, call)
    if not call.params.get("refresh_token"):
        raise oauth_fault("invalid_request", "Missing required parameter: refresh_token")
    known = google.tokens.get(call.params["refresh_token"])
    if known is None or known.kind != "refresh":
        raise dead_grant()
    if known.holder[0] != client.id:
        raise oauth_fault("unauthorized_client", "Unauthorized", 401)
    account = google.accounts[known.holder[1]]
    if account.admin_policy:
        raise oauth_fault("admin_policy_enforced", "Access to your account data is restricted by policies.")
    if google.ended(known):
        raise dead_grant()
    scopes = known.scopes
    if call.params.get("scope"):
        asked = spelled(call.params["scope"].split())
        scopes = tuple(scope for scope in scopes if scope in asked)
        if not scopes:
            raise oauth_fault("invalid_scope")
    known.used_at = google.clock()
    google.refreshes[account.sub] += 1
    fresh = None
    if account.rotate:
        known.dead = True
        fresh = google.issue_refresh(known.holder, known.scopes)
        fresh.issued_at = known.issued_at
    return _issued(google, known.holder, scopes, fresh)


def _client(google: Google, call: GoogleCall) -> GoogleClient:
    name, secret = call.client
    if not name:
        raise oauth_fault("invalid_request", "Could not determine client ID from request.")
    client = google.clients.get(name)
    if client is None:
        raise oauth_fault("invalid_client", "The OAuth client was not found.", 401)
    if not hmac.compare_digest(client.secret.encode(), secret.encode()):
        raise oauth_fault("invalid_client", "The provided client secret is invalid.", 401)
    return client


def _check_verifier(code: GoogleCode, verifier: str) -> None:
    if not code.challenge:
        return
    if not verifier:
        raise oauth_fault("invalid_grant", "Missing code verifier.")
    digest = verifier if code.challenge_method == "plain" else _base64(hashlib.sha256(verifier.encode()).digest())
    if not hmac.compare_digest(digest.encode(), code.challenge.encode()):
        raise oauth_fault("invalid_grant", "Invalid code verifier.")


def _issued(
    google: Google, holder: Holder, scopes: tuple[str, ...], refresh: GoogleToken | None, *, nonce: str = ""
) -> Answer:
    access = google.issue_access(holder, scopes)
    body: dict[str, Any] = {
        "access_token": access.value,
        "expires_in": int(ACCESS_LIFE.total_seconds()),
        "scope": " ".join(scopes),
        "token_type": "Bearer",
    }
    if refresh is not None:
        body["refresh_token"] = refresh.value
    if "openid" in scopes:
        body["id_token"] = _id_token(google, access, nonce)
    return answer(body)


def _id_token(google: Google, access: GoogleToken, nonce: str) -> str:
    """A JWT in the right form; its signature is no RSA, and holds for nobody."""
    client_id = access.holder[0]
    now = int(google.clock().timestamp())
    at_hash = _base64(hashlib.sha256(access.value.encode()).digest()[:16])
    claims = {"iss": ISSUER, "azp": client_id, "aud": client_id, **_person(google, access)}
    claims |= {"at_hash": at_hash, "iat": now, "exp": now + 3600} | ({"nonce": nonce} if nonce else {})
    head = orjson.dumps({"alg": "RS256", "kid": "simulated", "typ": "JWT"})
    signed = f"{_base64(head)}.{_base64(orjson.dumps(claims))}"
    return f"{signed}.{_base64(hashlib.shake_256(signed.encode()).digest(256))}"


def _person(google: Google, access: GoogleToken) -> dict[str, Any]:
    """Only what the scopes open."""
    account = google.accounts[access.holder[1]]
    claims: dict[str, Any] = {"sub": account.sub}
    if EMAIL in access.scopes:
        claims |= {"email": account.email, "email_verified": True}
    if PROFILE in access.scopes:
        given, _, family = account.name.partition(" ")
        claims |= {"name": account.name, "given_name": given, "family_name": family}
    return claims


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
