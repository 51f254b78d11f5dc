"""Decides which flows are on /metrics: limits on flows and sandboxes, and when a silent flow expires.

The rules (docs/architecture.md, "Series that appear and go"):

- Beyond `max_flows` pairs of flow and sandbox, further flows are counted together as `other`. Beyond MAX_SANDBOXES,
  further sandboxes are `other`.
- A flow expires when no entry was recorded for it for `ttl`, or for three of its learned intervals if that is longer.
  It is no longer shown then, and the next entry recorded after that drops it: its slot is free, and if it returns it
  begins anew.
- A sandbox is dropped when another one needs its slot, no flow is left in it, and no entry was recorded for it for
  `ttl`.
- A flow that was dropped while the clock was wrong is put back, even if its slot was taken since.

Everything depends only on the times of the entries and on `now`. Series do not occur here.
"""

import heapq
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from exporter.metrics.flow_state import FlowState
from exporter.model import OTHER, FlowKey

MAX_SANDBOXES: Final = 200
_MAX_OVERFLOWED: Final = 10_000
"""The number of flows without a slot that are distinguished. Beyond it the oldest may be counted again."""
_INTERVALS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The settings that shape the fold. Times are milliseconds."""

    hold: int
    """How long a new series is shown at 0. 0 turns the hold off."""
    ttl: int
    """How long a flow is shown without a new entry."""
    max_flows: int
    """The largest number of pairs of flow and sandbox that are shown one by one."""


@dataclass(slots=True, kw_only=True)
class FlowsState:
    """What a checkpoint stores of the flows."""

    flows: list[tuple[FlowKey, FlowState]] = field(default_factory=list)
    sandboxes: list[tuple[str, int]] = field(default_factory=list)
    """Each with the time of its last entry."""
    without_slot: list[FlowKey] = field(default_factory=list)
    overflowed: int = 0


def is_shared(key: FlowKey) -> bool:
    """Whether this key stands for several flows that are counted together."""
    return key.flow_id == OTHER


def has_slot(key: FlowKey) -> bool:
    """Whether this key is one flow. False for flows counted together and for alerts that name no flow."""
    return key.flow_id not in {OTHER, ""}


class Flows:
    """The state of every flow, by flow and sandbox. The module's docstring has the rules."""

    def __init__(self, limits: Limits) -> None:
        """Begin without flows."""
        self._limits = limits
        self._states: dict[FlowKey, FlowState] = {}
        self._sandboxes: dict[str, int] = {}
        self._without_slot: OrderedDict[FlowKey, None] = OrderedDict()
        self._checks: list[tuple[int, FlowKey]] = []
        """A heap of when to look whether a flow has expired. Only those in `_next_check` are valid."""
        self._next_check: dict[FlowKey, int] = {}
        self.slots = 0
        """The number of slots in use."""
        self.overflowed = 0
        """The number of flows that found no slot."""

    def get(self, key: FlowKey) -> FlowState | None:
        """The state of a flow, if it has one."""
        return self._states.get(key)

    def __iter__(self) -> Iterator[FlowKey]:
        return iter(self._states)

    @property
    def without_slot(self) -> Iterable[FlowKey]:
        """The flows that found no slot and are counted as `other`, as far as they are distinguished."""
        return self._without_slot.keys()

    def record_sandbox(self, name: str, at: int, horizon: int) -> tuple[str, list[str]]:
        """Note an entry for a sandbox. Return the sandbox's label and the sandboxes that were dropped for it.

        A sandbox is dropped if it was silent for `ttl` at the time `horizon`.
        """
        dropped: list[str] = []
        if name not in self._sandboxes and len(self._sandboxes) >= MAX_SANDBOXES:
            with_flows = {sandbox for _, sandbox in self._states}
            dropped = [
                known
                for known, recorded_at in self._sandboxes.items()
                if recorded_at + self._limits.ttl < horizon and known not in with_flows
            ]
            for known in dropped:
                del self._sandboxes[known]
            if not dropped:
                return OTHER, dropped
        self._sandboxes[name] = at
        return name, dropped

    def record_flow(self, flow_id: str, sandbox: str, at: int) -> tuple[FlowKey, FlowState, bool]:
        """Note an entry for a flow. `sandbox` is the label.

        Return the key under which the flow is counted, its state, and whether the key is new.
        """
        key = FlowKey(flow_id, sandbox)
        if key not in self._states and has_slot(key) and self.slots >= self._limits.max_flows:
            self._count_overflow(key)
            key = FlowKey(OTHER, sandbox)
        state = self._states.get(key)
        is_new = state is None
        if state is None:
            state = self._states[key] = FlowState()
            self.slots += has_slot(key)
            self._without_slot.pop(key, None)
        state.recorded_at = at
        self.schedule_check(key, at + self._limits.ttl)
        return key, state, is_new

    def drop(self, key: FlowKey) -> FlowState:
        """Delete a flow and return its state. Raises KeyError."""
        self._next_check.pop(key, None)
        self.slots -= has_slot(key)
        return self._states.pop(key)

    def expires_at(self, key: FlowKey) -> int:
        """The last moment at which a flow is shown if no more is recorded for it. Raises KeyError."""
        return self.expiry(self._states[key])

    def expiry(self, state: FlowState) -> int:
        """The last moment at which a flow of this state is shown if no more is recorded for it."""
        return state.recorded_at + max(self._limits.ttl, _INTERVALS * (state.run_history.interval() or 0))

    def add_older(self, key: FlowKey, older: FlowState) -> bool:
        """Put back a flow that `drop` returned, also where no slot is free. Return whether no flow had its key since.

        What was recorded for the key since then is added to it.
        """
        newer = self._states.get(key)
        if newer is None:
            self.slots += has_slot(key)
            self._without_slot.pop(key, None)
        else:
            older.add(newer)
        self._states[key] = older
        return newer is None

    def move_times(self, move: Callable[[int], int]) -> None:
        """Replace every time of recording. Flows that had expired can be checked again."""
        for state in self._states.values():
            state.recorded_at = move(state.recorded_at)
        self._sandboxes = {name: move(at) for name, at in self._sandboxes.items()}

    def schedule_all_checks(self) -> None:
        """Check every flow again, also those that have expired."""
        self._checks.clear()
        self._next_check.clear()
        for key, state in self._states.items():
            self.schedule_check(key, state.recorded_at + self._limits.ttl)

    def take_expired(self, now: int) -> list[FlowKey]:
        """The flows that have expired. Each is returned once. `schedule_check` has it checked again."""
        expired: list[FlowKey] = []
        while self._checks and self._checks[0][0] < now:
            at, key = heapq.heappop(self._checks)
            if self._next_check.get(key) != at:
                continue
            del self._next_check[key]
            expires_at = self.expires_at(key)
            if expires_at < now:
                expired.append(key)
            else:
                self.schedule_check(key, expires_at)
        return expired

    def schedule_check(self, key: FlowKey, at: int) -> None:
        """Check after this time whether a flow has expired, unless an earlier check is scheduled."""
        if at < self._next_check.get(key, at + 1):
            self._next_check[key] = at
            heapq.heappush(self._checks, (at, key))

    def state(self) -> FlowsState:
        """The state that `restore` takes."""
        return FlowsState(
            flows=list(self._states.items()),
            sandboxes=list(self._sandboxes.items()),
            without_slot=list(self._without_slot),
            overflowed=self.overflowed,
        )

    def restore(self, state: FlowsState) -> None:
        """Restore a saved state into an empty object."""
        self._sandboxes = dict(state.sandboxes)
        self._without_slot = OrderedDict.fromkeys(state.without_slot)
        self.overflowed = state.overflowed
        for key, flow in state.flows:
            self._states[key] = flow
            self.slots += has_slot(key)
            self.schedule_check(key, flow.recorded_at + self._limits.ttl)

    def _count_overflow(self, key: FlowKey) -> None:
        if key not in self._without_slot:
            self.overflowed += 1
            self._without_slot[key] = None
            if len(self._without_slot) > _MAX_OVERFLOWED:
                self._without_slot.popitem(last=False)
