"""What the server asks of the system."""

import asyncio
import contextlib
import errno
import resource
import socket
from collections.abc import Callable

import pytest
import uvicorn
import uvloop
from starlette.types import Receive, Scope, Send

from exporter import parsers, server
from exporter.errors import CannotListenError
from exporter.parsers import Address
from exporter.server import Server, listen, raise_file_limit
from tests.system.processes import cannot_run, free_port


@pytest.mark.parametrize(
    ("soft", "hard", "wanted"),
    [
        (1024, 524_288, (4096, 524_288)),
        (256, 2000, (2000, 2000)),
        (1024, resource.RLIM_INFINITY, (4096, resource.RLIM_INFINITY)),
        (100_000, 100_000, None),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, None),
    ],
)
def test_the_limit_of_open_files(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, wanted: tuple[int, int] | None
) -> None:
    """A low limit of open files is raised as far as the system lets it, and a high one stays."""
    asked: list[tuple[int, tuple[int, int]]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limits: asked.append((kind, limits)))
    raise_file_limit()
    assert asked == ([] if wanted is None else [(resource.RLIMIT_NOFILE, wanted)])


class Full(socket.socket):
    """A listening socket of a process without room for another connection, until it has."""

    refusals = 3

    def accept(self) -> tuple[socket.socket, object]:
        """Refuse a few times."""
        if self.refusals:
            self.refusals -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_no_room_for_a_connection(
    monkeypatch: pytest.MonkeyPatch, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """A connection that can't be accepted for want of room waits, and is answered once there is room."""
    monkeypatch.setattr(server, "_ACCEPT_PAUSE", 0.01)

    async def hello(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async def story() -> bytes:
        opened = listen(Address("127.0.0.1", 0), "--web.listen-address")
        listening = Full(fileno=opened.detach())
        serving = Server(uvicorn.Config(hello, lifespan="off", ws="none", log_config=None))
        task = asyncio.create_task(serving.serve(sockets=[listening]))
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        found = await reader.read()
        writer.close()
        serving.should_exit = True
        await task
        assert listening.refusals == 0
        return found

    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(asyncio.wait_for(story(), 60)).startswith(b"HTTP/1.1 200")


def needs_ipv6() -> None:
    """Skip the test where this machine has no IPv6. In CI fail it."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return
    except OSError:
        cannot_run("this machine has no IPv6")


def families(listening: socket.socket) -> set[str]:
    """The loopback addresses at which a listening socket is reached."""
    reached = set()
    for host in ("127.0.0.1", "::1"):
        with contextlib.suppress(OSError), socket.create_connection((host, listening.getsockname()[1]), timeout=60):
            reached.add(host)
    return reached


@pytest.mark.parametrize(
    ("text", "reached"),
    [
        (":0", {"127.0.0.1", "::1"}),
        ("[::]:0", {"127.0.0.1", "::1"}),
        ("[0::0]:0", {"127.0.0.1", "::1"}),
        ("0.0.0.0:0", {"127.0.0.1"}),
        ("127.0.0.1:0", {"127.0.0.1"}),
        ("[::ffff:127.0.0.1]:0", {"127.0.0.1"}),
        ("localhost:0", {"127.0.0.1"}),
        ("[::1]:0", {"::1"}),
        ("[::1%lo]:0", {"::1"}),
    ],
)
def test_where_it_listens(text: str, reached: set[str]) -> None:
    """Every address of the machine is every one of IPv4 and IPv6. Any other address is that of its family."""
    needs_ipv6()
    with listen(parsers.address(text), "--web.listen-address") as listening:
        assert families(listening) == reached


@pytest.mark.parametrize("text", [":0", "[::]:0"])
def test_a_machine_without_ipv6(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Without IPv6, every address of the machine is every one of IPv4."""
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    with listen(parsers.address(text), "--web.listen-address") as listening:
        assert listening.family == socket.AF_INET
        assert families(listening) == {"127.0.0.1"}


def test_a_name_of_ipv6_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name without an address of IPv4 is listened on by its address of IPv6."""
    needs_ipv6()
    resolve = socket.getaddrinfo
    with monkeypatch.context() as patched:
        patched.setattr(socket, "getaddrinfo", lambda _host, port, **options: resolve("::1", port, **options))
        opened = listen(Address("ipv6.example", 0), "--web.listen-address")
    with opened as listening:
        assert families(listening) == {"::1"}


@pytest.mark.parametrize("host", ["192.0.2.1", "fe80::1%none0", "none.invalid", "x" * 64 + ".example", "a..b"])
def test_where_it_can_not_listen(host: str) -> None:
    """A foreign address, an interface or a name that does not exist, and what is no name are refused with the flag."""
    with pytest.raises(CannotListenError, match=r"can't listen on .*: choose another address with --flag"):
        listen(Address(host, 0), "--flag")


@pytest.mark.parametrize(("one", "other"), [(":{}", "0.0.0.0:{}"), ("[::]:{}", "127.0.0.1:{}")])
def test_overlapping_addresses_can_not_be_listened_on(one: str, other: str) -> None:
    """Two addresses that are said to overlap can't be listened on at the same time."""
    needs_ipv6()
    port = free_port()
    with listen(parsers.address(one.format(port)), "--flag"), pytest.raises(CannotListenError):
        listen(parsers.address(other.format(port)), "--flag")
