"""The sender alone: what strangers' services may do to it, and what it must not do to them."""

import ipaddress
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from integrations.push import sender as senders
from integrations.push.contract import LONGEST_WAIT, Answer, Post
from integrations.push.sender import LARGEST_ANSWER, Sender

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


class Server(socketserver.ThreadingTCPServer):
    """Answers every request with the same bytes; none: it lets who asks wait. `asked` are the requests' heads."""

    daemon_threads, block_on_close, request_queue_size = True, False, 256

    def __init__(self, answer: bytes | None, secret: ssl.SSLContext | None = None) -> None:
        self.answer, self.secret, self.asked, self.over = answer, secret, list[bytes](), threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)

    def get_request(self) -> tuple[socket.socket, object]:
        asking, address = super().get_request()
        if self.secret is not None:
            asking = self.secret.wrap_socket(asking, server_side=True, do_handshake_on_connect=False)
        return asking, address

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class Handler(socketserver.StreamRequestHandler):
    server: Server

    def handle(self) -> None:
        head = b""
        while (line := self.rfile.readline()) not in (b"", b"\r\n"):
            head += line
        if head:
            self.server.asked.append(head)
            if self.server.answer is None:
                self.server.over.wait(10)
            else:
                self.wfile.write(self.server.answer)


@contextmanager
def serving(answer: bytes | None, secret: ssl.SSLContext | None = None) -> Iterator[Server]:
    with Server(answer, secret) as server:
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # who hangs up in the middle is meant to
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


def posted(url: str, service: str = "s") -> Post:
    return Post(url, service, ["authorization: x"], b"{}")


@pytest.fixture
def made() -> Iterator[Callable[..., Sender]]:
    senders_made: list[Sender] = []

    def make(*allowed: str, trust: str | None = None) -> Sender:
        senders_made.append(Sender(allowed, trust=trust))
        return senders_made[-1]

    yield make
    for one in senders_made:
        one.close()


def test_no_connection_is_made_to_an_address_that_leads_inwards(made: Callable[..., Sender]) -> None:
    with serving(OK) as server:
        url = f"http://127.0.0.1:{server.port}/p"
        closed, opened = made("https://push.example"), made(f"http://127.0.0.1:{server.port}")
        assert closed.send([posted(url), posted(f"http://localhost:{server.port}/p", "other")]) == [
            Answer(0, failed="refused"), Answer(0, failed="refused")
        ]  # fmt: skip
        assert not server.asked
        assert opened.send([posted(url)]) == [Answer(200)]
        assert len(server.asked) == 1 and server.asked[0].startswith(b"POST /p HTTP/1.1\r\n")


def test_no_redirect_is_followed_no_proxy_used_and_no_cookie_kept(
    made: Callable[..., Sender], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    away = (
        b"HTTP/1.1 302 Found\r\nlocation: /inwards\r\nset-cookie: a=b\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    )
    with serving(away) as server:
        url = f"http://127.0.0.1:{server.port}"
        told = made(url).send([posted(f"{url}/1"), posted(f"{url}/2")])
        assert [answer.status for answer in told] == [302, 302]
        assert sorted(head.split()[1] for head in server.asked) == [b"/1", b"/2"]
        assert not any(b"cookie" in head.lower() for head in server.asked)


@pytest.mark.parametrize("length", [b"content-length: 1000000000", b"transfer-encoding: chunked"])
def test_an_answer_without_end_is_cut_at_its_limit(made: Callable[..., Sender], length: bytes) -> None:
    chunks = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    with serving(b"HTTP/1.1 400 Bad Request\r\n" + length + b"\r\n\r\n" + chunks * 64) as server:
        url = f"http://127.0.0.1:{server.port}"
        answer = made(url).send([posted(url + "/p")])[0]
        assert answer.status == 400 and len(answer.body) <= 2 * LARGEST_ANSWER


def test_each_answer_has_its_own_body(made: Callable[..., Sender]) -> None:
    with serving(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno") as server:
        url = f"http://127.0.0.1:{server.port}"
        assert made(url).send([posted(url + "/p")] * 250) == [Answer(400, b"no")] * 250


def test_a_service_that_hangs_holds_up_nobody_else_and_is_given_up(
    made: Callable[..., Sender], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(senders, "WHOLE", timedelta(milliseconds=300))
    with serving(None) as hangs, serving(OK) as answers:
        slow, quick = f"http://127.0.0.1:{hangs.port}", f"http://127.0.0.1:{answers.port}"
        sender = made(slow, quick)
        told = sender.send([posted(f"{slow}/p", "slow")] * 150 + [posted(f"{quick}/p", "quick")])
        assert told[0] == told[149] == Answer(0, failed="timeout") and told[150] == Answer(200)
        assert sender.send([posted(f"{quick}/p", "quick")]) == [Answer(200)], "it goes on afterwards"


def test_a_connection_that_is_cut_or_refused_is_told_apart(made: Callable[..., Sender]) -> None:
    with serving(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{") as server:
        url = f"http://127.0.0.1:{server.port}"
        assert made(url).send([posted(url + "/p")]) == [Answer(0, failed="cut")]
        port = server.port
    assert made("http://127.0.0.1:1").send([posted(f"http://127.0.0.1:{port}/p")])[0].failed in ("connect", "refused")
    assert made().send([posted("https://push.invalid/p")]) == [Answer(0, failed="connect")]
    assert made().send([]) == []


@pytest.mark.parametrize(
    "header, wait",
    [(b"120", timedelta(seconds=120)), (b"0", None), (b"soon", None), (b"99999999", LONGEST_WAIT),
     (b"Wed, 21 Oct 2015 07:28:00 GMT", None)],
)  # fmt: skip
def test_retry_after_is_read_within_reason(made: Callable[..., Sender], header: bytes, wait: timedelta | None) -> None:
    with serving(b"HTTP/1.1 429 No\r\nretry-after: " + header + b"\r\ncontent-length: 0\r\n\r\n") as server:
        url = f"http://127.0.0.1:{server.port}"
        assert made(url).send([posted(url + "/p")])[0].retry_after == wait


def test_only_a_trusted_certificate_of_the_right_name_is_spoken_to(made: Callable[..., Sender], tmp_path: Path) -> None:
    right, wrong = (_certificate(tmp_path, name) for name in ("127.0.0.1", "127.0.0.9"))
    for path, trust, expected in ((right, right, 200), (right, None, 0), (wrong, wrong, 0)):
        secret = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        secret.load_cert_chain(path)
        with serving(OK, secret) as server:
            url = f"https://127.0.0.1:{server.port}"
            answer = made(url, trust=str(trust) if trust else None).send([posted(url + "/p")])[0]
            assert (answer.status, answer.failed) == (expected, "" if expected else "connect")
            assert len(server.asked) == (1 if expected else 0), "nothing was said to the others"


def _certificate(folder: Path, address: str) -> Path:
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    path = folder / f"{address}.pem"
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(made.public_bytes(Encoding.PEM) + pem)
    return path
