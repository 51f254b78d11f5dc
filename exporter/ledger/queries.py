"""What pages, the API and commands ask of a ledger.

`Queries` is the port: it states what every engine guarantees. One test holds every engine to it
(tests/ledger/test_queries.py). Answers are facts as they were recorded, with their bodies. Whoever asks reads the
bodies.

A run can have several outcomes: the first that was recorded, and corrections. The one that **stands** has the newest
`updated_at`, and of several with the same the highest position. Where Adobe gave no such time, the end of the run takes
its place. So it does in entries of versions that did not store it, even if their bodies hold one. For these entries a
list and the metrics, which read bodies, can disagree about a run with several outcomes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from exporter.model import EntryKind, Fact, Reader, Status

MAX_LIMIT: Final = 500
"""Items of a page, at most."""
MAX_COUNTED: Final = 10_000
"""Runs that are counted with one code, at most."""
MAX_ALERTS: Final = 100
"""Alerts that are given with a run, at most: the first ones."""

_MAX_TIME: Final = 1 << 53

_OUTCOMES: Final = frozenset(status.value for status in Status if status.is_outcome)
_GOOD: Final = frozenset(status.value for status in Status if status.is_success)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A fact as it was recorded. Times are milliseconds since 1970."""

    position: int
    received_at: int
    """When it was committed, by the ledger's clock."""
    source: str
    """The value of a Source, or another word that a newer version of this program wrote."""
    kind: str
    """The value of an EntryKind, or another word that a newer version of this program wrote."""
    event_code: str | None = None
    counts: bool = False
    """As in `exporter.ledger.Entry`. An outcome that does not count is a correction."""
    flow_id: str | None = None
    run_id: str | None = None
    sandbox: str | None = None
    status: str | None = None
    """The value of a Status or of an AlertState, or another word that a newer version of this program wrote."""
    error_codes: tuple[str, ...] = ()
    completed_at: int | None = None
    """When it happened, by Adobe's clock: of an outcome the end of the run."""
    updated_at: int | None = None
    """When the run was updated last, by Adobe's clock. None in entries of versions that did not store it."""
    event_id: str | None = None
    body: bytes = field(default=b"", repr=False)

    def fact(self, read: Reader) -> Fact:
        """What its body states. `read` reads the stored body of an event."""
        return read(self.body, self.received_at, self.event_code or "")

    @property
    def is_outcome(self) -> bool:
        """Whether it is the end of a run."""
        return self.kind == EntryKind.RUN and self.status in _OUTCOMES

    @property
    def is_good(self) -> bool:
        """Whether it is the end of a run that succeeded, wholly or partly."""
        return self.kind == EntryKind.RUN and self.status in _GOOD

    @property
    def ended_at(self) -> int:
        """When it happened, or when it was recorded if that is not known. Lists of runs are in this order."""
        return self.received_at if self.completed_at is None else self.completed_at

    @property
    def standing(self) -> tuple[int, int]:
        """Of several outcomes of one run, the one with the greatest value stands."""
        return self.ended_at if self.updated_at is None else self.updated_at, self.position


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which runs a list has. None, and the default, is any.

    The outcome that stands is compared. Raises ValueError for values that no run can have.
    """

    flow_id: str | None = None
    sandbox: str | None = None
    """Empty for runs whose sandbox is not known."""
    status: Status | None = None
    """An outcome."""
    error_code: str | None = None
    """One of the codes that the run reported."""
    since: int | None = None
    """The earliest end of a run: milliseconds since 1970."""
    until: int | None = None
    """The end of a run is before this time: milliseconds since 1970."""

    def __post_init__(self) -> None:
        if self.status is not None and not self.status.is_outcome:
            raise ValueError(f"{self.status.value!r} is not an outcome of a run")
        for text in (self.flow_id, self.sandbox, self.error_code):
            # A lone surrogate can be in a Python text, and in no ledger.
            (text or "").encode()
        for moment in (self.since, self.until):
            if moment is not None and abs(moment) > _MAX_TIME:
                raise ValueError("a time is milliseconds since 1970")


class Page(NamedTuple):
    """A part of a list."""

    items: tuple[Row, ...]
    """At most as many as were asked for. There may be fewer if they are large, and there is at least one if the list
    goes on."""
    next: str | None
    """The cursor of the next page, or None if the list ends here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """All that was recorded of one run."""

    facts: tuple[Row, ...]
    """Starts, outcomes and corrections, and the first MAX_ALERTS alerts that name the run, in order of position.

    There may be fewer alerts if they are large.
    """
    standing: Row | None
    """The outcome that stands. None if the run has not ended."""
    previous: Row | None
    """The run of the same flow and sandbox that ended before it. None if there is none in the ledger."""
    next: Row | None
    """The run of the same flow and sandbox that ended after it."""


