"""The whole state of a fold, as a checkpoint stores it: the parts of all modules, and what the fold itself counts.

The field names here and in everything below are those of the checkpoint's JSON.
"""

from dataclasses import dataclass, field
from typing import Final

from exporter.metrics.alerts import AlertsState
from exporter.metrics.families import FamilyState
from exporter.metrics.flows import FlowsState, Limits
from exporter.metrics.runs_in_progress import RunStart
from exporter.metrics.set_aside import SilentFlow
from exporter.metrics.skipped import Skipped

ALERTS: Final = "alert"
STARTS: Final = "start"
ENDED_RUNS: Final = "ended_run"
DROPPED_KINDS: Final = (ALERTS, STARTS, ENDED_RUNS)
"""What is dropped at a bound."""


@dataclass(slots=True, kw_only=True)
class FoldState:
    """The whole state of a fold, as a checkpoint stores it."""

    limits: Limits | None = None
    """The limits it was made with. A restored fold applies its own limits from then on."""
    now: int = 0
    flows: FlowsState = field(default_factory=FlowsState)
    starts: list[tuple[str, RunStart]] = field(default_factory=list)
    """Runs in progress by id. The oldest record comes first."""
    ended: list[tuple[str, tuple[int, int]]] = field(default_factory=list)
    """Ended runs by id, each with when its end was recorded and when it ended. The oldest record comes first."""
    alerts: AlertsState = field(default_factory=AlertsState)
    last_notifications: list[tuple[str, int]] = field(default_factory=list)
    series: list[FamilyState] = field(default_factory=list)
    version: int = 0
    """The version of the rules of the fold that saved it (`VERSION` in `fold`)."""
    skipped: Skipped = field(default_factory=Skipped)
    dropped: dict[str, int] = field(default_factory=dict)
    """How much was dropped at a bound, by kind."""
    newest_event: int = 0
    """The newest time at which anything happened by Adobe's clock. 0 without one."""
    recorded_until: int = 0
    """The largest time of recording since the last correction of the clock."""
    correction: tuple[int, int] | None = None
    """The last correction of the clock: from and to."""
    set_aside: list[SilentFlow] = field(default_factory=list)
