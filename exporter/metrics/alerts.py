"""Keeps which of Adobe's own alerts are firing.

An alert is firing while any id of its name, flow and sandbox has a FIRING and no INACTIVE, in whichever order these
came. It ends 24 h after its last FIRING was recorded, or when its run ends (docs/architecture.md, "Order and
corrections"). A FIRING that is later than the end of its run is about the result of the run, so the end of the run does
not end it.

Series do not occur here. Times are milliseconds since 1970.
"""

import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Final, TypeVar

from exporter.metrics.fact_times import MAX_UNCONFIRMED
from exporter.model import DAY, OTHER, AlertState, FlowAlert, FlowKey

FIRING_FOR: Final = DAY
_KEPT_FOR: Final = 8 * DAY
"""Longer than a FIRING can follow its INACTIVE: the journal reaches back seven days."""

MAX_ALERTS: Final = 10_000
"""Alert ids that are remembered. Beyond it the one that was recorded first is dropped, as if it were over."""
MAX_NAMES: Final = 100
_NAME = re.compile(r"[a-z0-9_]{1,64}")

_Key = TypeVar("_Key")


@dataclass(slots=True)
class AlertInstance:
    """One alert id. The field names are those of the checkpoint."""

    key: FlowKey
    name: str
    updated_at: int
    """When its last notification was recorded."""
    fired_at: int | None = None
    changed_at: int | None = None
    """Adobe's time of the last FIRING."""
    run_id: str = ""
    is_over: bool = False

    def ends_with(self, run_ended_at: int) -> bool:
        """Whether the end of its run ends it. False for a FIRING that is later than the end of the run."""
        return self.changed_at is None or self.changed_at <= run_ended_at

    def move_times(self, move: Callable[[int], int]) -> None:
        """Replace its times of recording."""
        self.updated_at = move(self.updated_at)
        if self.fired_at is not None:
            self.fired_at = move(self.fired_at)


@dataclass(slots=True)
class AlertsState:
    """Instances by alert id, the least recently updated first, and the alert names of each flow."""

    instances: list[tuple[str, AlertInstance]] = field(default_factory=list)
    names: list[tuple[FlowKey, list[str]]] = field(default_factory=list)


