"""Which flows there are on /metrics: the bounds on flows and sandboxes, and when a flow that fell silent leaves.

The rules (contract 4.6). Beyond `max_flows` pairs of flow and sandbox further ones are counted together as `other`;
beyond MAX_SANDBOXES further sandboxes are `other`. A flow for which nothing was recorded for `ttl`, or for three of its
learned intervals if that is longer, is not shown, and leaves with the next entry after that: its slot is free, and when
it returns it begins anew. A sandbox gives its place away when another needs it, no flow is left in it, and nothing
was recorded for it for `ttl`.

Everything is a function of the entries' times and of `now`. Knows no series.
"""

import heapq
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from exporter.metrics.flow_state import FlowState
from exporter.model import OTHER, FlowKey

MAX_SANDBOXES: Final = 200
_MAX_OVERFLOWED: Final = 10_000
"""Flows without a slot that are told apart; beyond these the oldest may be counted again."""
_INTERVALS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The settings that shape the fold; times in milliseconds."""

    hold: int
    """How long a new series is shown at 0; 0 turns it off."""
    ttl: int
    """How long a flow stays for which nothing is recorded."""
    max_flows: int
    """Pairs of flow and sandbox that are shown one by one."""


@dataclass(slots=True, kw_only=True)
class FlowsState:
    """What a checkpoint keeps of the flows."""

    flows: list[tuple[FlowKey, FlowState]] = field(default_factory=list)
    sandboxes: list[tuple[str, int]] = field(default_factory=list)
    """With the time of the last entry."""
    without_slot: list[FlowKey] = field(default_factory=list)
    overflowed: int = 0


def is_shared(key: FlowKey) -> bool:
    """Whether several flows are counted together there."""
    return key[0] == OTHER


def has_slot(key: FlowKey) -> bool:
    """Whether it is one flow's own: not what is counted together, nor Adobe's alerts that name no flow."""
    return key[0] not in {OTHER, ""}


class Flows:
    """Every flow that is remembered, by its labels; see the module for the rules."""

    def __init__(self, limits: Limits) -> None:
        """No flows yet."""
        self._limits = limits
        self._states: dict[FlowKey, FlowState] = {}
        self._sandboxes: dict[str, int] = {}
        self._without_slot: OrderedDict[FlowKey, None] = OrderedDict()
        self._checks: list[tuple[int, FlowKey]] = []
        self._next_check: dict[FlowKey, int] = {}
        self.slots = 0
        """How many pairs of flow and sandbox have one."""
        self.overflowed = 0
        """How many found none."""

    def get(self, key: FlowKey) -> FlowState | None:
        """What is remembered of a flow."""
        return self._states.get(key)

    def __iter__(self) -> Iterator[FlowKey]:
        return iter(self._states)

    def sandbox(self, name: str, at: int) -> tuple[str, list[str]]:
        """The label of a sandbox for which something is recorded now, and the sandboxes that had to go for it."""
        gone: list[str] = []
        if name not in self._sandboxes and len(self._sandboxes) >= MAX_SANDBOXES:
            with_flows = {sandbox for _, sandbox in self._states}
            gone = [
                known
                for known, recorded_at in self._sandboxes.items()
                if recorded_at + self._limits.ttl < at and known not in with_flows
            ]
            for known in gone:
                del self._sandboxes[known]
            if not gone:
                return OTHER, gone
        self._sandboxes[name] = at
        return name, gone

    def record(self, flow_id: str, sandbox: str, at: int) -> tuple[FlowKey, FlowState, bool]:
        """Where something is recorded for a flow now (`sandbox` as its label), and whether the place is new."""
        key = FlowKey(flow_id, sandbox)
        if key not in self._states and has_slot(key) and self.slots >= self._limits.max_flows:
            self._overflow(key)
            key = FlowKey(OTHER, sandbox)
        state = self._states.get(key)
        is_new = state is None
        if state is None:
            state = self._states[key] = FlowState()
            self.slots += has_slot(key)
            self._without_slot.pop(key, None)
        state.recorded_at = at
        self.check_at(key, at + self._limits.ttl)
        return key, state, is_new

    def drop(self, key: FlowKey) -> FlowState:
        """Forget a flow; what was remembered of it."""
        self._next_check.pop(key, None)
        self.slots -= has_slot(key)
        return self._states.pop(key)

    def leaves_at(self, key: FlowKey) -> int:
        """The last moment at which a flow is shown, if nothing more is recorded for it."""
        state = self._states[key]
        return state.recorded_at + max(self._limits.ttl, _INTERVALS * (state.run_history.interval() or 0))

    def silent(self, now: int) -> list[FlowKey]:
        """The flows that have been silent for too long, each told once; `check_at` has one looked at again."""
        found: list[FlowKey] = []
        while self._checks and self._checks[0][0] < now:
            at, key = heapq.heappop(self._checks)
            if self._next_check.get(key) != at:
                continue
            del self._next_check[key]
            leaves_at = self.leaves_at(key)
            if leaves_at < now:
                found.append(key)
            else:
                self.check_at(key, leaves_at)
        return found

    def check_at(self, key: FlowKey, at: int) -> None:
        """Look then whether a flow has been silent for too long, if no look is due before."""
        if at < self._next_check.get(key, at + 1):
            self._next_check[key] = at
            heapq.heappush(self._checks, (at, key))

    def state(self) -> FlowsState:
        """What `restore` takes back."""
        return FlowsState(
            flows=list(self._states.items()),
            sandboxes=list(self._sandboxes.items()),
            without_slot=list(self._without_slot),
            overflowed=self.overflowed,
        )

    def restore(self, state: FlowsState) -> None:
        """Begin with what another left off with."""
        self._sandboxes = dict(state.sandboxes)
        self._without_slot = OrderedDict.fromkeys(state.without_slot)
        self.overflowed = state.overflowed
        for key, flow in state.flows:
            self._states[key] = flow
            self.slots += has_slot(key)
            self.check_at(key, flow.recorded_at + self._limits.ttl)

    def _overflow(self, key: FlowKey) -> None:
        if key not in self._without_slot:
            self.overflowed += 1
            self._without_slot[key] = None
            if len(self._without_slot) > _MAX_OVERFLOWED:
                self._without_slot.popitem(last=False)
