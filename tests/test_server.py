"""What the server asks of the system."""

import asyncio
import errno
import resource
import socket
from collections.abc import Callable

import pytest
import uvicorn
import uvloop
from starlette.types import Receive, Scope, Send

from exporter import server
from exporter.parsers import Address
from exporter.server import Server, listen, raise_file_limit


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
