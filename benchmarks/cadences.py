"""Flows as they run at customers' sites: when their runs complete, in milliseconds since 1970.

The first ten are those the learned interval was made for. The others were made up afterwards, so that a rule that only
suits the ten is found out. Times of day and weekdays are UTC, as the learned interval sees them.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Final

MINUTE: Final = 60 * 1000
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
THREE_WEEKS: Final = 21 * DAY

Completions = Callable[[Random, int, int], Iterator[int]]
"""Completions of a flow that exists from the one time until the other; not sorted, and a few may lie outside."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a flow completes, and how long it takes until its interval is learned."""

    completions: Completions
    warm_up: int = THREE_WEEKS


def _every(step: int, start: int, end: int) -> Iterator[int]:
    return iter(range(start // step * step, end, step))


def _weekday(moment: int) -> int:
    """Monday is 0; 1970 began on a Thursday."""
    return (moment // DAY + 3) % 7


def _is_working_day(moment: int) -> bool:
    return _weekday(moment) < 5


def _is_office_hour(moment: int) -> bool:
    return _is_working_day(moment) and 9 <= moment % DAY // HOUR <= 17


def _minutes(random: Random, least: float, most: float) -> int:
    return int(random.uniform(least, most) * MINUTE)


def _long_run(random: Random) -> int:
    """Half an hour, seldom three."""
    return min(int(random.lognormvariate(0, 0.6) * 30 * MINUTE), 3 * HOUR)


def _quarter_hourly(random: Random, start: int, end: int) -> Iterator[int]:
    for slot in _every(15 * MINUTE, start, end):
        yield slot + _minutes(random, 1, 5)


def _office_hourly(random: Random, start: int, end: int) -> Iterator[int]:
    for slot in filter(_is_office_hour, _every(HOUR, start, end)):
        yield slot + _minutes(random, 2, 12)


def _daily(random: Random, start: int, end: int) -> Iterator[int]:
    for day in _every(DAY, start, end):
        yield day + 2 * HOUR + _minutes(random, -5, 5) + _long_run(random)


def _audiences(random: Random, day: int) -> Iterator[int]:
    """Five runs that one export starts; they complete within a minute."""
    completed = day + 4 * HOUR + _long_run(random)
    for _ in range(5):
        yield completed + _minutes(random, 0, 1)


def _daily_audiences(random: Random, start: int, end: int) -> Iterator[int]:
    for day in _every(DAY, start, end):
        yield from _audiences(random, day)


def _tries(random: Random, day: int) -> Iterator[int]:
    """A run, and on three days in ten one to four more within minutes."""
    moment = day + 3 * HOUR + _minutes(random, 5, 30)
    yield moment
    for _ in range(random.randint(1, 4) if random.random() < 0.3 else 0):
        moment += _minutes(random, 2, 10)
        yield moment


def _daily_retries(random: Random, start: int, end: int) -> Iterator[int]:
    for day in _every(DAY, start, end):
        yield from _tries(random, day)


def _hourly(random: Random, start: int, end: int) -> Iterator[int]:
    for slot in _every(HOUR, start, end):
        yield slot + _minutes(random, 2, 50)


def _weekly(random: Random, start: int, end: int) -> Iterator[int]:
    for day in _every(DAY, start, end):
        if _weekday(day) == 6:
            yield day + HOUR + _minutes(random, 0, 10) + _long_run(random)


def _monthly(random: Random, start: int, end: int) -> Iterator[int]:
    for day in _every(DAY, start, end):
        if datetime.fromtimestamp(day / 1000, UTC).day == 1:
            yield day + 5 * HOUR + _long_run(random)


def _irregular(random: Random, start: int, end: int) -> Iterator[int]:
    moment = start
    while moment < end:
        mean = 8 * HOUR if _is_working_day(moment) else 16 * HOUR
        moment += min(int(random.expovariate(1 / mean)), 30 * HOUR)
        yield moment


def _working_days(random: Random, start: int, end: int) -> Iterator[int]:
    for day in filter(_is_working_day, _every(DAY, start, end)):
        yield day + 6 * HOUR + _minutes(random, -5, 5) + _long_run(random)


def _office_quarter_hourly(random: Random, start: int, end: int) -> Iterator[int]:
    for slot in filter(_is_office_hour, _every(15 * MINUTE, start, end)):
        yield slot + _minutes(random, 1, 5)


def _working_days_audiences(random: Random, start: int, end: int) -> Iterator[int]:
    for day in filter(_is_working_day, _every(DAY, start, end)):
        yield from _audiences(random, day)


def _working_days_retries(random: Random, start: int, end: int) -> Iterator[int]:
    for day in filter(_is_working_day, _every(DAY, start, end)):
        yield from _tries(random, day)


def _twice_daily(random: Random, start: int, end: int) -> Iterator[int]:
    for slot in _every(12 * HOUR, start, end):
        yield slot + _long_run(random)


TEN: Final[Mapping[str, Schedule]] = {
    "every 15 min": Schedule(_quarter_hourly),
    "hourly, office hours": Schedule(_office_hourly),
    "daily": Schedule(_daily),
    "daily, five audiences": Schedule(_daily_audiences),
    "daily, retry bursts": Schedule(_daily_retries),
    "hourly": Schedule(_hourly),
    "weekly": Schedule(_weekly, warm_up=42 * DAY),
    "monthly": Schedule(_monthly, warm_up=150 * DAY),
    "irregular": Schedule(_irregular),
    "working days": Schedule(_working_days),
}
OTHERS: Final[Mapping[str, Schedule]] = {
    "every 15 min, office hours": Schedule(_office_quarter_hourly),
    "working days, five audiences": Schedule(_working_days_audiences),
    "working days, retry bursts": Schedule(_working_days_retries),
    "every 12 h": Schedule(_twice_daily),
}
