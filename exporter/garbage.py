"""Keeps Python from looking for cycles in the state of the metrics again and again.

Python looks through all objects that hold others from time to time, and nothing else runs meanwhile. The state of
thousands of flows is a million such objects, which takes a fifth of a second, and pages make it happen often. The state
has no cycles. So it is set aside (`gc.freeze`) once it is there, and again every INTERVAL for what was added. Only
what came since the last time is looked through then.

It also looks less often for what pages and deliveries leave behind: by default after every 700 objects, which for a
page of 500 runs costs a quarter of its time.

Weak point: a cycle of objects that were set aside and are no longer used is never freed. The state makes none.
"""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Callable
from typing import Final

INTERVAL: Final = 300.0
"""Seconds."""
_THRESHOLDS: Final = (10_000, 20, 20)
"""Objects after which Python looks through those that are new, and how many such looks there are until the next one at
those that are older."""
_UNTIL_READY: Final = 0.5
"""Seconds between two looks whether the state is there."""


@contextlib.asynccontextmanager
async def set_aside(is_ready: Callable[[], bool]) -> AsyncIterator[None]:
    """Set the state aside as soon as `is_ready`, and then regularly, until the end of the block."""
    thresholds = gc.get_threshold()
    gc.set_threshold(*_THRESHOLDS)
    task = asyncio.create_task(_run(is_ready))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        # A process that goes on, as in a test, has its objects back.
        gc.unfreeze()
        gc.set_threshold(*thresholds)


async def _run(is_ready: Callable[[], bool]) -> None:
    while not is_ready():  # noqa: ASYNC110 - the fold's thread does not know the event loop
        await asyncio.sleep(_UNTIL_READY)
    while True:
        gc.collect()
        gc.freeze()
        await asyncio.sleep(INTERVAL)
