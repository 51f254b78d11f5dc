import asyncio
import contextlib
import gc
import threading
import weakref
from typing import Any

import pytest

from exporter.errors import OverloadedError, TooManyEventsError
from exporter.web import slow_reading
from exporter.web.body_budget import ClientGoneError
from exporter.web.slow_reading import SlowReading


class Client:
    """The client of a request whose body is complete."""

    def __init__(self) -> None:
        self.leave = asyncio.Event()

    async def receive(self) -> Any:
        """The message that the connection was closed."""
        await self.leave.wait()
        return {"type": "http.disconnect"}


def test_a_body_is_read() -> None:
    """The result of reading is returned, and an error that it raises is raised."""

    async def main() -> None:
        reading = SlowReading()
        assert await reading.run(Client().receive, lambda: 7) == 7
        with pytest.raises(ZeroDivisionError):
            await reading.run(Client().receive, lambda: 1 // 0)
        reading.close()

    asyncio.run(main())


class Tree:
    """What was read of a body until it turned out to be too large."""


def test_what_was_read_is_released_with_the_error() -> None:
    """An error of reading leaves nothing behind that only the garbage collector would find."""
    released: list[weakref.ref[Tree]] = []

    def read() -> None:
        tree = Tree()
        released.append(weakref.ref(tree))
        raise TooManyEventsError("too many")

    async def main() -> None:
        reading = SlowReading()
        with contextlib.suppress(TooManyEventsError):
            await reading.run(Client().receive, read)
        # Whatever the event loop and the thread had to do about it is done after another body.
        await reading.run(Client().receive, lambda: None)
        reading.close()

    gc.disable()
    try:
        asyncio.run(main())
        assert released[0]() is None
    finally:
        gc.enable()


def test_one_at_a_time_and_not_for_nobody() -> None:
    """One body is read at a time. A body whose sender left while it waited is not read at all."""

    async def main() -> None:
        reading = SlowReading()
        started, gate = threading.Event(), threading.Event()
        read: list[str] = []

        def first() -> None:
            started.set()
            gate.wait()
            read.append("first")

        clients = [Client() for _ in range(3)]
        tasks = [
            asyncio.create_task(reading.run(clients[0].receive, first)),
            asyncio.create_task(reading.run(clients[1].receive, lambda: read.append("second"))),
            asyncio.create_task(reading.run(clients[2].receive, lambda: read.append("third"))),
        ]
        await asyncio.to_thread(started.wait)
        clients[1].leave.set()
        with pytest.raises(ClientGoneError):
            await tasks[1]
        assert read == []
        gate.set()
        await asyncio.gather(tasks[0], tasks[2])
        assert read == ["first", "third"]
        reading.close()

    asyncio.run(main())


def test_a_body_that_waits_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that could not be read in time is refused, so that its sender sends it again."""
    monkeypatch.setattr(slow_reading, "TIMEOUT", 0.01)

    async def main() -> None:
        reading = SlowReading()
        gate = threading.Event()
        with pytest.raises(OverloadedError):
            await reading.run(Client().receive, gate.wait)
        gate.set()
        reading.close()

    asyncio.run(main())
