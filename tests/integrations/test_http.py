"""The shared client: whatever breaks on the way comes out as our error, and says nothing about where it went."""

import logging
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from integrations.errors import IntegrationError, OurBug, Transient
from integrations.http import Http

SECRET = "canary-secret-1"

Answer = Callable[[BaseHTTPRequestHandler], None]


class Server:
    """A provider on loopback that answers as the test says, and remembers the header lines it got."""

    def __init__(self) -> None:
        self.answer: Answer = respond(200, b"{}")
        self.seen: list[tuple[str, dict[str, str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
                outer.answer(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.httpd.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.httpd.server_port}"
        threading.Thread(target=self.httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


def respond(status: int, body: bytes, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.httpd.shutdown()
    running.httpd.server_close()


@pytest.fixture(scope="module")  # reading the trusted certificates takes longer than a test
def http() -> Iterator[Http]:
    with closing(Http(connect_timeout=timedelta(seconds=1), read_timeout=timedelta(seconds=5))) as client:
        yield client


def refused_by(http: Http, url: str, **given: object) -> IntegrationError:
    with pytest.raises(IntegrationError) as caught:
        http.request("GET", url, params={"access_token": SECRET}, **given)  # type: ignore[arg-type]
    return caught.value


def told_by(error: BaseException) -> str:
    """Everything an error reporter could print of it, its causes included."""
    return "".join(traceback.format_exception(error, chain=True)) + repr(error) + repr(vars(error))


def test_a_closed_port_is_transient_and_keeps_the_address_to_itself(http: Http) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    error = refused_by(http, f"http://127.0.0.1:{port}/leads", bearer=SECRET)
    assert type(error) is Transient and error.code == "connect"
    assert error.__context__ is None and error.__cause__ is None
    assert SECRET not in told_by(error) and str(port) not in str(error)


def test_silence_is_transient_after_the_read_timeout(http: Http, server: Server) -> None:
    release = threading.Event()

    def wait(handler: BaseHTTPRequestHandler) -> None:
        release.wait(2)  # longer than this call waits, shorter than the client would
        handler.close_connection = True

    server.answer = wait
    error = refused_by(http, server.url, read_timeout=timedelta(milliseconds=50))
    release.set()
    assert type(error) is Transient and error.code == "timeout"


def test_a_cut_answer_is_transient(http: Http, server: Server) -> None:
    def cut(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        handler.close_connection = True

    server.answer = cut
    error = refused_by(http, server.url)
    assert type(error) is Transient and error.code == "cut"


def test_an_answer_that_is_not_http_is_transient(http: Http, server: Server) -> None:
    def babble(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n")
        handler.close_connection = True

    server.answer = babble
    assert type(refused_by(http, server.url)) is Transient


def test_a_body_that_does_not_unpack_is_transient(http: Http, server: Server) -> None:
    server.answer = respond(200, b"not gzip at all", Content_Encoding="gzip")
    assert type(refused_by(http, server.url)) is Transient


@pytest.mark.parametrize("token", [f"{SECRET}\r\nX-Other: 1", f"{SECRET}\u00e9", f"{SECRET}\ud800"])
def test_a_token_that_cannot_be_sent_is_our_bug_and_stays_unseen(http: Http, server: Server, token: str) -> None:
    error = refused_by(http, server.url, bearer=token)
    assert type(error) is OurBug
    assert error.__context__ is None
    assert SECRET not in told_by(error)
    assert server.seen == []


@pytest.mark.parametrize("url", ["", "graph", "ftp://127.0.0.1/", "http://\x00/"])
def test_an_address_that_is_none_is_our_bug(http: Http, url: str) -> None:
    assert type(refused_by(http, url)) is OurBug


def test_a_body_that_is_not_json_is_transient_and_is_not_carried_along(http: Http, server: Server) -> None:
    server.answer = respond(502, f"<html>{SECRET}</html>".encode())
    reply = http.request("GET", server.url)
    with pytest.raises(Transient) as caught:
        reply.json()
    assert caught.value.code == "http_502"
    assert caught.value.__context__ is None
    assert SECRET not in told_by(caught.value) + repr(reply)


def test_a_status_is_reported_and_not_judged(http: Http, server: Server) -> None:
    server.answer = respond(400, b'{"a":1}', X_App_Usage="{}")
    reply = http.request("GET", server.url)
    assert (reply.status, reply.json(), reply.headers["x-app-usage"]) == (400, {"a": 1}, "{}")


def test_a_redirect_is_not_followed(http: Http, server: Server) -> None:
    server.answer = respond(302, b"", Location=f"{server.url}/elsewhere")
    assert http.request("GET", server.url, bearer=SECRET).status == 302
    assert len(server.seen) == 1


def test_a_cookie_of_one_tenant_is_not_sent_for_the_next(http: Http, server: Server) -> None:
    server.answer = respond(200, b"{}", Set_Cookie="session=acme; Path=/")
    http.request("GET", server.url, bearer="acme")
    http.request("GET", server.url, bearer="globex")
    assert "cookie" not in server.seen[1][1]
    assert server.seen[1][1]["authorization"] == "Bearer globex"


def test_a_token_is_not_kept_for_the_next_call(http: Http, server: Server) -> None:
    http.request("GET", server.url, bearer="acme")
    http.request("GET", server.url)
    assert "authorization" not in server.seen[1][1]


def test_the_environment_does_not_redirect_calls(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with closing(Http()) as http:
        assert http.request("GET", server.url).status == 200


def test_no_address_is_logged(http: Http, server: Server, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        http.request("GET", server.url, params={"access_token": SECRET}, bearer=SECRET)
    assert SECRET not in caplog.text and server.url not in caplog.text


def test_threads_share_the_client_and_its_connections(http: Http, server: Server) -> None:
    statuses: list[int] = []

    def call() -> None:
        statuses.extend(http.request("GET", server.url).status for _ in range(25))

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 200
