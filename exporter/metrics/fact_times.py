"""When a fact happened by Adobe's clock, and whether it is too old for a hold or for any series. Pure functions.

Times are milliseconds since 1970.
"""

from typing import Final

from exporter.model import DAY, FlowAlert, FlowRun, RecordedFact, Source

BACKDATED_AFTER: Final = DAY
"""A run that ended longer before it was recorded is backdated. A series that it creates is not held."""
TOO_OLD_AFTER: Final = 8 * DAY
"""A replayed run that ended longer before changes no series. The ids of ended runs are kept for as long."""
MAX_UNCONFIRMED: Final = 5_000
"""So many runs of a kind, and so many alert ids, are remembered for longer while Adobe's times do not confirm that the
time has passed."""


def started_at(run: FlowRun, received_at: int) -> int:
    """When a run started, or the best substitute."""
    for moment in (run.started_at, run.created_at):
        if moment is not None:
            return moment
    return received_at


def happened_at(recorded: RecordedFact) -> int | None:
    """When it happened by Adobe's clock, if Adobe gave a time."""
    return recorded.fact.changed_at if isinstance(recorded.fact, FlowAlert) else recorded.ended_at


def is_backdated(recorded: RecordedFact) -> bool:
    """Whether it is a run that ended so long before it was recorded that its new series are not held."""
    return recorded.ended_at is not None and recorded.received_at - recorded.ended_at > BACKDATED_AFTER


def is_too_old(recorded: RecordedFact) -> bool:
    """Whether it is a run or an alert from a file that is too old for any series. The ledger keeps it all the same."""
    fact = recorded.fact
    if recorded.source is not Source.REPLAY:
        return False
    at: int | None = None
    if isinstance(fact, FlowAlert):
        at = fact.changed_at
    elif isinstance(fact, FlowRun):
        at = recorded.ended_at if fact.status.is_outcome else started_at(fact, recorded.received_at)
    return at is not None and recorded.received_at - at > TOO_OLD_AFTER
