"""Scrapes at the same time share their work, tried with renderings that a test holds back."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from exporter.errors import DefectError, NotCaughtUpError
from exporter.web import rendering
from exporter.web.rendering import Renderings


class Bodies:
    """Makes the bodies `0`, `1`, ..., each once `let` allows it."""

    def __init__(self) -> None:
        self.begun = 0
        self.ended = 0
        self.gate = asyncio.Semaphore(0)

    async def make(self, _kind: str, _asked_at: float) -> bytes:
        """A body with its number."""
        number = self.begun
        self.begun += 1
        try:
            await self.gate.acquire()
        finally:
            self.ended += 1
        return str(number).encode()

    def let(self, count: int) -> None:
        """Allow so many bodies."""
        for _ in range(count):
            self.gate.release()


async def turns(count: int = 10) -> None:
    """Let everything that can go on go on."""
    for _ in range(count):
        await asyncio.sleep(0)


def story(tell: Callable[[Bodies, Renderings[str]], Awaitable[Any]]) -> Any:
    """Run a test in an event loop."""

    async def run() -> Any:
        bodies = Bodies()
        return await tell(bodies, Renderings(bodies.make))

    return asyncio.run(run())


def test_scrapes_at_the_same_time_get_one_body() -> None:
    """Any number of scrapes that come before a rendering begins share it."""

    async def tell(bodies: Bodies, renderings: Renderings[str]) -> list[bytes]:
        bodies.let(1)
        return await asyncio.gather(*(renderings.get("a") for _ in range(300)))

    bodies = story(tell)
    assert set(bodies) == {b"0"}
    assert all(each is bodies[0] for each in bodies)


def test_a_rendering_that_has_begun_is_not_joined() -> None:
    """Scrapes that come after a rendering began share the next one, so that they never see less than was shown."""

    async def tell(bodies: Bodies, renderings: Renderings[str]) -> tuple[bytes, list[bytes], int]:
        first = asyncio.create_task(renderings.get("a"))
        await turns()
        others = [asyncio.create_task(renderings.get("a")) for _ in range(50)]
        await turns()
        begun = bodies.begun
        bodies.let(2)
        return await first, await asyncio.gather(*others), begun

    first, others, begun = story(tell)
    assert (first, set(others), begun) == (b"0", {b"1"}, 1)


def test_kinds_are_rendered_apart() -> None:
    """A scrape that asks for something else does not wait for its turn."""

    async def tell(bodies: Bodies, renderings: Renderings[str]) -> int:
        scrapes = [asyncio.create_task(renderings.get(kind)) for kind in "abc"]
        await turns()
        begun = bodies.begun
        bodies.let(3)
        await asyncio.gather(*scrapes)
        return begun

    assert story(tell) == 3


def test_work_that_nobody_waits_for_is_dropped() -> None:
    """Scrapes that were given up, before or after their rendering began, leave nothing to do."""

    async def tell(bodies: Bodies, renderings: Renderings[str]) -> tuple[bytes, int]:
        for _ in range(100):
            scrapes = [asyncio.create_task(renderings.get("a")) for _ in range(3)]
            await turns()
            scrapes += [asyncio.create_task(renderings.get("a")) for _ in range(3)]
            await turns()
            for scrape in scrapes:
                scrape.cancel()
            await turns()
            assert bodies.begun == bodies.ended
        bodies.let(1)
        return await renderings.get("a"), bodies.begun

    body, begun = story(tell)
    assert body == b"100"
    assert begun == 101


def test_one_that_waits_keeps_the_rendering() -> None:
    """A scrape gets its body though the others that shared it were given up, the first of them included."""

    async def tell(bodies: Bodies, renderings: Renderings[str]) -> bytes:
        scrapes = [asyncio.create_task(renderings.get("a")) for _ in range(5)]
        await turns()
        for scrape in scrapes[:4]:
            scrape.cancel()
        await turns()
        bodies.let(1)
        return await scrapes[4]

    assert story(tell) == b"0"


def test_an_error_reaches_every_scrape() -> None:
    """Scrapes that share a rendering share its error, and the next one tries again."""

    async def tell() -> None:
        async def fail(_kind: str, _asked_at: float) -> bytes:
            raise DefectError("made up")

        renderings: Renderings[str] = Renderings(fail)
        found = await asyncio.gather(*(renderings.get("a") for _ in range(3)), return_exceptions=True)
        assert [type(each) for each in found] == [DefectError] * 3
        with pytest.raises(DefectError):
            await renderings.get("a")

    asyncio.run(tell())


def test_the_time_of_a_scrape_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scrape that gets no body in time is refused, and its rendering is dropped."""
    monkeypatch.setattr(rendering, "WAIT", 0.01)

    async def tell(bodies: Bodies, renderings: Renderings[str]) -> None:
        with pytest.raises(NotCaughtUpError):
            await renderings.get("a")
        await turns()
        assert bodies.ended == 1

    story(tell)
