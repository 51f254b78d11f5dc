"""The HTTP clients, with real servers and proxies on loopback: what they are told by, and why they get no answer."""

import asyncio
import base64
import contextlib
import errno
import hashlib
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from email.utils import formatdate
from pathlib import Path

import httpx
import pytest
import structlog
from cryptography import x509
from structlog.testing import LogCapture

from exporter.adobe_api import http_client as module
from exporter.adobe_api.clock_skew import ClockSkew
from exporter.adobe_api.failures import explain
from exporter.adobe_api.http_client import AdobeClient, AdobeClients
from exporter.errors import NoAnswerError, SettingsError
from tests.adobe import failing
from tests.web.certificates import certificate

PATIENCE = 60.0
"""Seconds. Only a test that has failed waits so long."""
SECRET = "s3cret"
NO_ENVIRONMENT: Mapping[str, str] = {}
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def read_head(reader: asyncio.StreamReader) -> bytes:
    """Read the head of a request. Empty if there is none."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        return await reader.readuntil(b"\r\n\r\n")
    return b""


def answering(answer: bytes) -> Serve:
    """Read a request and send these bytes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(answer)

    return serve


async def send_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read until the client goes away."""
    with contextlib.suppress(ConnectionError):
        await reader.read()


async def close_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read a part of what comes and close."""
    await reader.read(1)


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read a part of what comes and reset the connection."""
    await reader.read(1)
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


@contextlib.asynccontextmanager
async def listening(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Serve connections on a free port of loopback, and give the port."""
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*tasks, return_exceptions=True)


def clients(url: str, environment: Mapping[str, str]) -> AdobeClients:
    """Clients for the host of one URL."""
    return AdobeClients(environment, [url], ClockSkew(lambda: 0.0))


async def body_of(url: str, environment: Mapping[str, str] = NO_ENVIRONMENT, seconds: float = PATIENCE) -> bytes:
    """The body of an answer."""
    client = clients(url, environment).client(url)
    try:
        async with client.stream("GET", url, seconds) as response:
            return await response.aread()
    finally:
        await client.close()


async def cause(url: str, environment: Mapping[str, str] = NO_ENVIRONMENT, seconds: float = PATIENCE) -> str:
    """Why there is no answer."""
    with pytest.raises(NoAnswerError) as raised:
        await body_of(url, environment, seconds)
    assert SECRET not in str(raised.value)
    return str(raised.value)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates: one of this machine, one that has expired, one of another name, one of keys.invalid."""
    made = tmp_path_factory.mktemp("certificates")
    certificate(made, "good")
    certificate(made, "expired", days=-1)
    certificate(made, "other", names=[x509.DNSName("other.invalid")])
    certificate(made, "keys", names=[x509.DNSName("keys.invalid")])
    return made


def server_tls(folder: Path, name: str) -> ssl.SSLContext:
    """The context of a server with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
    return context


CLOSED = "it closed the connection without an answer"
PLAIN: dict[str, tuple[Serve, str]] = {
    "closes": (close_at_once, CLOSED),
    "resets": (reset, CLOSED),
    "half a head": (answering(b"HTTP/1.1 200 OK\r\ncontent-le"), CLOSED),
    "half a body": (answering(OK[:-1]), CLOSED),
    "another protocol": (answering(b"220 mail.example\r\n\r\n"), "it answered something other than HTTP"),
}


@pytest.mark.parametrize("case", PLAIN)
def test_a_host_that_gives_no_answer(case: str) -> None:
    """A host that closes the connection, or that speaks another protocol, is described so."""

    async def story() -> None:
        async with listening(PLAIN[case][0]) as port:
            assert await cause(f"http://127.0.0.1:{port}") == PLAIN[case][1]

    asyncio.run(story())


