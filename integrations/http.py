"""One long-lived HTTP client per process; it turns broken connections into our errors and knows no provider.

Status codes are left to the caller: what a 400 means is the provider's own affair.
"""

import logging
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx
import orjson

from integrations.errors import IntegrationError, OurBug, Transient

# At INFO httpx prints every URL, at DEBUG httpcore prints headers: neither belongs into a log.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)

CONNECT_TIMEOUT = timedelta(seconds=3)
READ_TIMEOUT = timedelta(seconds=20)


@dataclass(frozen=True, slots=True, repr=False)
class Reply:
    """A whole answer. `headers` are looked up without regard to case."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> Any:
        """The body read as JSON; raises Transient if it is none (an error page of a proxy, most often)."""
        with suppress(orjson.JSONDecodeError):
            return orjson.loads(self.content)
        # Raised out here, because the decoder's error carries the whole body with it.
        raise Transient("The provider answered with something that is not JSON.", code=f"http_{self.status}")

    def __repr__(self) -> str:
        return f"<Reply {self.status}, {len(self.content)} bytes>"


class Http:
    """A pool of kept connections, safe to share between threads; close it at the end of the process.

    It follows no redirect (a token would follow too), keeps no cookie (tenants share the pool) and reads neither
    proxy nor .netrc from the environment: `proxy` and `verify` are given by whoever knows the settings.
    """

    def __init__(
        self,
        *,
        connect_timeout: timedelta = CONNECT_TIMEOUT,
        read_timeout: timedelta = READ_TIMEOUT,
        max_connections: int = 100,
        proxy: str | None = None,
        verify: ssl.SSLContext | None = None,
    ) -> None:
        self._connect_seconds = connect_timeout.total_seconds()
        self._client = httpx.Client(
            timeout=self._timeout(read_timeout),
            limits=httpx.Limits(
                max_connections=max_connections, max_keepalive_connections=max_connections, keepalive_expiry=50
            ),
            headers={"user-agent": "troth"},
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            follow_redirects=False,
            trust_env=False,
            proxy=proxy,
            verify=verify or _usual_trust(),
        )

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        bearer: str | None = None,
        read_timeout: timedelta | None = None,
    ) -> Reply:
        """One call. `form` is sent url-encoded, `content` as it is; `bearer` goes into the Authorization header.

        Raises Transient when no whole answer came, OurBug when the request could not be written; never an error
        of the client library, whose texts and attributes hold the URL and the headers.
        """
        sent = dict(headers or ())
        if bearer is not None:
            sent["authorization"] = f"Bearer {bearer}"
        failure: IntegrationError
        try:
            answer = self._client.request(
                method,
                url,
                params=params,
                data=form,
                content=content,
                headers=sent,
                timeout=httpx.USE_CLIENT_DEFAULT if read_timeout is None else self._timeout(read_timeout),
            )
            return Reply(answer.status_code, answer.headers, answer.content)
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            failure = _failure(error)
        # Raised outside of `except`, so that the library's error does not hang on ours as its context.
        raise failure

    def close(self) -> None:
        """Closes every kept connection; a later request raises RuntimeError."""
        self._client.close()

    def _timeout(self, read: timedelta) -> httpx.Timeout:
        return httpx.Timeout(read.total_seconds(), connect=self._connect_seconds)


@cache
def _usual_trust() -> ssl.SSLContext:
    """Whom everybody trusts, read once in a process: it takes longer than a request."""
    return httpx.create_ssl_context(trust_env=False)


def _failure(error: Exception) -> IntegrationError:
    match error:
        case httpx.ConnectTimeout() | httpx.ConnectError():
            return Transient("The provider could not be reached.", code="connect")
        case httpx.PoolTimeout():
            return Transient("Every connection to the provider was busy.", code="busy")
        case httpx.TimeoutException():
            return Transient("The provider did not answer in time.", code="timeout")
        case httpx.LocalProtocolError() | httpx.UnsupportedProtocol() | httpx.InvalidURL() | UnicodeError():
            return OurBug(
                "The request could not be written: its address, token or a header is malformed.", code="request"
            )
        case _:
            return Transient("The connection to the provider broke.", code="cut")
