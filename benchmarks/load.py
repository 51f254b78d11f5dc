"""A client that loads a server with prepared requests: a process of its own, so that it measures and is not measured.

Each connection sends its next request when it has the answer to the last one, or at its next tick. Requests are bytes
made beforehand, and answers are looked at only for their status and length, so that the client costs as little as can
be.
"""

import asyncio
import multiprocessing
import statistics
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import uvloop


@dataclass(slots=True)
class Load:
    """What came of it; times in seconds."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    refused: int = 0

    @property
    def per_second(self) -> float:
        """Answers per second, all of which were 2xx."""
        if self.refused:
            raise RuntimeError(f"{self.refused} of {len(self.latencies)} requests were refused")
        return len(self.latencies) / self.seconds

    def percentile(self, percent: int) -> float:
        """That of the latencies."""
        return statistics.quantiles(self.latencies, n=100)[percent - 1]


class _Connection(asyncio.Protocol):
    def __init__(self, requests: deque[bytes], load: Load, done: asyncio.Future[None], pause: float) -> None:
        self._requests = requests
        self._load = load
        self._done = done
        self._pause = pause
        self._answer = b""
        self._sent_at = 0.0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is one in all but its class.
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def _send(self) -> None:
        if not self._requests:
            self._done.set_result(None)
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(self._requests.popleft())

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, end, body = self._answer.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if not end or (length and len(body) < int(length)):
            return
        took = time.perf_counter() - self._sent_at
        self._load.latencies.append(took)
        self._load.refused += head[9:10] != b"2"
        self._answer = b""
        if self._pause:
            asyncio.get_running_loop().call_later(max(0.0, self._pause - took), self._send)
        else:
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(exc or ConnectionError("the server closed the connection"))


async def run(port: int, requests: Sequence[bytes], connections: int, pause: float) -> Load:
    """Send all requests over so many connections; what came of it. See `send`."""
    load = Load()
    waiting = deque(requests)
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    ends: list[asyncio.Future[None]] = []
    for _ in range(connections):
        end: asyncio.Future[None] = loop.create_future()
        ends.append(end)
        connection = _Connection(waiting, load, end, pause)
        await loop.create_connection(lambda connection=connection: connection, "127.0.0.1", port)  # type: ignore[misc]
        await asyncio.sleep(pause / connections)
    await asyncio.gather(*ends)
    load.seconds = time.perf_counter() - started
    return load


def _work(port: int, requests: Sequence[bytes], connections: int, pause: float) -> Load:
    return uvloop.run(run(port, requests, connections, pause))


def send(port: int, requests: Sequence[bytes], connections: int, pause: float = 0.0) -> Load:
    """Send all requests over so many connections, from another process; what came of it.

    `pause`: seconds from one request of a connection to its next; 0 sends as fast as answers come.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_work, (port, requests, connections, pause))


def request(body: bytes, headers: dict[str, str]) -> bytes:
    """A delivery as bytes."""
    lines = ["POST /webhook HTTP/1.1", "host: 127.0.0.1", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
