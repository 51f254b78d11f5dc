"""The product's nouns: frozen values, valid when made, of the standard library only.

Times are integers, milliseconds since 1970 UTC; durations are milliseconds; sizes are bytes. `None` means that Adobe
did not say, or said something that made no sense: unknown is never zero. This module knows nothing of how Adobe
writes a run down, where runs are kept, or what becomes of them.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

DAY: Final = 24 * 60 * 60 * 1000
"""Milliseconds."""

OTHER = "other"
"""The label value that stands for everything outside a closed list."""


class Source(StrEnum):
    """Which way a fact came."""

    WEBHOOK = "webhook"
    JOURNAL = "journal"
    REPLAY = "replay"
    OPERATOR = "operator"
    """A person said it, by a command."""


class FlowKind(StrEnum):
    """What a flow does, as far as its runs tell."""

    SOURCE = "source"
    DESTINATION = "destination"
    IDENTITY = "identity"
    PROFILE = "profile"
    SEGMENT = "segment"
    QUERY = "query"
    UNKNOWN = "unknown"


class EntryKind(StrEnum):
    """What an entry of the ledger says."""

    RUN = "run"
    ALERT = "alert"
    FLOW = "flow"
    FORGOTTEN = "forgotten"
    UNSUPPORTED = "unsupported"
    UNREADABLE = "unreadable"


class Status(StrEnum):
    """The state a run is in. All but the last two are outcomes: the run has ended."""

    SUCCESS = "success"
    PARTIAL_SUCCESS = "partial_success"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
    IN_PROGRESS = "in_progress"
    QUEUED = "queued"

    @property
    def is_outcome(self) -> bool:
        """Whether a run in this state has ended."""
        return self is not Status.IN_PROGRESS and self is not Status.QUEUED

    @property
    def is_success(self) -> bool:
        """Whether the run brought its data, wholly or partly."""
        return self is Status.SUCCESS or self is Status.PARTIAL_SUCCESS


class Result(StrEnum):
    """What became of one event of a delivery."""

    RECORDED = "recorded"
    DUPLICATE = "duplicate"
    UNSUPPORTED = "unsupported"
    UNREADABLE = "unreadable"
    EXPIRED = "expired"


RECORD_RESULTS = ("input", "output", "created", "updated", "deleted", "skipped", "failed", "warning")
SIZE_RESULTS = ("input", "output", "skipped", "failed")
"""What a run reports of its bytes, and of its files."""

ACTIVITIES = (
    "copy",
    "promotion",
    "identity",
    "profile",
    "segmentation",
    "activation_processing",
    "activation_publishing",
    "activation_streaming",
    "query",
    OTHER,
)

_ERROR_CODE = re.compile(r"[A-Z][A-Z_]{1,23}-[0-9]{1,6}-[A-Z0-9]{2,8}|[0-9]{2,6}(?:-[0-9]{3})?")


def is_error_code(text: str) -> bool:
    """Whether a text looks like one of Platform's error codes; anything else may be free text."""
    return _ERROR_CODE.fullmatch(text) is not None