class SeenFlow(NamedTuple):
    """A flow in one sandbox. The sandbox is empty if it is not known, the flow id for alerts that name no flow."""

    flow_id: str
    sandbox: str


class FlowFacts(NamedTuple):
    """What shows that the ledger holds a flow."""

    newest: Row
    """The entry of the flow that happened last."""
    newest_description: Row | None
    """The same of the runs and descriptions of the flow alone. Their bodies name the flow, those of alerts may not."""
    forgotten: int | None
    """The position of the newest statement that the flow was forgotten. None without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenCode:
    """When runs reported an error code. Times are milliseconds since 1970."""

    code: str
    recent_runs: int
    """Runs that ended since the time that was given and have the code in the outcome that stands.

    MAX_COUNTED stands for any number from there on.
    """
    first_seen_at: int
    """The end of the first run that reported it, of all outcomes that are in the ledger."""
    last_seen_at: int
    """The same of the last."""


class Queries(Protocol):
    """Answers questions about a ledger, of this process or of another one, and never changes anything.

    All methods block: call them on a thread of their own, several at a time if need be. Each answer is of one moment,
    and holds all that was committed before the question. Each is bounded in rows and in time.

    All raise QueryTimeoutError if an answer takes too long, LedgerUnavailableError if the ledger can't be read now,
    and, when it has to be opened, LedgerMissingError or LedgerUnusableError. In a process that has the ledger open as a
    `Ledger`, ask only while that is open, and close this first. A `limit` outside 1 to MAX_LIMIT, and a
    text that is not valid Unicode, raise ValueError.
    """

    def runs(self, wanted: RunFilter, limit: int = 100, cursor: str | None = None) -> Page:
        """Runs that have ended, each once, with the outcome that stands: latest end first, then highest position.

        With the cursor of the page before, the list goes on where that page ended. What was recorded after the first
        page does not show: neither runs nor corrections. What is pruned meanwhile is left out. If the outcome that
        stood is pruned and another of the run is not, the other one stands from then on, and the run can show again.

        `wanted` should be the same for all pages. Raises BadCursorError for a text that is no cursor of this list.
        """
        ...

    def entries(self, positions: Sequence[int]) -> tuple[Row, ...]:
        """The entries at these positions, at most MAX_LIMIT, in this order.

        What is pruned or damaged is left out. There may be fewer if they are large: then the last ones are missing.
        """
        ...

    def run(self, run_id: str) -> RunFacts | None:
        """All that was recorded of a run. None if it is nothing."""
        ...

    def last_runs(self, flow_id: str, sandbox: str, limit: int = 100) -> tuple[Row, ...]:
        """The runs of a flow that ended last, in the order of `runs`. There may be fewer if they are large."""
        ...

    def last_good_run(self, flow_id: str, sandbox: str) -> Row | None:
        """The run of a flow that ended last of those that succeeded, wholly or partly."""
        ...

    def codes(self, since: int) -> tuple[SeenCode, ...]:
        """The error codes that are in the ledger, the one that was seen last first, then by their text.

        `since`: from when on runs are counted (milliseconds since 1970).
        """
        ...

    def not_understood(self, limit: int = 100, cursor: str | None = None) -> Page:
        """The entries that are unsupported or unreadable, newest first. The cursor is as with `runs`."""
        ...

    def flows(self, after: SeenFlow | None = None, limit: int = 100) -> tuple[SeenFlow, ...]:
        """Flows of which the ledger holds a run, a description or an alert, after a flow, by flow id and sandbox."""
        ...

    def sandboxes(self, flow_id: str) -> tuple[str, ...]:
        """The sandboxes of a flow, as in `flows`, at most MAX_LIMIT."""
        ...

    def flow(self, flow_id: str, sandbox: str) -> FlowFacts | None:
        """What shows that the ledger holds a flow. None if it does not."""
        ...

    def last_deliveries(self) -> Mapping[str, int]:
        """When something was last delivered by each source (milliseconds since 1970, by the ledger's clock).

        A delivery counts even if all of its facts were known. Only sources that have delivered are named.
        """
        ...

    def oldest_entry_at(self) -> int | None:
        """When the first entry that is not pruned was recorded (milliseconds since 1970). None if there is none."""
        ...

    def close(self) -> None:
        """Release all files. Call it when no question is being answered."""
        ...
