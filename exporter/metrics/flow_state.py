"""The state of one flow in one sandbox. `gauges` reads it, and a checkpoint stores it."""

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from exporter.metrics.run_history import RunHistory
from exporter.model import FlowKind

AsOf = tuple[int, int]
"""When something was true (milliseconds since 1970), then the position of the entry that says so."""

_Value = TypeVar("_Value")


@dataclass(slots=True)
class LastWrite(Generic[_Value]):
    """A value that facts set in any order. The newest time wins, then the highest position."""

    value: _Value | None = None
    as_of: AsOf = (0, 0)

    def update(self, value: _Value | None, as_of: AsOf) -> None:
        """Set the value, unless it is None or a newer one is set."""
        if value is not None and as_of >= self.as_of:
            self.value, self.as_of = value, as_of


@dataclass(slots=True)
class FlowState:
    """One flow in one sandbox."""

    name: LastWrite[str] = field(default_factory=LastWrite)
    kind: LastWrite[FlowKind] = field(default_factory=LastWrite)
    org: LastWrite[str] = field(default_factory=LastWrite)
    enabled: LastWrite[bool] = field(default_factory=LastWrite)
    run_history: RunHistory = field(default_factory=RunHistory)
    error_codes: set[str] = field(default_factory=set)
    recorded_at: int = 0
    """When the newest entry of this flow was recorded, in milliseconds since 1970."""
    has_run: bool = False
    is_query: bool = False
    is_known: bool = False
    """Whether a run or the Flow Service named this flow. False where only Adobe's alerts did."""

    def describe(self, name: str, kind: FlowKind, org: str, as_of: AsOf) -> None:
        """Update name, kind and organisation. A flow that was once a query stays one."""
        self.is_known = True
        self.name.update(name or None, as_of)
        self.kind.update(None if kind is FlowKind.UNKNOWN else kind, as_of)
        self.org.update(org or None, as_of)
        self.is_query |= kind is FlowKind.QUERY

    def shown_name(self, flow_id: str) -> str:
        """The name to show, empty if none is known. The name of a query can be its SQL, so its id stands for it."""
        return flow_id if self.is_query else self.name.value or ""

    @property
    def shown_kind(self) -> FlowKind:
        """The kind to show."""
        return FlowKind.QUERY if self.is_query else self.kind.value or FlowKind.UNKNOWN

    def add(self, newer: "FlowState") -> None:
        """Add what another state of the same flow holds, which came after this one."""
        self.name.update(newer.name.value, newer.name.as_of)
        self.kind.update(newer.kind.value, newer.kind.as_of)
        self.org.update(newer.org.value, newer.org.as_of)
        self.enabled.update(newer.enabled.value, newer.enabled.as_of)
        self.run_history.add_all(newer.run_history)
        self.error_codes |= newer.error_codes
        self.recorded_at = max(self.recorded_at, newer.recorded_at)
        self.has_run |= newer.has_run
        self.is_query |= newer.is_query
        self.is_known |= newer.is_known
