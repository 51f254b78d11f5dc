"""Keeps flows that expired by the ledger's clock until Adobe's times confirm that they had expired.

A wrong clock can make every flow look silent for months. So a flow that expired is set aside with all that the fold
holds of it. When the clock is corrected and the flow had not expired by the right time, it is put back. When Adobe has
given a time that is later than its expiry, it is deleted (docs/architecture.md, "Clock").

At most `max_flows` are kept, and beyond that the longest silent one goes first.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from exporter.metrics.alerts import AlertsState
from exporter.metrics.families import FamilyState
from exporter.metrics.flow_state import FlowState
from exporter.metrics.runs_in_progress import RunStart
from exporter.model import ClockCorrection, FlowKey


@dataclass(slots=True, kw_only=True)
class SilentFlow:
    """All that a fold holds of one flow. The field names are those of the checkpoint."""

    key: FlowKey
    flow: FlowState
    starts: list[tuple[str, RunStart]] = field(default_factory=list)
    alerts: AlertsState = field(default_factory=AlertsState)
    series: list[FamilyState] = field(default_factory=list)


class SetAside:
    """The flows that are set aside, in the order in which they expired. One flow can be there more than once."""

    def __init__(self, max_flows: int, expiry: Callable[[FlowState], int]) -> None:
        """`expiry` returns the last moment at which a flow is shown."""
        self._max_flows = max_flows
        self._expiry = expiry
        self._flows: list[SilentFlow] = []
        self._next_expiry: int | None = None
        """The earliest expiry of all."""

    def put(self, flow: SilentFlow) -> None:
        """Set a flow aside."""
        self._flows.append(flow)
        if len(self._flows) > self._max_flows:
            self._flows.remove(min(self._flows, key=lambda each: each.flow.recorded_at))
        self._note_expiry()

    def delete_expired(self, horizon: int) -> None:
        """Delete the flows that had expired before this time."""
        if self._next_expiry is not None and self._next_expiry < horizon:
            self._keep(lambda each: self._expiry(each.flow) >= horizon)

    def delete_flow(self, flow_id: str) -> None:
        """Delete a flow, in every sandbox."""
        self._keep(lambda each: each.key.flow_id != flow_id)

    def take_unexpired(self, now: int) -> list[SilentFlow]:
        """Remove and return the flows that have not expired at this time, the last that was set aside first."""
        found = [each for each in reversed(self._flows) if self._expiry(each.flow) >= now]
        self._keep(lambda each: self._expiry(each.flow) < now)
        return found

    def state(self) -> list[SilentFlow]:
        """The state that `restore` takes."""
        return list(self._flows)

    def restore(self, state: list[SilentFlow]) -> None:
        """Restore a saved state into an empty object."""
        self._flows = list(state)
        self._note_expiry()

    def correct(self, correction: ClockCorrection, hold: int, move: Callable[[int], int]) -> None:
        """Move all times when the clock is corrected. `move` returns the new time of an old time of recording."""
        for each in self._flows:
            for state in each.series:
                for _, group in state.groups:
                    for _, series in group:
                        series.correct(correction, hold)
            each.flow.recorded_at = move(each.flow.recorded_at)
            each.starts = [(run_id, start.moved(move)) for run_id, start in each.starts]
            for _, instance in each.alerts.instances:
                instance.move_times(move)
        self._note_expiry()

    def _keep(self, is_kept: Callable[[SilentFlow], bool]) -> None:
        self._flows = [each for each in self._flows if is_kept(each)]
        self._note_expiry()

    def _note_expiry(self) -> None:
        self._next_expiry = min((self._expiry(each.flow) for each in self._flows), default=None)
