"""Outcomes of asyncio tasks that may finish after their caller stopped waiting. Imports no other module of ours."""

import asyncio
from typing import Any


def discard_outcome(task: "asyncio.Future[Any]") -> None:
    """Mark a finished task's exception as retrieved, so that asyncio does not log it. Use it as a done callback.

    The task itself must have logged its failure.
    """
    if not task.cancelled():
        task.exception()
