"""What one client may cost a listener, tried over real connections with short deadlines."""

import asyncio
import contextlib
import functools
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvicorn
import uvloop
from starlette.types import Receive, Scope, Send

from exporter import server
from exporter.server import Server
from exporter.web import connection_pool, protocol
from exporter.web.connection_pool import ConnectionPool
from exporter.web.protocol import BoundedProtocol
from tests.web.certificates import certificate

REQUEST = b"GET /small HTTP/1.1\r\nHost: x\r\n\r\n"
LARGE = 4 * 1024 * 1024
GONE = (ConnectionError, ssl.SSLError)
"""What a client sees where the connection was closed."""


GAVE_UP = threading.Event()
"""Whether the application learned at /until-gone that its client had left."""


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the size of the body, or with LARGE bytes at /large, or after a while at /slow."""
    if scope["type"] != "http":
        return
    size, more = 0, True
    while more and scope["path"] != "/early":
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    if scope["path"] == "/slow":
        await asyncio.sleep(0.3)
    if scope["path"] == "/until-gone":
        while (await receive())["type"] != "http.disconnect":
            pass
        GAVE_UP.set()
        return
    body = bytes(LARGE) if scope["path"] == "/large" else f"{scope['method']} {size}".encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Serving:
    """A listener in a thread of its own, over TLS if there is a folder for its certificate."""

    def __init__(self, certificates: Path | None = None) -> None:
        self._client: ssl.SSLContext | None = None
        tls: ssl.SSLContext | None = None
        if certificates is not None:
            certificate(certificates, "listener")
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(certificates / "listener.crt", certificates / "listener.key")
            self._client = ssl.create_default_context(cafile=certificates / "listener.crt")
        self.refused = 0
        self.pool = ConnectionPool(self._count)
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.address = self._socket.getsockname()
        config = uvicorn.Config(
            application,
            http=functools.partial(BoundedProtocol, pool=self.pool),  # type: ignore[arg-type]
            loop="uvloop",
            lifespan="off",
            ws="none",
            log_config=None,
            timeout_keep_alive=1,
            timeout_graceful_shutdown=5,
        )
        self.server = Server(config, (lambda: tls) if tls is not None else None)
        self._thread = threading.Thread(target=self._run)
        self._loop: asyncio.AbstractEventLoop

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            self._loop = runner.get_loop()
            runner.run(self.server.serve(sockets=[self._socket]))

    def _count(self) -> None:
        self.refused += 1

    def __enter__(self) -> "Serving":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self._thread.join(20)

    def end(self) -> None:
        """Ask the listener to end, as a signal does."""
        self.server.should_exit = True
        self._loop.call_soon_threadsafe(self.pool.drain)

    def connect(self) -> socket.socket:
        """A new connection."""
        return self.begin_tls(self.connect_silently())

    @property
    def is_plain(self) -> bool:
        """Whether it speaks no TLS."""
        return self._client is None

    def begin_tls(self, connection: socket.socket) -> socket.socket:
        """The connection after its handshake, if there is one."""
        return connection if self._client is None else self._client.wrap_socket(connection, server_hostname="127.0.0.1")

    def connect_silently(self) -> socket.socket:
        """A new connection without a handshake."""
        return socket.create_connection(self.address, timeout=20)

    def stall(self) -> threading.Event:
        """Let the event loop stand still until the event is set."""
        gate, stands_still = threading.Event(), threading.Event()

        def wait() -> None:
            stands_still.set()
            gate.wait(60)

        self._loop.call_soon_threadsafe(wait)
        stands_still.wait(60)
        return gate

    @property
    def connections(self) -> int:
        """How many the listener has."""
        return len(self.server.server_state.connections)


def answers(connection: socket.socket, count: int = 1) -> bytes:
    """What arrives until so many answers began and ended, or the connection was closed."""
    found = b""
    with contextlib.suppress(*GONE):
        while found.count(b"HTTP/1.1 ") < count or not found.endswith((b"0", b"1", b"2", b"3", b"4", b"5", b".")):
            part = connection.recv(65536)
            if not part:
                break
            found += part
    return found


def is_closed(connection: socket.socket) -> bool:
    """Wait until the other end closes the connection, and read what it still sent."""
    with contextlib.suppress(*GONE):
        while connection.recv(1 << 20):
            pass
    return True


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@pytest.fixture(params=["plain", "tls"])
def serving(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Serving]:
    """A listener whose deadlines are short, without and with TLS."""
    monkeypatch.setattr(protocol, "REQUEST_DEADLINE", 1.0)
    monkeypatch.setattr(protocol, "ANSWER_DEADLINE", 1.0)
    with Serving(tmp_path if request.param == "tls" else None) as made:
        yield made


def test_a_line_break_does_not_keep_a_connection(serving: Serving) -> None:
    """After an answer, bytes that begin no request do not stop the keep-alive time."""
    with serving.connect() as connection:
        connection.sendall(REQUEST)
        assert b"200" in answers(connection)
        connection.sendall(b"\r\n")
        assert is_closed(connection)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\r\n",
        b"G",
        b"GET / HTTP/1.1\r\nHost: x\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nTrailer: ",
        b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab",
    ],
    ids=["nothing", "line-break", "one-letter", "half-a-head", "half-a-body", "half-a-trailer", "answered-early"],
)
def test_a_request_that_never_completes_is_closed(serving: Serving, sent: bytes) -> None:
    """A connection that goes silent in the middle of a request is closed, wherever that is."""
    with serving.connect() as connection:
        connection.sendall(sent)
        assert is_closed(connection)
    until(lambda: serving.connections == 0)


def test_a_request_that_trickles_is_closed(serving: Serving) -> None:
    """Bytes that keep coming do not extend the deadline of their request."""
    with serving.connect() as connection:
        started = time.monotonic()
        with contextlib.suppress(*GONE):
            connection.sendall(b"GET / HTTP/1.1\r\n")
            while time.monotonic() - started < 30:
                connection.sendall(b"a: b\r\n")
                time.sleep(0.1)
        assert time.monotonic() - started < 25


def test_an_unread_answer_is_given_up(serving: Serving) -> None:
    """A client that does not read a large answer is closed, and so is one that asks for more of them at once."""
    with serving.connect() as one, serving.connect() as many:
        one.sendall(REQUEST.replace(b"small", b"large"))
        many.sendall(REQUEST.replace(b"small", b"large") * 10)
        until(lambda: serving.connections > 0)
        until(lambda: serving.connections == 0)


def test_an_unread_answer_of_a_connection_that_ends_is_given_up(serving: Serving) -> None:
    """`Connection: close` does not keep a connection whose answer nobody reads."""
    with serving.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        until(lambda: serving.connections > 0)
        until(lambda: serving.connections == 0)


def test_unread_answers_are_bounded_together(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond MAX_UNREAD the oldest unread answers are given up, long before their deadline."""
    monkeypatch.setattr(protocol, "ANSWER_DEADLINE", 60.0)
    monkeypatch.setattr(connection_pool, "MAX_UNREAD", LARGE)
    with contextlib.ExitStack() as opened:
        connections = [opened.enter_context(serving.connect()) for _ in range(8)]
        until(lambda: serving.connections == 8)
        for connection in connections:
            connection.sendall(REQUEST.replace(b"small", b"large"))
        until(lambda: serving.connections < 8)
        assert b"200" in connections[-1].recv(100)
        assert is_closed(connections[0])
    until(lambda: serving.connections == 0)