class Alerts:
    """Every alert id of the last days, and the alert names of each flow."""

    def __init__(self) -> None:
        self._instances: OrderedDict[str, AlertInstance] = OrderedDict()
        self._by_flow: dict[FlowKey, set[str]] = {}
        self._by_run: dict[str, set[str]] = {}
        self._names: dict[FlowKey, list[str]] = {}
        self._flows_by_name: Counter[str] = Counter()
        """How many flows have each name."""

    def label(self, name: str, key: FlowKey) -> str:
        """The label value of an alert's name: the name itself, or `other` beyond MAX_NAMES or for free text."""
        if not _NAME.fullmatch(name):
            return OTHER
        if name in self._names.get(key, ()):
            return name
        return name if name in self._flows_by_name or len(self._flows_by_name) < MAX_NAMES else OTHER

    def apply(
        self,
        alert: FlowAlert,
        key: FlowKey,
        name: str,
        *,
        received_at: int,
        fired_at: int,
        run_ended_at: int | None,
        horizon: int,
    ) -> FlowKey:
        """Apply a change of state.

        `fired_at` is when a FIRING begins to count: the time of recording, or earlier for a replayed file. `horizon` is
        the time before which ids can be deleted.
        `run_ended_at` is the end of the alert's run, or None if no end is known.

        Returns the flow whose gauges change: the one of the id's first notification, even if a later notification
        names no flow.
        """
        self._delete_old(received_at, horizon)
        instance = self._instances.pop(alert.alert_id, None)
        if instance is not None and instance.updated_at + _KEPT_FOR <= received_at:
            # It is kept only in case that the clock is wrong.
            _discard(self._by_flow, instance.key, alert.alert_id)
            _discard(self._by_run, instance.run_id, alert.alert_id)
            instance = None
        if instance is None:
            instance = AlertInstance(key, name, received_at)
            names = self._names.setdefault(key, [])
            if name not in names:
                names.append(name)
                self._flows_by_name[name] += 1
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
        """End the alerts that the end of this run ends. Return the flows of the run's alerts."""
        instances = [self._instances[alert_id] for alert_id in self._by_run.get(run_id, ())]
        for instance in instances:
            instance.is_over |= instance.ends_with(ended_at)
        return {instance.key for instance in instances}

    def states(self, key: FlowKey, now: int) -> dict[str, bool]:
        """Whether each alert of a flow is firing, by the alert's name."""
        states = dict.fromkeys(self._names.get(key, ()), False)
        for alert_id in self._by_flow.get(key, ()):
            instance = self._instances[alert_id]
            if not instance.is_over and instance.fired_at is not None:
                states[instance.name] |= now < instance.fired_at + FIRING_FOR
        return states

    def drop(self, key: FlowKey) -> AlertsState:
        """Delete all alerts of a flow. Return what was deleted."""
        found = ((alert_id, self._instances[alert_id]) for alert_id in self._by_flow.get(key, ()))
        instances = sorted(found, key=lambda item: (item[1].updated_at, item[0]))
        names = self._names.pop(key, None)
        self._flows_by_name -= Counter(names or [])
        for alert_id, _ in instances:
            self._delete(alert_id)
        return AlertsState(instances, [] if names is None else [(key, names)])

    def add_older(self, older: AlertsState) -> None:
        """Add the alerts of a flow that `drop` returned. What has come for their ids since then is newer."""
        for key, names in older.names:
            newer_names = self._names.get(key, [])
            self._names[key] = list(dict.fromkeys([*names, *newer_names]))
            self._flows_by_name += Counter(self._names[key]) - Counter(newer_names)
        for alert_id, instance in older.instances:
            newer = self._instances.get(alert_id)
            if newer is None:
                self._insert(alert_id, instance)
            else:
                newer.is_over |= instance.is_over
        self._instances = OrderedDict(sorted(self._instances.items(), key=lambda item: item[1].updated_at))

    def move_times(self, move: Callable[[int], int]) -> None:
        """Replace every time of recording."""
        for instance in self._instances.values():
            instance.move_times(move)

    def ends(self) -> Iterator[tuple[int, FlowKey]]:
        """When each firing alert ends by itself, with its flow."""
        for instance in self._instances.values():
            if not instance.is_over and instance.fired_at is not None:
                yield instance.fired_at + FIRING_FOR, instance.key

    def state(self) -> AlertsState:
        """The state that `restore` takes."""
        return AlertsState(list(self._instances.items()), list(self._names.items()))

    def restore(self, state: AlertsState) -> None:
        """Restore a saved state into an empty object."""
        self._names = dict(state.names)
        self._flows_by_name = Counter(chain.from_iterable(self._names.values()))
        for alert_id, instance in state.instances:
            self._insert(alert_id, instance)

    def drop_excess(self) -> list[FlowKey]:
        """Drop the least recently recorded ids beyond MAX_ALERTS. Return the flow of each."""
        excess = len(self._instances) - MAX_ALERTS
        if excess <= 0:
            return []
        oldest = list(islice(self._instances.items(), excess))
        for alert_id, _ in oldest:
            self._delete(alert_id)
        return [instance.key for _, instance in oldest]

    def _insert(self, alert_id: str, instance: AlertInstance) -> None:
        self._instances[alert_id] = instance
        self._by_flow.setdefault(instance.key, set()).add(alert_id)
        if instance.run_id:
            self._by_run.setdefault(instance.run_id, set()).add(alert_id)

    def _delete_old(self, received_at: int, horizon: int) -> None:
        """Delete ids whose last notification is so old that none can follow. The oldest come first."""
        while self._instances:
            alert_id, oldest = next(iter(self._instances.items()))
            is_crowded = len(self._instances) > MAX_UNCONFIRMED
            if oldest.updated_at + _KEPT_FOR > (received_at if is_crowded else horizon):
                return
            self._delete(alert_id)

    def _delete(self, alert_id: str) -> None:
        instance = self._instances.pop(alert_id)
        _discard(self._by_flow, instance.key, alert_id)
        _discard(self._by_run, instance.run_id, alert_id)


def _discard(index: dict[_Key, set[str]], key: _Key, alert_id: str) -> None:
    if key in index:
        index[key].discard(alert_id)
        if not index[key]:
            del index[key]
