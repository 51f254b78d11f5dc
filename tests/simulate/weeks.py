"""Simulated weeks, worked out once for all tests."""

from functools import cache
from itertools import takewhile

from exporter.simulate.clock import Clock
from exporter.simulate.deliveries import Delivery, deliveries
from exporter.simulate.organisation import DAY, PARTS, organisation
from exporter.simulate.timeline import Notice, timeline

SEEDS = (1, 2, 20261125)
WEEK = 7 * DAY
PRESENT = 1_790_000_000_000
HISTORY = Clock(present=PRESENT, history=WEEK)


@cache
def notices(seed: int, flows: int = len(PARTS), until: int = WEEK) -> tuple[Notice, ...]:
    """What is told."""
    return tuple(takewhile(lambda told: told.at < until, timeline(organisation(seed, flows), seed)))


@cache
def delivered(seed: int, flows: int = len(PARTS), until: int = WEEK) -> tuple[Delivery, ...]:
    """What is delivered."""
    stream = deliveries(timeline(organisation(seed, flows), seed), seed)
    return tuple(takewhile(lambda delivery: delivery.at < until, stream))