def test_a_silent_host() -> None:
    """A host that accepts and is silent gave no answer within the time, which the message names."""

    async def story() -> None:
        async with listening(send_nothing) as port:
            assert await cause(f"http://127.0.0.1:{port}", seconds=0.2) == "it gave no answer within 0.2 s"
            assert await cause(f"https://127.0.0.1:{port}", seconds=0.2) == "it gave no answer within 0.2 s"

    asyncio.run(story())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_refusing_host(host: str) -> None:
    """A port where nobody listens refuses the connection, also by a name with several addresses."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"https://{host}:{bound.getsockname()[1]}"
        assert asyncio.run(cause(url)) == "it refused the connection"


@pytest.mark.parametrize("host", ["x.invalid", "x" * 64 + ".invalid"])
def test_a_name_that_does_not_exist(host: str) -> None:
    """A name that has no address, or can have none, can't be resolved."""
    assert asyncio.run(cause(f"https://{host}")) == "its name can't be resolved"


TLS: dict[str, tuple[str, str | None, str]] = {
    "expired": ("expired", "expired", "its certificate has expired: is the clock of this machine right?"),
    "another name": ("other", "other", "its certificate is for another address"),
    "not trusted": (
        "good",
        "other",
        "its certificate is not trusted: for an authority of your own set SSL_CERT_FILE",
    ),
    "not trusted by default": (
        "good",
        None,
        "its certificate is not trusted: for an authority of your own set SSL_CERT_FILE",
    ),
}


@pytest.mark.parametrize("case", TLS)
def test_certificates(folder: Path, case: str) -> None:
    """What is wrong with a certificate is said."""
    shown, trusted, expected = TLS[case]

    async def story() -> None:
        async with listening(answering(OK), server_tls(folder, shown)) as port:
            environment = {"SSL_CERT_FILE": str(folder / f"{trusted}.crt")} if trusted else {}
            assert await cause(f"https://127.0.0.1:{port}", environment) == expected

    asyncio.run(story())


def test_certificates_of_the_environment(folder: Path, tmp_path: Path) -> None:
    """A server is trusted by the file of SSL_CERT_FILE, or by the folder of SSL_CERT_DIR."""
    hashed = tmp_path / "hashed"
    hashed.mkdir()
    # OpenSSL looks for a certificate by the hash of its subject.
    name = f"{openssl_hash(b'good'):08x}.0"
    (hashed / name).write_bytes((folder / "good.crt").read_bytes())

    async def story() -> None:
        async with listening(answering(OK), server_tls(folder, "good")) as port:
            url = f"https://127.0.0.1:{port}"
            assert await body_of(url, {"SSL_CERT_FILE": str(folder / "good.crt")}) == b"ok"
            assert await body_of(url, {"SSL_CERT_DIR": f"/nonexistent{os.pathsep}{hashed}"}) == b"ok"

    asyncio.run(story())


def openssl_hash(name: bytes) -> int:
    """The number by which OpenSSL names the file of an authority whose subject is one common name in lower case."""
    value = b"\x0c%c%s" % (len(name), name)
    pair = b"\x06\x03\x55\x04\x03" + value
    sequence = b"\x30%c%s" % (len(pair), pair)
    canonical = b"\x31%c%s" % (len(sequence), sequence)
    return int.from_bytes(hashlib.sha1(canonical).digest()[:4], "little")  # noqa: S324 - as OpenSSL does


def test_a_server_without_tls() -> None:
    """A server that answers without TLS, and one that closes in the handshake, are described so."""

    async def answer_without_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        await reader.read()

    async def story() -> None:
        async with listening(answer_without_tls) as port:
            assert await cause(f"https://127.0.0.1:{port}") == "it answered something other than TLS"
        async with listening(close_at_once) as port:
            assert await cause(f"https://127.0.0.1:{port}") == CLOSED

    asyncio.run(story())


