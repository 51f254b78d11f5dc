"""Adobe's own alerts: which are firing.

An alert is firing while any id of its name, flow and sandbox is FIRING without INACTIVE, in whichever order these came;
it ends 24 h after its last FIRING was recorded, or when its run ends (contract 4.7); a FIRING that is later than its
run's end is about what the run brought, and does not end with it.

Knows nothing of series; times are milliseconds.
"""

import re
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Final, TypeVar

from exporter.model import DAY, OTHER, AlertState, FlowAlert, FlowKey

FIRING_FOR: Final = DAY
_REMEMBERED_FOR: Final = 8 * DAY
"""Longer than a FIRING can follow its INACTIVE: the journal reaches back seven days."""

MAX_NAMES: Final = 100
_NAME = re.compile(r"[a-z0-9_]{1,64}")

_Key = TypeVar("_Key")


@dataclass(slots=True)
class AlertInstance:
    """One alert id; the fields are what a checkpoint keeps."""

    key: FlowKey
    name: str
    updated_at: int
    fired_at: int | None = None
    changed_at: int | None = None
    run_id: str = ""
    is_over: bool = False

    def ends_with(self, run_ended_at: int) -> bool:
        """Whether its run's end is its end: not when it is about something later, such as what the run brought."""
        return self.changed_at is None or self.changed_at <= run_ended_at


@dataclass(slots=True)
class AlertsState:
    """Instances by id, those told of longest ago first, and the names of each key."""

    instances: list[tuple[str, AlertInstance]] = field(default_factory=list)
    names: list[tuple[FlowKey, list[str]]] = field(default_factory=list)


class Alerts:
    """Every alert id of the last days, and the names known of each key."""

    def __init__(self) -> None:
        self._instances: OrderedDict[str, AlertInstance] = OrderedDict()
        self._by_flow: dict[FlowKey, set[str]] = {}
        self._by_run: dict[str, set[str]] = {}
        self._names: dict[FlowKey, list[str]] = {}

    def label(self, name: str, key: FlowKey) -> str:
        """The name as a label value: one of at most MAX_NAMES that look like names, else `other`."""
        if not _NAME.fullmatch(name):
            return OTHER
        if name in self._names.get(key, ()):
            return name
        known = set(chain.from_iterable(self._names.values()))
        return name if name in known or len(known) < MAX_NAMES else OTHER

    def apply(
        self, alert: FlowAlert, key: FlowKey, name: str, *, received_at: int, fired_at: int, run_ended_at: int | None
    ) -> FlowKey:
        """Take a change of state in; `run_ended_at` where its run is known to have ended.

        `fired_at`: when a FIRING begins to count, the time of recording unless it is history.

        Returns the place that changed: where the id was first told of, whatever a later telling leaves out.
        """
        self._let_go(received_at)
        instance = self._instances.pop(alert.alert_id, None)
        if instance is None:
            instance = AlertInstance(key, name, received_at)
            names = self._names.setdefault(key, [])
            if name not in names:
                names.append(name)
        instance.updated_at = received_at
        self._instances[alert.alert_id] = instance
        self._by_flow.setdefault(instance.key, set()).add(alert.alert_id)
        if alert.state is AlertState.INACTIVE:
            instance.is_over = True
        else:
            instance.fired_at = max(fired_at, instance.fired_at or fired_at)
            instance.changed_at = alert.changed_at
            if alert.run_id and alert.run_id != instance.run_id:
                _discard(self._by_run, instance.run_id, alert.alert_id)
                instance.run_id = alert.run_id
                self._by_run.setdefault(alert.run_id, set()).add(alert.alert_id)
            if run_ended_at is not None and instance.ends_with(run_ended_at):
                instance.is_over = True
        return instance.key

    def end_run(self, run_id: str, ended_at: int) -> set[FlowKey]:
        """A run ended, and with it the alerts that fire about it; the places where that is so."""
        ended = [self._instances[alert_id] for alert_id in self._by_run.get(run_id, ())]
        for instance in ended:
            instance.is_over |= instance.ends_with(ended_at)
        return {instance.key for instance in ended}

    def states(self, key: FlowKey, now: int) -> dict[str, bool]:
        """Whether each alert known of a place is firing."""
        states = dict.fromkeys(self._names.get(key, ()), False)
        for alert_id in self._by_flow.get(key, ()):
            instance = self._instances[alert_id]
            if not instance.is_over and instance.fired_at is not None:
                states[instance.name] |= now < instance.fired_at + FIRING_FOR
        return states

    def drop(self, key: FlowKey) -> None:
        """Forget all alerts of a key."""
        self._names.pop(key, None)
        for alert_id in self._by_flow.pop(key, set()):
            _discard(self._by_run, self._instances.pop(alert_id).run_id, alert_id)

    def ends(self) -> Iterator[tuple[int, FlowKey]]:
        """When the alerts that fire would end by themselves, and where."""
        for instance in self._instances.values():
            if not instance.is_over and instance.fired_at is not None:
                yield instance.fired_at + FIRING_FOR, instance.key

    def state(self) -> AlertsState:
        """What `restore` takes back."""
        return AlertsState(list(self._instances.items()), list(self._names.items()))

    def restore(self, state: AlertsState) -> None:
        """Begin with what another left off with."""
        self._names = dict(state.names)
        for alert_id, instance in state.instances:
            self._instances[alert_id] = instance
            self._by_flow.setdefault(instance.key, set()).add(alert_id)
            if instance.run_id:
                self._by_run.setdefault(instance.run_id, set()).add(alert_id)

    def _let_go(self, received_at: int) -> None:
        """Forget ids that were not told of for so long that nothing can follow; the oldest stand first."""
        while self._instances:
            alert_id, oldest = next(iter(self._instances.items()))
            if oldest.updated_at + _REMEMBERED_FOR > received_at:
                return
            del self._instances[alert_id]
            _discard(self._by_flow, oldest.key, alert_id)
            _discard(self._by_run, oldest.run_id, alert_id)


def _discard(index: dict[_Key, set[str]], key: _Key, alert_id: str) -> None:
    if key in index:
        index[key].discard(alert_id)
        if not index[key]:
            del index[key]
