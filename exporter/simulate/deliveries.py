"""Decides how notifications are delivered: late, out of order, twice, alone and in batches.

The rule: Adobe promises delivery "at least once" and no order (docs/adobe.md, "Retries"). Most deliveries therefore
follow within a minute, some come hours late and are overtaken, some come again under the same event id, and some come
from two registrations under two ids. A batch has at most 20 events. A copy always follows its original.

No I/O. Times are milliseconds since the beginning of the simulation.
"""

import heapq
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from exporter.simulate.organisation import HOUR, MINUTE, SECOND, Envelope, Style, identifier, random_for
from exporter.simulate.timeline import Notification

MAX_BATCH: Final = 20
"""The most events in one of Adobe's batches (docs/adobe.md, "Bodies")."""
_BATCH_EVERY: Final = MINUTE
_LATE: Final = 0.02
_TWICE: Final = 0.02
_BY_TWO_REGISTRATIONS: Final = 0.02
_EARLIEST: Final = 2 * SECOND
_USUAL: Final = 60 * SECOND
_LATEST: Final = 6 * HOUR
"""Less than Adobe's own limit: it tries for 24 hours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One event of a delivery."""

    notification: Notification
    event_id: str
    is_copy: bool = False
    """Whether the same notification was delivered before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedDelivery:
    """One POST. A batch can have several events."""

    at: int
    items: tuple[Item, ...]
    is_batch: bool = False
    attempts_before: int = 0
    """The number of earlier attempts, all of which failed."""


@dataclass(frozen=True, slots=True, order=True)
class _Channel:
    """Events of one channel can share a batch, because one registration has one format."""

    is_batch: bool
    envelope: Envelope


def deliveries(notifications: Iterator[Notification], seed: int) -> Iterator[SimulatedDelivery]:
    """All deliveries, in the order of their times."""
    waiting: list[tuple[int, _Channel, int, Item, int]] = []
    number = 0
    for notification in notifications:
        yield from _due(waiting, notification.at)
        for at, item, attempts in _items(notification, seed):
            channel = _channel(notification)
            slot = -(-at // _BATCH_EVERY) * _BATCH_EVERY if channel.is_batch else at
            number += 1
            heapq.heappush(waiting, (slot, channel, number, item, attempts))
    yield from _due(waiting, None)


def _channel(notification: Notification) -> _Channel:
    """The channel of a notification. Every other flow with current notifications belongs to a batching registration."""
    template = notification.flow.template
    is_batch = template.style is Style.EVENT and notification.flow.number % 2 == 0
    return _Channel(is_batch, template.envelope)


def _due(waiting: list[tuple[int, _Channel, int, Item, int]], now: int | None) -> Iterator[SimulatedDelivery]:
    """The deliveries before `now`, or all of them if `now` is None."""
    while waiting and (now is None or waiting[0][0] < now):
        at, channel, _, item, attempts = heapq.heappop(waiting)
        items = [item]
        while channel.is_batch and len(items) < MAX_BATCH and waiting and waiting[0][:2] == (at, channel):
            items.append(heapq.heappop(waiting)[3])
        yield SimulatedDelivery(at=at, items=tuple(items), is_batch=channel.is_batch, attempts_before=attempts)


def _items(notification: Notification, seed: int) -> Iterator[tuple[int, Item, int]]:
    """A notification's original and its copies, each with its time and the number of failed attempts before."""
    random = random_for(seed, "delivery", notification.fact_id)
    event_id = identifier(notification.fact_id, "event")
    is_late = random.random() < _LATE
    at = notification.at + (random.randrange(10 * MINUTE, _LATEST) if is_late else random.randrange(_EARLIEST, _USUAL))
    attempts = random.randint(3, 20) if is_late else 0
    yield at, Item(notification=notification, event_id=event_id), attempts
    after = itertools.accumulate(random.randrange(MINUTE + SECOND, HOUR) for _ in itertools.count())
    if random.random() < _TWICE:
        yield at + next(after), Item(notification=notification, event_id=event_id, is_copy=True), attempts + 1
    if random.random() < _BY_TWO_REGISTRATIONS:
        other = Item(
            notification=notification, event_id=identifier(notification.fact_id, "other registration"), is_copy=True
        )
        yield at + next(after), other, 0