def test_a_slow_reader_gets_its_answer(serving: Serving) -> None:
    """An answer that is read within the deadline arrives whole."""
    with serving.connect() as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        found = 0
        while part := connection.recv(1 << 20):
            found += len(part)
            time.sleep(0.01)
        assert found > LARGE


def test_connect_is_answered_and_closed(serving: Serving) -> None:
    """CONNECT gets one 400, and nothing that follows it is looked at."""
    with serving.connect() as connection:
        with contextlib.suppress(*GONE):
            connection.sendall(b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n" * 300)
        assert answers(connection).count(b"HTTP/1.1 ") == 1


def offer(method: bytes = b"POST", body: bytes = b"12345") -> bytes:
    """A request that offers HTTP/2, as some clients do with each first request."""
    return (
        method + b" / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAMAAABkAAQAAP__\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )


@pytest.mark.parametrize("size", [1, 5, 40, 10_000])
def test_an_offer_to_upgrade_costs_nothing(serving: Serving, size: int) -> None:
    """A request that offers an upgrade is served as usual, however it is cut into packets, and its connection ends."""
    request = offer(body=b"x" * 20_000)
    with serving.connect() as connection:
        for start in range(0, len(request), size) if size > 1 else (*range(300), 300):
            connection.sendall(request[start:] if start == 300 and size == 1 else request[start : start + size])
        found = answers(connection)
        assert b"POST 20000" in found
        assert b"connection: close" in found
        assert is_closed(connection)


def test_a_pipeline_of_offers_is_cut_short(serving: Serving) -> None:
    """Only the first of many offers to upgrade is served."""
    with serving.connect() as connection:
        with contextlib.suppress(*GONE):
            connection.sendall(offer() * 300)
        assert answers(connection, 2).count(b"HTTP/1.1 ") == 1
        assert is_closed(connection)


def head(size: int) -> bytes:
    """The head of a request, of about so many bytes in headers."""
    return b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"h%d: %s\r\n" % (n, b"a" * 990) for n in range(size // 1000))


OVERSIZED = {
    "headers": head(40_000) + b"\r\n",
    "one-header": b"GET / HTTP/1.1\r\nHost: x\r\nh: " + b"a" * 40_000 + b"\r\n\r\n",
    "target": b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "trailers": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"
    + b"".join(b"t%d: %s\r\n" % (n, b"a" * 990) for n in range(60))
    + b"\r\n",
    "one-trailer": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nt: "
    + b"a" * 100_000,
    "chunk-extensions": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;e=" + b"a" * 100_000,
    "credit-of-chunks": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"1\r\na\r\n" * 50_000
    + b"0\r\nt: "
    + b"a" * 100_000,
    "many-headers": b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 150 + b"\r\n",
}


@pytest.mark.parametrize("size", [1 << 20, 1000])
@pytest.mark.parametrize("kind", OVERSIZED)
def test_head_and_trailers_are_bounded(serving: Serving, kind: str, size: int) -> None:
    """What is not body is bounded, in one packet and in many."""
    request = OVERSIZED[kind]
    with serving.connect() as connection:
        with contextlib.suppress(*GONE):
            for start in range(0, len(request), size):
                connection.sendall(request[start : start + size])
        with contextlib.suppress(*GONE):
            assert b"HTTP/1.1 200" not in answers(connection)


def test_a_large_trailer_does_not_hold_up_others(serving: Serving) -> None:
    """A trailer without end is cut off early, so that no processor time goes into it."""
    with serving.connect() as connection:
        sent = 0
        with contextlib.suppress(*GONE):
            connection.sendall(OVERSIZED["one-trailer"])
            for _ in range(40):
                connection.sendall(b"a" * (1 << 20))
                sent += 1 << 20
        assert sent < 16 << 20
    with serving.connect() as connection:
        connection.sendall(REQUEST)
        assert b"200" in answers(connection)


@pytest.mark.parametrize("chunk", [1, 7, 1000, 100_000])
def test_bodies_in_chunks_are_taken(serving: Serving, chunk: int) -> None:
    """A body of many chunks arrives whole, however small they are."""
    size = 200_000 if chunk > 1 else 50_000
    body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in _parts(b"x" * size, chunk))
    with serving.connect() as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n")
        assert b"POST %d" % size in answers(connection)


def _parts(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def test_a_pipeline_of_usual_requests_is_served(serving: Serving) -> None:
    """Requests in one packet are answered in their order."""
    body = b"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    with serving.connect() as connection:
        connection.sendall(b"".join(body % size + b"x" * size for size in (1, 20_000, 3)))
        found = answers(connection, 3)
        assert [found.index(b"POST %d" % size) for size in (1, 20_000, 3)] == sorted(
            found.index(b"POST %d" % size) for size in (1, 20_000, 3)
        )


def test_one_connection_too_many_takes_the_place_of_one_that_waits(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Strangers who only hold connections keep nobody out, and each closed connection is counted."""
    monkeypatch.setattr(connection_pool, "MAX_CONNECTIONS", 8)
    with contextlib.ExitStack() as opened:
        idle = [opened.enter_context(serving.connect()) for _ in range(20)]
        until(lambda: serving.refused >= 12)
        connection = opened.enter_context(serving.connect())
        connection.sendall(REQUEST)
        assert b"200" in answers(connection)
        assert is_closed(idle[0])
    assert serving.refused >= 12


def test_half_requests_keep_nobody_out(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections in the middle of a request, or with an answer that nobody reads, give way to a new one."""
    monkeypatch.setattr(connection_pool, "MAX_CONNECTIONS", 8)
    monkeypatch.setattr(protocol, "REQUEST_DEADLINE", 60.0)
    monkeypatch.setattr(protocol, "ANSWER_DEADLINE", 60.0)
    half = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab"
    with contextlib.ExitStack() as opened:
        for sent in (half, REQUEST.replace(b"small", b"large") * 2, REQUEST.replace(b"small", b"until-gone")):
            for _ in range(8):
                with contextlib.suppress(*GONE):
                    opened.enter_context(serving.connect()).sendall(sent)
        connection = opened.enter_context(serving.connect())
        connection.sendall(REQUEST)
        assert b"200" in answers(connection)


def test_a_request_that_is_worked_on_is_not_given_up(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole delivery keeps its connection until it is answered, however many connections come."""
    monkeypatch.setattr(connection_pool, "MAX_CONNECTIONS", 2)
    with contextlib.ExitStack() as opened:
        connection = opened.enter_context(serving.connect())
        connection.sendall(b"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab")
        until(lambda: bool(serving.server.server_state.tasks))
        for _ in range(8):
            with contextlib.suppress(*GONE):
                opened.enter_context(serving.connect())
        assert b"200" in answers(connection)


@pytest.mark.parametrize(
    "garbage",
    [b"ahoy\r\n\r\n", b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
    ids=["garbage", "connect", "http2"],
)
def test_what_can_not_be_read_is_refused_in_its_turn(serving: Serving, garbage: bytes) -> None:
    """It is answered with 400, but never in place of the answer to a request before it."""
    with serving.connect() as connection:
        connection.sendall(garbage)
        assert answers(connection).startswith(b"HTTP/1.1 400")
        assert is_closed(connection)
    with serving.connect() as connection:
        connection.sendall(REQUEST.replace(b"small", b"slow") + garbage)
        found = answers(connection)
        assert found.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in found
        assert is_closed(connection)


def test_a_body_that_can_not_be_read_ends_its_request(serving: Serving) -> None:
    """A chunk without a size is answered with 400, and the application learns that nobody waits."""
    with serving.connect() as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nnone\r\n")
        assert answers(connection).startswith(b"HTTP/1.1 400")
    until(lambda: not serving.server.server_state.tasks)


@pytest.mark.parametrize("behind", [b"", REQUEST], ids=["alone", "with-another-behind"])
def test_a_client_that_leaves_is_noticed(serving: Serving, behind: bytes) -> None:
    """The application learns that its client has left, also where another request waits for its turn."""
    GAVE_UP.clear()
    with serving.connect() as connection:
        connection.sendall(REQUEST.replace(b"small", b"until-gone") + behind)
        until(lambda: bool(serving.server.server_state.tasks))
    assert GAVE_UP.wait(20)
    until(lambda: not serving.server.server_state.tasks)


def test_nothing_is_written_to_a_client_that_left(serving: Serving, caplog: pytest.LogCaptureFixture) -> None:
    """A client that leaves in the middle of a large answer ends it, and leaves no trace in the log."""
    for _ in range(5):
        with serving.connect() as connection:
            connection.sendall(REQUEST.replace(b"small", b"large"))
            connection.recv(1)
            if isinstance(connection, ssl.SSLSocket):
                # The client's half of TLS ends, and its connection goes on for a while.
                connection.setblocking(False)
                with contextlib.suppress(ssl.SSLError):
                    connection.unwrap()
                until(lambda: not serving.server.server_state.tasks)
    until(lambda: not serving.server.server_state.tasks)
    assert caplog.records == []


def test_half_a_close_gives_the_request_up(serving: Serving) -> None:
    """A client that closes its half of the connection has left."""
    GAVE_UP.clear()
    with serving.connect() as connection:
        connection.sendall(REQUEST.replace(b"small", b"until-gone"))
        until(lambda: bool(serving.server.server_state.tasks))
        connection.shutdown(socket.SHUT_WR)
        assert GAVE_UP.wait(20)
        assert is_closed(connection)


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_an_early_answer_is_not_lost(serving: Serving, version: bytes) -> None:
    """Where the connection closes after an answer that came before the body, the body is still taken."""
    body = b"x" * LARGE
    head = b"POST /early HTTP/%s\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (version, len(body))
    with serving.connect() as connection:
        connection.sendall(head + body)
        assert b"HTTP/1.1 200" in answers(connection)
        assert is_closed(connection)


def test_expect_continue(serving: Serving) -> None:
    """The body is asked for where the application reads it, and only there."""
    with serving.connect() as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 Continue")
        connection.sendall(b"ab")
        assert b"POST 2" in answers(connection)
        connection.sendall(b"POST /early HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert answers(connection).startswith(b"HTTP/1.1 200")
        assert is_closed(connection)


def test_a_stalled_listener_reads_before_it_closes(serving: Serving) -> None:
    """A request that arrived while the event loop stood still is answered, though its time is over."""
    with serving.connect() as connection:
        connection.sendall(REQUEST)
        answers(connection)
        gate = serving.stall()
        connection.sendall(REQUEST)
        # Longer than the keep-alive time of this listener.
        time.sleep(1.5)
        gate.set()
        assert b"200" in answers(connection)


def test_handshakes_are_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Connections without a handshake are closed, the oldest first, and others get through."""
    monkeypatch.setattr(server, "_MAX_HANDSHAKES", 4)
    with Serving(tmp_path) as serving, contextlib.ExitStack() as opened:
        silent = [opened.enter_context(serving.connect_silently()) for _ in range(20)]
        connection = opened.enter_context(serving.connect())
        connection.sendall(REQUEST)
        assert b"200" in answers(connection)
        assert is_closed(silent[0])


def test_a_handshake_that_never_ends_is_closed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A connection without a handshake is closed after REQUEST_DEADLINE, and so is one that speaks no TLS."""
    monkeypatch.setattr(server, "REQUEST_DEADLINE", 0.5)
    with Serving(tmp_path) as serving, serving.connect_silently() as silent, serving.connect_silently() as plain:
        plain.sendall(REQUEST)
        assert is_closed(plain)
        assert is_closed(silent)


def test_requests_that_were_sent_are_answered_at_the_end() -> None:
    """Requests that reached this machine before the end are answered with `Connection: close`."""
    with contextlib.ExitStack() as opened:
        serving = opened.enter_context(Serving())
        warm = [opened.enter_context(serving.connect()) for _ in range(20)]
        for connection in warm:
            connection.sendall(REQUEST)
            answers(connection)
        fresh = [opened.enter_context(serving.connect()) for _ in range(20)]
        under_way = opened.enter_context(serving.connect())
        under_way.sendall(REQUEST.replace(b"small", b"slow"))
        arriving = opened.enter_context(serving.connect())
        arriving.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12")
        until(lambda: serving.connections >= 42)
        serving.end()
        for connection in (*warm, *fresh):
            connection.sendall(REQUEST)
        arriving.sendall(b"345")
        for connection in (*warm, *fresh, under_way, arriving):
            found = answers(connection)
            assert b"HTTP/1.1 200" in found
            assert b"connection: close" in found
            assert is_closed(connection)


def test_connections_that_nobody_accepted_yet_are_answered_at_the_end(serving: Serving) -> None:
    """Requests on connections that only the kernel has seen when the end begins are answered."""
    gate = serving.stall()
    serving.end()
    with contextlib.ExitStack() as opened:
        # A handshake needs the listener's thread.
        connections = [opened.enter_context(serving.connect_silently()) for _ in range(100)]
        if serving.is_plain:
            for connection in connections:
                connection.sendall(REQUEST)
        gate.set()
        if not serving.is_plain:
            connections = [opened.enter_context(serving.begin_tls(each)) for each in connections[:20]]
            for connection in connections:
                connection.sendall(REQUEST)
        for connection in connections:
            found = answers(connection)
            assert b"HTTP/1.1 200" in found
            assert b"connection: close" in found