def tunnel(port: int, heads: list[bytes]) -> Serve:
    """A proxy that connects to this port of loopback, whatever it is asked for. It records the heads of requests."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while part := await reader.read(65536):
                writer.write(part)
                await writer.drain()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await read_head(reader))
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.wait(
            [asyncio.create_task(copy(reader, to_writer)), asyncio.create_task(copy(to_reader, writer))],
            return_when=asyncio.FIRST_COMPLETED,
        )
        to_writer.close()

    return serve


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_request_through_a_proxy(folder: Path, tmp_path: Path, scheme: str) -> None:
    """A request goes through the proxy with its user and password, and the host's certificate is verified."""
    trusted = tmp_path / "trusted.crt"
    trusted.write_bytes((folder / "good.crt").read_bytes() + (folder / "keys.crt").read_bytes())
    heads: list[bytes] = []

    async def story() -> None:
        tls = server_tls(folder, "good") if scheme == "https" else None
        async with (
            listening(answering(OK), server_tls(folder, "keys")) as port,
            listening(tunnel(port, heads), tls) as proxy,
        ):
            environment = {
                "HTTPS_PROXY": f"{scheme}://me:{SECRET}%40@127.0.0.1:{proxy}",
                "SSL_CERT_FILE": str(trusted),
                "NO_PROXY": "127.0.0.1,fd00::/8,[::1",
            }
            assert await body_of("https://keys.invalid", environment) == b"ok"
            assert await cause("https://other.invalid", environment) == "its certificate is for another name"
            client = clients("https://keys.invalid", environment).client("https://keys.invalid")
            assert client.where == f"keys.invalid:443 through the proxy 127.0.0.1:{proxy} (HTTPS_PROXY)"
            await client.close()

    asyncio.run(story())
    head = heads[0].decode().lower()
    assert head.startswith("connect keys.invalid:443 ")
    assert base64.b64encode(f"me:{SECRET}@".encode()).decode().lower() in head


