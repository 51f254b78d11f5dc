"""Simulated weeks, computed once for all tests."""

from functools import cache
from itertools import takewhile

from exporter.simulate.clock import Clock
from exporter.simulate.deliveries import SimulatedDelivery, deliveries
from exporter.simulate.organisation import DAY, TEMPLATES, organisation
from exporter.simulate.timeline import Notification, timeline

SEEDS = (1, 2, 20261125)
WEEK = 7 * DAY
PRESENT = 1_790_000_000_000
BEFORE_NOW = Clock(present=PRESENT, past=WEEK)


@cache
def notifications(seed: int, flows: int = len(TEMPLATES), until: int = WEEK) -> tuple[Notification, ...]:
    """The notifications of a simulation."""
    return tuple(takewhile(lambda notification: notification.at < until, timeline(organisation(seed, flows), seed)))


@cache
def delivered(seed: int, flows: int = len(TEMPLATES), until: int = WEEK) -> tuple[SimulatedDelivery, ...]:
    """The deliveries of a simulation."""
    stream = deliveries(timeline(organisation(seed, flows), seed), seed)
    return tuple(takewhile(lambda delivery: delivery.at < until, stream))