Counts = tuple[tuple[str, int], ...]
"""Pairs of a result and how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunError:
    """One error a run reported; `code` looks like a code or is `other`."""

    code: str
    message: str | None = None
    count: int | None = None

    def __post_init__(self) -> None:
        if self.code != OTHER and not is_error_code(self.code):
            raise ValueError("an error's code must look like a code or be 'other'")


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """One step of a run; `name` is one of ACTIVITIES."""

    name: str
    started_at: int | None = None
    completed_at: int | None = None

    def __post_init__(self) -> None:
        if self.name not in ACTIVITIES:
            raise ValueError(f"unknown activity {self.name!r}")

    @property
    def duration(self) -> int | None:
        """Milliseconds from start to completion, where both are known and in order."""
        return span(self.started_at, self.completed_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowRun:
    """One run of a flow in one state, as one notification told it."""

    run_id: str
    flow_id: str
    status: Status
    sandbox: str = ""
    org: str = ""
    flow_name: str = ""
    kind: FlowKind = FlowKind.UNKNOWN
    started_at: int | None = None
    completed_at: int | None = None
    created_at: int | None = None
    updated_at: int | None = None
    envelope_time: int | None = None
    """The time of the envelope the run came in."""
    records: Counts = ()
    """By result (RECORD_RESULTS); a result that was not reported is not there."""
    size: Counts = ()
    """Bytes by result (SIZE_RESULTS)."""
    files: Counts = ()
    """Files by result (SIZE_RESULTS)."""
    errors: tuple[RunError, ...] = ()
    activities: tuple[Activity, ...] = ()
    anomalies: tuple[str, ...] = ()
    """Fields whose value made no sense and was left out."""

    def __post_init__(self) -> None:
        if not self.run_id or not self.flow_id:
            raise ValueError("a run needs an id and the id of its flow")

    @property
    def duration(self) -> int | None:
        """Milliseconds from start to completion, where both are known and in order."""
        return span(self.started_at, self.completed_at)

    @property
    def ended_at(self) -> int | None:
        """When the run ended, by the best evidence the notification holds; None for a run that has not ended."""
        if not self.status.is_outcome:
            return None
        for moment in (self.completed_at, self.updated_at, self.created_at, self.envelope_time):
            if moment is not None:
                return moment
        return None

    @property
    def error_codes(self) -> tuple[str, ...]:
        """The distinct codes the run reported, in the order it reported them."""
        return tuple(dict.fromkeys(error.code for error in self.errors))


class FlowKey(NamedTuple):
    """A flow in one sandbox. `other` stands for all flows beyond the limit, "" for alerts that name no flow."""

    flow_id: str
    sandbox: str


class AlertState(StrEnum):
    """Adobe's two states of an alert."""

    FIRING = "firing"
    INACTIVE = "inactive"


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowAlert:
    """One of Adobe's own alerts changing its state."""

    alert_id: str
    name: str
    state: AlertState
    sandbox: str = ""
    org: str = ""
    flow_id: str = ""
    run_id: str = ""
    changed_at: int | None = None
    anomalies: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.alert_id:
            raise ValueError("an alert needs an id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """What the Flow Service says of a flow itself."""

    flow_id: str
    sandbox: str = ""
    org: str = ""
    flow_name: str = ""
    kind: FlowKind = FlowKind.UNKNOWN
    enabled: bool | None = None
    updated_at: int | None = None

    def __post_init__(self) -> None:
        if not self.flow_id:
            raise ValueError("a flow needs an id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """A person's word that a flow is gone on purpose."""

    flow_id: str

    def __post_init__(self) -> None:
        if not self.flow_id:
            raise ValueError("a flow needs an id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsupported:
    """A JSON object that is neither a run nor an alert: another topic, or a run that lacks what makes it one."""

    sandbox: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """Bytes that are no JSON object."""


Fact = FlowRun | FlowAlert | Flow | Forgotten | Unsupported | Unreadable

Reader = Callable[[bytes, int, str], Fact]
"""Reads an event's body as it was kept; given the time of recording and the event code that was known of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One fact of a delivery: what was read, and the bytes it was read from."""

    fact: Fact
    body: bytes
    event_id: str | None = None
    event_code: str | None = None
    client_id: str | None = None
    """Whom it is meant for, where it says so."""
    is_complete: bool = False
    """Whether the fact is all from the body: what came around it said no more of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What came in one request, page or file."""

    source: Source
    events: tuple[Event, ...] = field(default=())
    read_at: int | None = None
    """The time as of which it was read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedFact:
    """A fact as the ledger keeps it: with its place in the order of all facts and the time it was recorded."""

    position: int
    received_at: int
    source: Source
    fact: Fact
    counts: bool
    """Whether this is the first outcome recorded of its run."""
    event_code: str | None = None
    ended_at: int | None = None


def span(started_at: int | None, completed_at: int | None) -> int | None:
    """Milliseconds between two moments, where both are known and in order."""
    if started_at is None or completed_at is None or completed_at < started_at:
        return None
    return completed_at - started_at
