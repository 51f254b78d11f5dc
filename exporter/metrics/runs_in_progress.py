"""Keeps which runs are in progress, and the ids of ended runs, so that a late start does not begin a run again.

A start counts until the end of its run is recorded, or for IN_PROGRESS_FOR. An end is kept for TOO_OLD_AFTER
(docs/architecture.md, "Order and corrections"). Both are kept for longer, up to a number, while only the ledger's clock
says that they are old.

Series do not occur here. Times are milliseconds since 1970.
"""

from collections import OrderedDict
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

from exporter.metrics.fact_times import MAX_UNCONFIRMED, TOO_OLD_AFTER
from exporter.model import DAY, FlowKey

IN_PROGRESS_FOR: Final = 7 * DAY
"""A run whose end never comes counts as in progress for so long."""

MAX_STARTS: Final = 20_000
"""Runs in progress that are remembered. Beyond it the one that was recorded first is dropped."""
MAX_ENDED: Final = 300_000
"""Ended runs that are remembered. Beyond it the one that was recorded first is dropped. It is more than a day of 2,000
flows that run every 15 minutes. No start arrives later, because Adobe gives up after a day."""

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class RunStart:
    """A run in progress. The field names are those of the checkpoint."""

    key: FlowKey
    started_at: int
    recorded_at: int

    @property
    def counts_until(self) -> int:
        """When the run is no longer in progress, even if its end never comes."""
        return self.recorded_at + IN_PROGRESS_FOR

    def moved(self, move: Callable[[int], int]) -> "RunStart":
        """The same with another time of recording."""
        return RunStart(self.key, self.started_at, move(self.recorded_at))


class RunsInProgress:
    """The starts and the ends of runs, by run id. The oldest record comes first."""

    def __init__(self) -> None:
        # Ordered dicts, because a plain dict is slow to find its first item after many deletions at its front.
        self._starts: OrderedDict[str, RunStart] = OrderedDict()
        self._ended: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def restore(self, starts: Iterable[tuple[str, RunStart]], ended: Iterable[tuple[str, tuple[int, int]]]) -> None:
        """Restore what `starts` and `ended` returned."""
        self._starts = OrderedDict(starts)
        self._ended = OrderedDict(ended)

    def starts(self) -> list[tuple[str, RunStart]]:
        """The runs in progress, as a checkpoint stores them."""
        return list(self._starts.items())

    def ended(self) -> list[tuple[str, tuple[int, int]]]:
        """The ended runs, each with when its end was recorded and when it ended, as a checkpoint stores them."""
        return list(self._ended.items())

    def start(self, run_id: str, start: RunStart) -> bool:
        """Note a start. Return False if it changes nothing, because the run has ended or is in progress already."""
        if self.ended_at(run_id, start.recorded_at) is not None:
            return False
        known = self._starts.get(run_id)
        if known is not None:
            if known.counts_until > start.recorded_at:
                return False
            del self._starts[run_id]
        self._starts[run_id] = start
        return True

    def end(self, run_id: str, recorded_at: int, ended_at: int) -> FlowKey | None:
        """Note an end. Return the flow in which the run was in progress, if it was."""
        start = self._starts.pop(run_id, None)
        self._ended.pop(run_id, None)
        self._ended[run_id] = (recorded_at, ended_at)
        return None if start is None else start.key

    def ended_at(self, run_id: str, at: int) -> int | None:
        """When a run ended, if its end was recorded in the days before this time."""
        ended = self._ended.get(run_id)
        return None if ended is None or ended[0] + TOO_OLD_AFTER <= at else ended[1]

    def start_times(self, keys: Container[FlowKey], now: int) -> dict[FlowKey, list[int]]:
        """The start times of the runs that are in progress in these flows."""
        found: dict[FlowKey, list[int]] = {}
        for start in self._starts.values():
            if start.key in keys and now < start.counts_until:
                found.setdefault(start.key, []).append(start.started_at)
        return found

    def ends(self) -> Iterator[tuple[int, FlowKey]]:
        """When each run in progress stops to count by itself, with its flow."""
        for start in self._starts.values():
            yield start.counts_until, start.key

    def drop(self, key: FlowKey) -> list[tuple[str, RunStart]]:
        """Delete the runs in progress of a flow. Return what was deleted."""
        starts = [(run_id, start) for run_id, start in self._starts.items() if start.key == key]
        for run_id, _ in starts:
            del self._starts[run_id]
        return starts

    def add_older(self, starts: Iterable[tuple[str, RunStart]]) -> None:
        """Put back runs that `drop` returned, unless something has come for their ids since then."""
        for run_id, start in starts:
            if run_id not in self._ended:
                self._starts.setdefault(run_id, start)
        self._starts = OrderedDict(sorted(self._starts.items(), key=lambda item: item[1].recorded_at))

    def move_times(self, move: Callable[[int], int]) -> None:
        """Replace every time of recording."""
        self._starts = OrderedDict((run_id, start.moved(move)) for run_id, start in self._starts.items())
        self._ended = OrderedDict((run_id, (move(at), ended_at)) for run_id, (at, ended_at) in self._ended.items())

    def delete_old(self, horizon: int, received_at: int) -> None:
        """Delete what was old at the time `horizon`, and beyond MAX_UNCONFIRMED also what was old at `received_at`."""
        _delete_old(self._ended, lambda entry: entry[0] + TOO_OLD_AFTER, horizon, received_at)
        _delete_old(self._starts, lambda start: start.recorded_at + IN_PROGRESS_FOR, horizon, received_at)

    def drop_excess(self) -> list[FlowKey]:
        """Drop the starts beyond MAX_STARTS that were recorded first. Return the flow of each."""
        dropped: list[FlowKey] = []
        while len(self._starts) > MAX_STARTS:
            dropped.append(self._starts.popitem(last=False)[1].key)
        return dropped

    def drop_excess_ended(self) -> int:
        """Drop the ends beyond MAX_ENDED that were recorded first. Return how many."""
        dropped = 0
        while len(self._ended) > MAX_ENDED:
            self._ended.popitem(last=False)
            dropped += 1
        return dropped


def _delete_old(items: OrderedDict[str, _Item], old_at: Callable[[_Item], int], horizon: int, received_at: int) -> None:
    """Delete from the front what was old before the horizon, and what is old now beyond MAX_UNCONFIRMED."""
    while items:
        key, item = next(iter(items.items()))
        if old_at(item) > (received_at if len(items) > MAX_UNCONFIRMED else horizon):
            return
        del items[key]
