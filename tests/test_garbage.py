"""What Python's garbage collector leaves alone while the exporter runs."""

import asyncio
import gc
from collections.abc import Callable

from exporter import garbage


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for something that another task does."""
    while not is_so():  # noqa: ASYNC110 - what is waited for has no event
        await asyncio.sleep(0.01)


def test_the_state_is_set_aside_once_it_is_there() -> None:
    """Nothing is set aside before the state is there. Then all is, and at the end it is given back."""
    ready = [False]

    async def run() -> tuple[int, int]:
        async with garbage.set_aside(lambda: ready[0]):
            await asyncio.sleep(0)
            before = gc.get_freeze_count()
            ready[0] = True
            await until(lambda: gc.get_freeze_count() > 0)
            return before, gc.get_freeze_count()

    gc.unfreeze()
    before, after = asyncio.run(run())
    assert before == 0
    assert after > 1000
    assert gc.get_freeze_count() == 0


def test_what_comes_later_is_set_aside_too() -> None:
    """Objects that are made later are set aside at the next time."""
    interval, garbage.INTERVAL = garbage.INTERVAL, 0.01  # type: ignore[misc] # for this test alone

    async def run() -> bool:
        async with garbage.set_aside(lambda: True):
            await until(lambda: gc.get_freeze_count() > 0)
            made = [[number] for number in range(10_000)]
            before = gc.get_freeze_count()
            await until(lambda: gc.get_freeze_count() >= before + len(made))
            return True

    try:
        assert asyncio.run(asyncio.wait_for(run(), 60))
    finally:
        garbage.INTERVAL = interval  # type: ignore[misc]
