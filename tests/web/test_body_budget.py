import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from exporter.errors import BodyTooLargeError, OverloadedError
from exporter.web.body_budget import BodyBudget, ClientGoneError, read_body


def received(*chunks: bytes, headers: dict[bytes, bytes] | None = None, limit: int = 10, budget: int = 100) -> bytes:
    """The body that is read of a request that arrives in these chunks."""
    messages: Iterator[Any] = iter(
        [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
        + [{"type": "http.request"}, {"type": "http.disconnect"}]
    )

    async def receive() -> Any:
        return next(messages)

    async def read() -> bytes:
        async with BodyBudget(lambda: 0.0, budget).reserve(None) as reservation:
            reservation.accept_sender()
            return await read_body(headers or {}, receive, reservation, limit)

    return asyncio.run(read())


def test_a_body_in_chunks() -> None:
    """Chunks are joined. A body may have as many bytes as are allowed."""
    assert received() == b""
    assert received(b"12345", b"", b"67890") == b"1234567890"


@pytest.mark.parametrize("length", [b"11", b"9" * 5000, b"0" * 19], ids=["11", "5000 digits", "19 zeros"])
def test_a_declared_length(length: bytes) -> None:
    """A body that is declared too large is refused before any of it is received."""
    with pytest.raises(BodyTooLargeError):
        received(headers={b"content-length": length})


@pytest.mark.parametrize("length", [b"", b"-1", b"x", b"10"])
def test_an_undeclared_length(length: bytes) -> None:
    """A body is refused once it turns out to be too large, whatever length was declared."""
    with pytest.raises(BodyTooLargeError):
        received(b"12345", b"123456", headers={b"content-length": length})


def test_a_client_that_leaves() -> None:
    """A connection that is closed before the body is complete raises an error of its own."""

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def read() -> None:
        async with BodyBudget(lambda: 0.0).reserve(None) as reservation:
            with pytest.raises(ClientGoneError):
                await read_body({}, receive, reservation, 10)

    asyncio.run(read())


def test_a_body_beyond_the_budget() -> None:
    """A body that alone exceeds the budget is refused."""
    with pytest.raises(OverloadedError):
        received(b"12345", b"678", budget=7)


class Room:
    """A budget of 100 bytes with a clock, and bodies that take bytes of it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.budget = BodyBudget(lambda: self.now, 100)
        self.refused: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def take(self, name: str, size: int, *, proven: bool = False, kept: bool = False) -> asyncio.Event:
        """Take bytes for a body, and hold them until the event is set or the body is given up."""
        release = asyncio.Event()

        async def hold() -> None:
            try:
                async with self.budget.reserve(None) as reservation:
                    if proven:
                        reservation.accept_sender()
                    reservation.extend(size)
                    if kept:
                        reservation.protect()
                    await release.wait()
            except OverloadedError:
                self.refused.append(name)

        self._tasks.append(asyncio.create_task(hold()))
        await self.settle()
        return release

    async def settle(self) -> None:
        """Let all tasks run as far as they can."""
        for _ in range(10):
            await asyncio.sleep(0)
        self.now += 1

    async def close(self) -> None:
        """End all bodies. Their bytes are free again."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        async with self.budget.reserve(None) as reservation:
            reservation.accept_sender()
            reservation.extend(100)


def play(story: Callable[[Room], Awaitable[None]]) -> list[str]:
    """Run a story, and return the names of the bodies that were refused, in order."""

    async def main() -> list[str]:
        room = Room()
        await story(room)
        refused = list(room.refused)
        await room.close()
        return refused

    return asyncio.run(main())


def test_unproven_senders_have_half() -> None:
    """Senders that have proven nothing have half of the budget. What took most for longest is given up."""

    async def story(room: Room) -> None:
        for number in range(5):
            await room.take(f"stranger {number}", 10)
        await room.take("new", 10)
        await room.take("another", 15)

    assert play(story) == ["stranger 0", "stranger 1", "stranger 2"]


def test_the_largest_is_given_up() -> None:
    """A small body is not given up for a large one that is as old."""

    async def story(room: Room) -> None:
        await room.take("small", 5)
        await room.take("large", 40)
        await room.settle()
        await room.take("new", 10)

    assert play(story) == ["large"]


def test_unproven_senders_go_first() -> None:
    """Where the whole budget is used up, senders that have proven nothing are given up before others."""

    async def story(room: Room) -> None:
        await room.take("proven", 60, proven=True)
        await room.take("stranger", 40)
        await room.take("proven too", 30, proven=True)

    assert play(story) == ["stranger"]


def test_verified_bodies_stay() -> None:
    """A body that was verified is not given up. Where nothing else can be, the new one is refused."""

    async def story(room: Room) -> None:
        await room.take("verified", 90, proven=True, kept=True)
        await room.take("new", 20)
        await room.take("new and proven", 20, proven=True)

    assert play(story) == ["new", "new and proven"]


def test_released_room_is_used_again() -> None:
    """The bytes of a body are free when it ends."""

    async def story(room: Room) -> None:
        release = await room.take("first", 100, proven=True, kept=True)
        release.set()
        await room.settle()
        await room.take("second", 100, proven=True)

    assert play(story) == []


def test_a_body_that_was_given_up_takes_nothing_more() -> None:
    """A body that was given up gets no bytes and can't be kept, even before its task was woken."""

    async def main() -> None:
        budget = BodyBudget(lambda: 0.0, 100)
        async with budget.reserve(None) as reservation:
            reservation.extend(10)
            reservation.give_up()
            with pytest.raises(OverloadedError):
                reservation.protect()
            reservation.extend(1)

    with pytest.raises(OverloadedError):
        asyncio.run(main())


@pytest.mark.parametrize(("seconds", "is_proven"), [(0, True), (10, True), (11, False)])
def test_a_connection_that_has_proven_itself(seconds: int, is_proven: bool) -> None:
    """After a verified delivery its connection counts as proven for ten seconds, and no other connection does."""

    async def main() -> None:
        now = [0.0]
        budget = BodyBudget(lambda: now[0], 100)
        async with budget.reserve(("127.0.0.1", 1)) as reservation:
            reservation.prove_connection()
        now[0] += seconds
        async with budget.reserve(("127.0.0.1", 1)) as reservation:
            assert reservation.is_proven is is_proven
            reservation.disprove_connection()
        for other in (("127.0.0.1", 1), ("127.0.0.1", 2), None):
            async with budget.reserve(other) as reservation:
                assert not reservation.is_proven

    asyncio.run(main())
