"""A client that loads a server with prepared requests: a process of its own, so that it measures and is not measured.

Each connection sends its next request when it has the answer to the last one. Requests are bytes made beforehand, and
answers are looked at only for their status and length, so that the client costs as little as can be.
"""

import asyncio
import multiprocessing
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
    statuses: dict[int, int] = field(default_factory=dict)

    @property
    def per_second(self) -> float:
        """Answers per second."""
        return len(self.latencies) / self.seconds


class _Connection(asyncio.Protocol):
    def __init__(self, requests: deque[bytes], load: Load, done: asyncio.Future[None]) -> None:
        self._requests = requests
        self._load = load
        self._done = done
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
        if not end:
            return
        status = int(head[9:12])
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if length and len(body) < int(length):
            return
        self._load.latencies.append(time.perf_counter() - self._sent_at)
        self._load.statuses[status] = self._load.statuses.get(status, 0) + 1
        self._answer = b""
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(exc or ConnectionError("the server closed the connection"))


async def _run(port: int, requests: Sequence[bytes], connections: int) -> Load:
    load = Load()
    waiting = deque(requests)
    loop = asyncio.get_running_loop()
    ends = [loop.create_future() for _ in range(connections)]
    started = time.perf_counter()
    for end in ends:
        await loop.create_connection(lambda end=end: _Connection(waiting, load, end), "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.gather(*ends)
    load.seconds = time.perf_counter() - started
    return load


def _work(port: int, requests: Sequence[bytes], connections: int) -> Load:
    return uvloop.run(_run(port, requests, connections))


def load(port: int, requests: Sequence[bytes], connections: int) -> Load:
    """Send all requests over so many connections, from another process; what came of it."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_work, (port, requests, connections))


def request(path: str, body: bytes, headers: dict[str, str]) -> bytes:
    """A POST as bytes."""
    lines = [f"POST {path} HTTP/1.1", "host: 127.0.0.1", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
