"""From what is told to what is delivered: late, out of order, twice, alone and in batches.

The rule: Adobe promises "at least once" and no order (adobe.md A6), so most deliveries follow within a minute, some
come hours late and are overtaken, some come again under the same event id, and some are told by two registrations,
under two ids. Batches hold at most 20 events. A copy always follows its original.

Sans-I/O. Times are milliseconds since the simulation's beginning.
"""

import heapq
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from exporter.simulate.organisation import HOUR, MINUTE, SECOND, Style, Wrapper, dice, identifier
from exporter.simulate.timeline import Notice

MAX_BATCH: Final = 20
"""Events in one of Adobe's batches (adobe.md A5)."""
_BATCH_EVERY: Final = MINUTE
_LATE: Final = 0.02
_TWICE: Final = 0.02
_BY_TWO_REGISTRATIONS: Final = 0.02
_EARLIEST: Final = 2 * SECOND
_USUAL: Final = 60 * SECOND
_LATEST: Final = 6 * HOUR
"""Adobe tries for 24 hours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One event of a delivery."""

    notice: Notice
    event_id: str
    is_copy: bool = False
    """Whether the same was delivered before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One POST: several events where it is a batch."""

    at: int
    items: tuple[Item, ...]
    is_batch: bool = False
    attempts_before: int = 0
    """Attempts of Adobe's that went before this one, which got lost on their way."""


@dataclass(frozen=True, slots=True, order=True)
class _Channel:
    """Whose deliveries may share a batch: the registration's format is one."""

    is_batch: bool
    wrapper: Wrapper


def deliveries(notices: Iterator[Notice], seed: int) -> Iterator[Delivery]:
    """Everything that is delivered, by its moment."""
    waiting: list[tuple[int, _Channel, int, Item, int]] = []
    number = 0
    for notice in notices:
        yield from _due(waiting, notice.at)
        for at, item, attempts in _items(notice, seed):
            channel = _channel(notice)
            slot = -(-at // _BATCH_EVERY) * _BATCH_EVERY if channel.is_batch else at
            number += 1
            heapq.heappush(waiting, (slot, channel, number, item, attempts))
    yield from _due(waiting, None)


def _channel(notice: Notice) -> _Channel:
    """Every other flow is told of by a registration that batches; the older notifications wrap themselves."""
    part = notice.flow.part
    is_batch = part.style is Style.EVENT and notice.flow.number % 2 == 0
    return _Channel(is_batch, part.wrapper)


def _due(waiting: list[tuple[int, _Channel, int, Item, int]], now: int | None) -> Iterator[Delivery]:
    """The deliveries whose moment has come; all of them where there is no now."""
    while waiting and (now is None or waiting[0][0] < now):
        at, channel, _, item, attempts = heapq.heappop(waiting)
        items = [item]
        while channel.is_batch and len(items) < MAX_BATCH and waiting and waiting[0][:2] == (at, channel):
            items.append(heapq.heappop(waiting)[3])
        yield Delivery(at=at, items=tuple(items), is_batch=channel.is_batch, attempts_before=attempts)


def _items(notice: Notice, seed: int) -> Iterator[tuple[int, Item, int]]:
    """A notice's original and its copies: when each is delivered, and after how many attempts."""
    chance = dice(seed, "delivery", notice.fact_id)
    event_id = identifier(notice.fact_id, "event")
    is_late = chance.random() < _LATE
    at = notice.at + (chance.randrange(10 * MINUTE, _LATEST) if is_late else chance.randrange(_EARLIEST, _USUAL))
    attempts = chance.randint(3, 20) if is_late else 0
    yield at, Item(notice=notice, event_id=event_id), attempts
    after = itertools.accumulate(chance.randrange(MINUTE + SECOND, HOUR) for _ in itertools.count())
    if chance.random() < _TWICE:
        yield at + next(after), Item(notice=notice, event_id=event_id, is_copy=True), attempts + 1
    if chance.random() < _BY_TWO_REGISTRATIONS:
        other = Item(notice=notice, event_id=identifier(notice.fact_id, "other registration"), is_copy=True)
        yield at + next(after), other, 0