PROXIES: dict[str, tuple[Serve, str]] = {
    "asks for a password": (
        answering(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n"),
        "the proxy answered 407, because it asks for a user and a password",
    ),
    "can't reach the host": (
        answering(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n"),
        "the proxy answered 502, because it can't reach the host",
    ),
    "another status": (answering(b"HTTP/1.1 418 s3cret\r\ncontent-length: 0\r\n\r\n"), "the proxy answered 418"),
    "closes": (close_at_once, CLOSED),
    "another protocol": (answering(b"220 mail.example\r\n\r\n"), "it answered something other than HTTP"),
}


@pytest.mark.parametrize("case", PROXIES)
def test_a_proxy_that_does_not_connect(case: str) -> None:
    """What a proxy answers is said, without the text that it sends."""

    async def story() -> None:
        async with listening(PROXIES[case][0]) as port:
            found = await cause("https://keys.invalid", {"HTTPS_PROXY": f"http://me:{SECRET}@127.0.0.1:{port}"})
            assert found == PROXIES[case][1]

    asyncio.run(story())


def test_a_proxy_that_is_not_there() -> None:
    """Where the proxy is the one that refuses, is silent or has no address, the message is about the proxy."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        proxy = f"http://127.0.0.1:{bound.getsockname()[1]}"
        assert asyncio.run(cause("https://keys.invalid", {"ALL_PROXY": proxy})) == "the proxy refused the connection"
    unresolved = asyncio.run(cause("https://keys.invalid", {"ALL_PROXY": "http://proxy.invalid:3128"}))
    assert unresolved == "the name of the proxy can't be resolved"


OTHERS: dict[str, tuple[Exception, str]] = {
    "no network": (OSError(errno.ENETUNREACH, SECRET), "there is no route to it"),
    "no host": (OSError(errno.EHOSTUNREACH, SECRET), "there is no route to it"),
    "a local rule": (OSError(errno.EPERM, SECRET), "this machine does not allow the connection"),
    "files": (OSError(errno.EMFILE, SECRET), "this process has too many open files"),
    "an unknown number": (OSError(9999, SECRET), "no connection was made"),
    "several addresses": (
        ExceptionGroup(SECRET, [OSError(errno.ECONNREFUSED, SECRET), OSError(errno.ENETUNREACH, SECRET)]),
        "it refused the connection",
    ),
    "TLS versions": (ssl.SSLError(1, SECRET), "no version or cipher of TLS suits both sides"),
    "TLS that ends": (ssl.SSLEOFError(8, SECRET), CLOSED),
}


def test_other_causes() -> None:
    """Causes that no server can show are described too, and no text of an exception is repeated."""

    def check(case: tuple[Exception, str]) -> None:
        error = httpx.ConnectError(SECRET)
        error.__cause__ = case[0]
        assert explain(error, 4.0) == case[1]

    assert failing(OTHERS, check) == {}
    assert explain(httpx.InvalidURL(SECRET), 4.0) == "its address is not valid"
    assert explain(httpx.RequestError(SECRET), 4.0) == "the request failed"


class Unread(Mapping[str, str]):
    """An environment that must not be read."""

    def __getitem__(self, name: str) -> str:
        raise AssertionError(name)

    def __iter__(self) -> Iterator[str]:
        raise AssertionError

    def __len__(self) -> int:
        raise AssertionError


def test_nothing_is_read_where_nothing_is_requested() -> None:
    """Without a URL the environment is not read."""
    AdobeClients(Unread(), [], ClockSkew(lambda: 0.0))


MISTAKES: dict[str, tuple[dict[str, str], list[str]]] = {
    "socks": ({"ALL_PROXY": f"socks5://me:{SECRET}@proxy:1080"}, ["ALL_PROXY"]),
    "nonsense": ({"https_proxy": f"http://me:{SECRET}@:x"}, ["https_proxy"]),
    "no such file": ({"SSL_CERT_FILE": "/nonexistent"}, ["SSL_CERT_FILE"]),
    "a folder": ({"SSL_CERT_FILE": "/"}, ["SSL_CERT_FILE"]),
    "an empty file": ({"SSL_CERT_FILE": "/dev/null"}, ["SSL_CERT_FILE"]),
    "no such folder": ({"SSL_CERT_DIR": "/nonexistent:/dev/null"}, ["SSL_CERT_DIR"]),
    "all": (
        {"ALL_PROXY": "socks4://x", "SSL_CERT_FILE": "/nonexistent", "SSL_CERT_DIR": "/nonexistent"},
        ["ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"],
    ),
}


def test_variables_that_cannot_be_used() -> None:
    """Every variable that is needed and can't be used is named in one error, without its value."""

    def check(case: tuple[dict[str, str], list[str]]) -> None:
        environment, named = case
        with pytest.raises(SettingsError) as raised:
            AdobeClients(environment, ["https://keys.invalid", "https://csm.invalid"], ClockSkew(lambda: 0.0))
        lines = str(raised.value).splitlines()
        assert [line.split()[0] for line in lines] == named
        assert SECRET not in str(raised.value)

    assert failing(MISTAKES, check) == {}
    with pytest.raises(SettingsError, match=r"for keys\.invalid and csm\.invalid: "):
        AdobeClients(MISTAKES["socks"][0], ["https://keys.invalid", "https://csm.invalid"], ClockSkew(lambda: 0.0))


def test_variables_without_effect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SSLKEYLOGFILE has no effect, whether it can be written or not, and httpx reads no variable by itself."""
    monkeypatch.setenv("ALL_PROXY", "socks5://x")
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
    for file in ("/nonexistent/keys", str(tmp_path / "keys")):
        monkeypatch.setenv("SSLKEYLOGFILE", file)
        asyncio.run(clients("https://keys.invalid", {"SSLKEYLOGFILE": file}).client("https://keys.invalid").close())
    assert not (tmp_path / "keys").exists()


def test_parts_of_no_proxy_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not understood in NO_PROXY is logged, if a proxy is used."""
    logged = LogCapture()
    monkeypatch.setattr(module, "_log", structlog.wrap_logger(None, processors=[logged]))
    clients("https://keys.invalid", {"NO_PROXY": "a..b"})
    assert logged.entries == []
    clients("https://keys.invalid", {"NO_PROXY": "a..b,corp", "HTTPS_PROXY": "http://x:1"})
    assert [entry["parts"] for entry in logged.entries] == [["a..b"]]


def test_the_clock_is_compared() -> None:
    """Each answer's date is compared with this machine's clock, also that of an error. No answer changes nothing."""
    now = 1_772_366_400.0
    skew = ClockSkew(lambda: 0.0)

    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/gone":
            raise httpx.ConnectError(SECRET)
        return httpx.Response(503, headers={"date": formatdate(now - 100, usegmt=True), "age": "40"})

    client = AdobeClient("https://keys.invalid", httpx.MockTransport(handle), skew, wall=lambda: now)

    async def ask(path: str) -> None:
        async with client.stream("HEAD", f"https://keys.invalid{path}", PATIENCE):
            pass

    with pytest.raises(NoAnswerError):
        asyncio.run(ask("/gone"))
    assert skew.value() is None
    asyncio.run(ask("/"))
    assert skew.value() == 59.5
