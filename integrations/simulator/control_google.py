"""/_sim/google: what a person does at Google's pages, and what befalls an account; knows no OAuth.

GET  /_sim/google                    clients and accounts: switches, grants, living tokens counted, refreshes, revocations
POST /_sim/google/consent            {"url": the authorize address, "account": sub or e-mail, "untick": [scopes], "deny"}
                                     -> {"location"}
POST /_sim/google/grants             {"account", "scopes", "client", "count"} -> {"refresh_tokens"}: grants that a CRM
                                     holds already
POST /_sim/google/accounts           {"sub", "email", "name", "tenant"}: one more account
POST /_sim/google/accounts/{account} happens now: "revoked" (outside of the app), "password_changed", "access_expired",
                                     "age_days": N; stays: "rotate", "admin_policy", "testing"
POST /_sim/google/clients/{client}   {"testing", "secret"}
"""

from datetime import timedelta
from typing import Any

from starlette.requests import Request

from integrations.simulator.control_json import Table, read_object, texts
from integrations.simulator.google_consent import consent
from integrations.simulator.google_records import GoogleAccount
from integrations.simulator.google_world import CALENDAR, EMAIL, Google

_STAYS = ("rotate", "admin_policy", "testing")
_HAPPENS = ("revoked", "password_changed", "access_expired", "age_days")


def google_table(google: Google) -> Table:
    """The switches."""
    control = _Control(google)
    return [
        ("GET", "google", control.state),
        ("POST", "google/consent", control.consent),
        ("POST", "google/grants", control.grants),
        ("POST", "google/accounts", control.add_account),
        ("POST", "google/accounts/{account}", control.account),
        ("POST", "google/clients/{client}", control.client),
    ]


class _Control:
    def __init__(self, google: Google) -> None:
        self.google = google

    async def state(self, request: Request) -> Any:
        clients = [{"id": it.id, "project": it.project, "testing": it.testing} for it in self.google.clients.values()]
        accounts = [self._described(it) for it in self.google.accounts.values()]
        return {"clients": clients, "accounts": accounts}

    async def consent(self, request: Request) -> Any:
        data = await read_object(request, ("url", "account", "untick", "deny"))
        untick, deny = texts(data, "untick"), bool(data.get("deny"))
        return {"location": consent(self.google, data["url"], data["account"], untick=untick, deny=deny)}

    async def grants(self, request: Request) -> Any:
        data = await read_object(request, ("account", "scopes", "client", "count"))
        scopes = texts(data, "scopes") or ["openid", EMAIL, CALENDAR]
        made = range(int(data.get("count", 1)))
        given = [self.google.grant(data["account"], scopes, client_id=data.get("client")) for _ in made]
        return {"refresh_tokens": [token.value for token in given]}

    async def add_account(self, request: Request) -> Any:
        data = await read_object(request, ("sub", "email", "name", "tenant"))
        account = GoogleAccount(data["sub"], data["email"], data.get("name", data["email"]), data.get("tenant", ""))
        self.google.accounts[account.sub] = account
        return self._described(account)

    async def account(self, request: Request) -> Any:
        account = self.google.account(request.path_params["account"])
        data = await read_object(request, (*_STAYS, *_HAPPENS))
        for name in _STAYS:
            setattr(account, name, bool(data.get(name, getattr(account, name))))
        if data.get("revoked"):
            self.google.revoke(account.sub)
        if data.get("password_changed"):
            self.google.change_password(account.sub)
        if data.get("access_expired"):
            self.google.expire_access(account.sub)
        if data.get("age_days"):
            self.google.age(account.sub, timedelta(days=float(data["age_days"])))
        return self._described(account)

    async def client(self, request: Request) -> Any:
        client = self.google.client(request.path_params["client"])
        data = await read_object(request, ("testing", "secret"))
        client.testing = bool(data.get("testing", client.testing))
        client.secret = str(data.get("secret", client.secret))
        return {"id": client.id, "testing": client.testing}

    def _described(self, account: GoogleAccount) -> dict[str, Any]:
        google, sub = self.google, account.sub
        grants = [
            {"client": client, "scopes": it.scopes} for (client, its_sub), it in google.grants.items() if its_sub == sub
        ]
        return {
            "sub": sub,
            "email": account.email,
            "name": account.name,
            "tenant": account.tenant,
            **{name: getattr(account, name) for name in _STAYS},
            "grants": grants,
            "refresh_tokens": len(google.living("refresh", sub)),
            "access_tokens": len(google.living("access", sub)),
            "refreshes": google.refreshes[sub],
            "refresh_calls": google.refresh_calls[sub],
            "most_at_once": google.most_at_once[sub],
            "revocations": google.revocations[sub],
        }
