"""The chapter about bulletins: one announcement to phones and browsers, some of them dead, each living one once."""

from typing import Any

from worker.demo.stage import NotTrue, Stage, Tenant

PHONES, BROWSERS, DEAD = 70, 30, 3
TITLE = "Fire drill at ten"


def announce_to_all(stage: Stage) -> list[str]:
    """One bulletin to every phone and browser of a company, and none to another's"""
    acme, globex = stage.acme, stage.globex
    living = [f"phone-{number}" for number in range(PHONES)]
    for name in (*living, *(f"dead-{number}" for number in range(DEAD))):
        _register(stage, acme, name, {"kind": "fcm", "fid": name})
    names = [f"browser-{number}" for number in range(BROWSERS)]
    given = stage.meta("POST", "push/browsers", json={"names": names})["subscriptions"]
    for name, subscription in zip(names, given, strict=True):
        _register(stage, acme, name, {"kind": "webpush", "subscription": subscription})
    _register(stage, globex, "elsewhere", {"kind": "fcm", "fid": "elsewhere"})
    wish = {"title": TITLE, "body": "<p>In the <b>yard</b>.</p>", "audience": {"all": True}}
    seen = stage.api("POST", "/v1/bulletins/preview", stage.platform_key, tenant=acme, json=wish).json()
    _check(seen["devices"] == PHONES + BROWSERS + DEAD, "the preview counts other devices")
    made = stage.api("POST", "/v1/bulletins", stage.platform_key, tenant=acme, json=wish)
    _check(made.status_code == 202, f"the bulletin was not taken: {made.text}")
    bulletin = made.json()["id"]
    waited = stage.wait("the bulletin to end", lambda: _of(stage, acme, bulletin)["status"] == "completed")
    counts = _of(stage, acme, bulletin)["counts"]
    _check((counts["sent"], counts["removed"]) == (PHONES + BROWSERS, DEAD), f"the counts are {counts}")
    taken = stage.meta("GET", "push")["taken"]
    times = {times for tag in (bulletin, bulletin.replace("-", "")) for times in taken.get(tag, {})}
    _check(times == {"1"}, "a device got it twice")
    shown = stage.meta("GET", f"push/shown/{names[0]}")
    _check((shown["title"], shown["body"]) == (TITLE, "In the yard."), "the browser reads something else")
    _check(stage.meta("GET", "push/shown/elsewhere") is None, "globex got acme's bulletin")
    gone = stage.api("GET", "/v1/devices/dead-0", stage.platform_key, tenant=acme)
    _check(gone.status_code == 404, "a dead device is still there")
    for tenant, number in ((acme, 1), (globex, 0)):
        feed = stage.api("GET", "/v1/feed", stage.platform_key, tenant=tenant, params={"user": "user-dead-0"}).json()
        _check(len(feed["items"]) == number, f"the feed at {tenant.external_id} is wrong")
    return [
        f"{PHONES} phones and {BROWSERS} browsers have it within {waited:.1f} s, each once; a browser decrypted what it reads",
        f"{DEAD} dead devices were removed on the provider's word; their people find it in the feed",
    ]


def _register(stage: Stage, tenant: Tenant, name: str, address: dict[str, Any]) -> None:
    wish = {"user": f"user-{name}", "tags": ["staff"], **address}
    answer = stage.api("PUT", f"/v1/devices/{name}", stage.platform_key, tenant=tenant, json=wish)
    _check(answer.status_code == 200, f"the device was not taken: {answer.text}")


def _of(stage: Stage, tenant: Tenant, bulletin: str) -> dict[str, Any]:
    found: dict[str, Any] = stage.api("GET", f"/v1/bulletins/{bulletin}", stage.platform_key, tenant=tenant).json()
    return found


def _check(holds: object, otherwise: str) -> None:
    if not holds:
        raise NotTrue(otherwise)
