"""The peers that push: firebase-admin's `send_each` in a task per 500, a plain loop over pywebpush, and bare loops with nothing
beside, which are the limit: over aiohttp, and over libcurl, the fastest there is. The tasks are called without their broker,
which is in their favour.

Orders are a JSON line: `kind` (firebase, pywebpush, aiohttp, bare, patient or bare_webpush), `url`, `targets`, `key`.
"""

import asyncio
import datetime
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import firebase_admin
import google.oauth2.credentials
import pycurl
import pywebpush
import requests
import uvloop
from celery import Celery
from firebase_admin import credentials, messaging
from firebase_admin.messaging import _MessagingService
from yarl import URL

from integrations.push.contract import Message
from integrations.push.fcm import FcmWriter
from integrations.push.vapid import Vapid
from integrations.push.webpush import WebPushWriter
from tests.benchmarks.dialogue import tell_result

app = Celery("peer", broker="memory://")
TAG = "0190a8a0-0000-7000-8000-000000000001"
TITLE, BODY = "Fire drill", "At ten, in the yard. Leave what you are doing, and take the stairs."
AT_ONCE = 100


class _Given(credentials.Base):  # type: ignore[misc]
    """A token that needs no renewal: no OAuth for the peer."""

    def get_credential(self) -> Any:
        expiry = datetime.datetime.now(datetime.UTC).replace(tzinfo=None) + datetime.timedelta(hours=5)
        return google.oauth2.credentials.Credentials("bench", expiry=expiry)  # type: ignore[no-untyped-call]


@app.task(name="peer.push")
def push(targets: list[str]) -> int:
    """Five hundred."""
    messages = [
        messaging.Message(
            fid=target,
            notification=messaging.Notification(TITLE, BODY),
            data={"bulletin": TAG},
            android=messaging.AndroidConfig(
                priority="normal", ttl=3600, notification=messaging.AndroidNotification(tag=TAG)
            ),
            apns=messaging.APNSConfig(headers={"apns-collapse-id": TAG}),
        )
        for target in targets
    ]
    found: int = messaging.send_each(messages).success_count
    return found


def firebase(orders: dict[str, Any]) -> Callable[[], int]:
    """send_each, with the pool of connections that it has for Google's own address."""
    _MessagingService.FCM_URL = orders["url"] + "/v1/projects/{0}/messages:send"
    made = firebase_admin.initialize_app(_Given(), {"projectId": "bench"})
    service = messaging._get_messaging_service(made)
    service._client.session.mount("http://", requests.adapters.HTTPAdapter(pool_connections=100, pool_maxsize=100))
    targets = orders["targets"]
    return lambda: sum(push.apply(args=(targets[at : at + 500],)).get() for at in range(0, len(targets), 500))


def plain_webpush(orders: dict[str, Any]) -> Callable[[], int]:
    """One after the other, over one session."""
    session = requests.Session()
    payload = json.dumps({"title": TITLE, "body": BODY, "tag": TAG})

    def run() -> int:
        sent = 0
        for target in orders["targets"]:
            try:
                pywebpush.webpush(target, payload, vapid_private_key=orders["key"], ttl=3600,
                                  vapid_claims={"sub": "mailto:ops@crm.example"}, requests_session=session)  # fmt: skip
                sent += 1
            except pywebpush.WebPushException:
                continue
        return sent

    return run


def _requests(orders: dict[str, Any]) -> tuple[Any, list[dict[str, str]]]:
    """(what writes them, whom they are for)."""
    message = Message(TAG, TITLE, BODY, datetime.timedelta(hours=1))
    if orders["kind"] == "bare_webpush":
        writer = WebPushWriter(Vapid(orders["key"], "mailto:ops@crm.example"), message, [orders["url"]])
        return writer, [{"endpoint": it["endpoint"], **it["keys"]} for it in orders["targets"]]
    url = f"{orders['url']}/v1/projects/bench/messages:send"
    return FcmWriter(url, "bench", message, "fid"), [{"token": target} for target in orders["targets"]]


def aiohttp_loop(orders: dict[str, Any]) -> Callable[[], int]:
    """A hundred at once, nothing read, kept or written beside."""
    writer, addresses = _requests(orders)
    headers = dict(line.split(": ", 1) for line in writer.post(addresses[0]).headers)

    async def work(session: aiohttp.ClientSession, following: Any) -> int:
        sent = 0
        for address in following:
            post = writer.post(address)
            async with session.post(URL(post.url, encoded=True), data=post.body, headers=headers) as reply:
                await reply.read()
                sent += reply.status in (200, 201)
        return sent

    async def main() -> int:
        following = iter(addresses)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=AT_ONCE)) as session:
            return sum(await asyncio.gather(*(work(session, following) for _ in range(AT_ONCE))))

    return lambda: uvloop.run(main())


def libcurl_loop(orders: dict[str, Any]) -> Callable[[], int]:
    """As `aiohttp_loop`. The patient one leaves answers to gather for a moment, as our own sender does."""
    writer, addresses = _requests(orders)
    patience = 0.004 if orders["kind"] == "patient" else 0
    multi, following, answers = pycurl.CurlMulti(), iter(addresses), list[bytes]()
    multi.setopt(pycurl.M_MAXCONNECTS, AT_ONCE)

    def begin(curl: pycurl.Curl) -> None:
        address = next(following, None)
        if address is not None:
            post = writer.post(address)
            curl.setopt(pycurl.URL, post.url)
            curl.setopt(pycurl.POSTFIELDS, post.body)
            multi.add_handle(curl)

    def made() -> pycurl.Curl:
        curl = pycurl.Curl()
        curl.setopt(pycurl.HTTPHEADER, writer.post(addresses[0]).headers)
        curl.setopt(pycurl.WRITEFUNCTION, answers.append)
        return curl

    def run() -> int:
        sent = left = 0
        for curl in [made() for _ in range(AT_ONCE)]:
            begin(curl)
        while left < len(addresses):
            multi.perform()
            _, ended, failed = multi.info_read()
            assert not failed
            for curl in ended:
                sent += curl.getinfo(pycurl.RESPONSE_CODE) in (200, 201)
                left += 1
                multi.remove_handle(curl)
                begin(curl)
            answers.clear()
            if ended and patience:
                continue  # what has begun is sent at once
            multi.select(1.0)
            if patience:
                time.sleep(patience)
        return sent

    return run


def main() -> None:
    """One kind, once."""
    orders = json.loads(sys.stdin.readline())
    kinds = {"firebase": firebase, "pywebpush": plain_webpush, "aiohttp": aiohttp_loop}
    run = kinds.get(orders["kind"], libcurl_loop)(orders)
    print("ready", flush=True)
    sys.stdin.readline()
    began, before = time.monotonic(), time.process_time()
    sent = run()
    tell_result({"sent": sent, "seconds": time.monotonic() - began, "cpu": time.process_time() - before})


if __name__ == "__main__":
    main()
