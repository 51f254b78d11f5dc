"""The values that the whole program works with: runs, alerts, flows, and the events and deliveries that carry them.

All of them are frozen, and a constructor raises ValueError for values that are not valid. Times are integers in
milliseconds since 1970 UTC, durations are milliseconds, and sizes are bytes. `None` means that the value is unknown:
Adobe left it out, or sent something that is not valid. An unknown value is never replaced by zero.

This module uses the standard library only. It holds nothing about Adobe's JSON, about the ledger or about metrics.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

DAY: Final = 24 * 60 * 60 * 1000
"""Milliseconds."""

CLOCK_TOLERANCE: Final = 5 * 60 * 1000
"""Milliseconds. A clock that is further off was wrong and is corrected. Smaller steps move nothing back."""

OTHER = "other"
"""The label value for everything that is not in a closed list."""


class Source(StrEnum):
    """The way by which a fact reached the ledger."""

    WEBHOOK = "webhook"
    JOURNAL = "journal"
    REPLAY = "replay"
    OPERATOR = "operator"
    """No notification: a person entered it with a command, or the ledger recorded it about itself."""


class FlowKind(StrEnum):
    """What a flow does. A flow's kind is not the kind of a ledger entry: that is EntryKind."""

    SOURCE = "source"
    DESTINATION = "destination"
    IDENTITY = "identity"
    PROFILE = "profile"
    SEGMENT = "segment"
    QUERY = "query"
    UNKNOWN = "unknown"


class EntryKind(StrEnum):
    """What an entry of the ledger holds. It is stored with the entry, in the column `kind`."""

    RUN = "run"
    ALERT = "alert"
    FLOW = "flow"
    FORGOTTEN = "forgotten"
    CLOCK = "clock"
    """The ledger's clock was set right, or was set wrong. Every entry after it has times of the new clock."""
    UNSUPPORTED = "unsupported"
    UNREADABLE = "unreadable"


class SkipReason(StrEnum):
    """Why the metrics do not include an entry of the ledger."""

    UNKNOWN = "unknown"
    """Its kind or its source is one that this version does not have."""
    UNREADABLE = "unreadable"
    """Reading its body failed."""
    FOLD = "fold"
    """Applying its fact failed."""
    DAMAGED = "damaged"
    """Its row in the ledger is damaged, so that no version can read it."""


class Status(StrEnum):
    """The state of a run. All states but the last two are outcomes: a run with an outcome has ended."""

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
        """Whether the run delivered all of its data, or a part of it."""
        return self is Status.SUCCESS or self is Status.PARTIAL_SUCCESS


class Result(StrEnum):
    """What recording one event led to. The webhook's answer and the label `result` of the exporter's metrics show it.

    RECORDED, UNSUPPORTED and UNREADABLE events are new in the ledger, DUPLICATE events were in it already, and EXPIRED
    events were not recorded because they are older than the ledger's retention.
    """

    RECORDED = "recorded"
    DUPLICATE = "duplicate"
    UNSUPPORTED = "unsupported"
    UNREADABLE = "unreadable"
    EXPIRED = "expired"


RECORD_RESULTS = ("input", "output", "created", "updated", "deleted", "skipped", "failed", "warning")
"""By which results a run can report its numbers of records."""
SIZE_RESULTS = ("input", "output", "skipped", "failed")
"""By which results a run can report its bytes and its files."""

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
"""The names of a run's activities."""

_ERROR_CODE = re.compile(r"[A-Z][A-Z_]{1,23}-[0-9]{1,6}-[A-Z0-9]{2,8}|[0-9]{2,6}(?:-[0-9]{3})?|[0-9][0-9A-Z]{4}")


def is_error_code(text: str) -> bool:
    """Whether a text has the form of an error code of Platform, or of an SQLSTATE, which queries report.

    Any other text may be free text. Letters are upper case, as Adobe and PostgreSQL write them.
    """
    return _ERROR_CODE.fullmatch(text) is not None


Counts = tuple[tuple[str, int], ...]
"""Pairs of a result and its number. A result that was not reported has no pair."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunError:
    """One error that a run reported."""

    code: str
    """An error code (see `is_error_code`), or `other`. Anything else raises ValueError, because codes become labels."""
    message: str | None = None
    count: int | None = None
    """How many records it concerns."""

    def __post_init__(self) -> None:
        if self.code != OTHER and not is_error_code(self.code):
            raise ValueError("an error's code must look like a code or be 'other'")


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """One step of a run."""

    name: str
    """One of ACTIVITIES. Anything else raises ValueError."""
    started_at: int | None = None
    completed_at: int | None = None

    def __post_init__(self) -> None:
        if self.name not in ACTIVITIES:
            raise ValueError(f"unknown activity {self.name!r}")

    @property
    def duration(self) -> int | None:
        """Milliseconds from start to completion. None unless both are known and in order."""
        return duration_between(self.started_at, self.completed_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowRun:
    """One run of a flow in one state, as one notification reports it.

    A run without id or without flow id raises ValueError.
    """

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
    """The time in the envelope that the run came in."""
    records: Counts = ()
    """Records by result (RECORD_RESULTS)."""
    size: Counts = ()
    """Bytes by result (SIZE_RESULTS)."""
    files: Counts = ()
    """Files by result (SIZE_RESULTS)."""
    errors: tuple[RunError, ...] = ()
    activities: tuple[Activity, ...] = ()
    anomalies: tuple[str, ...] = ()
    """Names of the fields whose value was not valid and was dropped. A field is named once for each value."""

    def __post_init__(self) -> None:
        if not self.run_id or not self.flow_id:
            raise ValueError("a run needs an id and the id of its flow")

    @property
    def duration(self) -> int | None:
        """Milliseconds from start to completion. None unless both are known and in order."""
        return duration_between(self.started_at, self.completed_at)

    @property
    def ended_at(self) -> int | None:
        """When the run ended: when it was completed, else updated, else created, else when the envelope was written.

        None if the run has not ended, or if the notification holds none of these times.
        """
        if not self.status.is_outcome:
            return None
        for moment in (self.completed_at, self.updated_at, self.created_at, self.envelope_time):
            if moment is not None:
                return moment
        return None

    @property
    def error_codes(self) -> tuple[str, ...]:
        """The codes that the run reported, each once, in the order of the report."""
        return tuple(dict.fromkeys(error.code for error in self.errors))


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """What a run reported about some of its records, as Adobe wrote it. All texts can hold any character."""

    code: str
    """An error code (see `is_error_code`), or `other`."""
    written_code: str = ""
    """What stands in the place of a code where it is none."""
    message: str = ""
    """The whole message."""
    count: int | None = None
    """How many records it concerns."""

    @property
    def text(self) -> str:
        """The message, after what stands in the place of a code where it is none."""
        return f"{self.written_code}: {self.message}" if self.written_code else self.message


class RunReference(NamedTuple):
    """Another run that a run names. The flow id is empty if it is not given."""

    run_id: str
    flow_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityDetails:
    """What is shown of an activity besides its times. All texts can hold any character."""

    written_name: str = ""
    """The name that Adobe gave it. Empty without one."""
    state: str = ""
    """The word for its state, as Adobe wrote it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDetails:
    """What the notification of a run holds for people alone. No metric is made from it."""

    errors: tuple[Remark, ...] = ()
    """Each once, with its whole message."""
    skipped: tuple[Remark, ...] = ()
    warnings: tuple[Remark, ...] = ()
    explanations: tuple[str, ...] = ()
    """Long texts about the failure."""
    activities: tuple[ActivityDetails, ...] = ()
    """In the order of `FlowRun.activities`."""
    states: tuple[str, ...] = ()
    """The words for the state of the run and of its batch, as Adobe wrote them, each once."""
    predecessors: tuple[RunReference, ...] = ()
    """The runs that it came from."""
    successors: tuple[RunReference, ...] = ()
    """The runs that came from it."""


class FlowKey(NamedTuple):
    """A flow in one sandbox, as the labels of its series name it.

    The flow id is `other` for all flows beyond the limit, and empty for alerts that name no flow.
    """

    flow_id: str
    sandbox: str


class AlertState(StrEnum):
    """The two states of an alert of Adobe."""

    FIRING = "firing"
    INACTIVE = "inactive"


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowAlert:
    """A change of the state of one of Adobe's own alerts. An alert without id raises ValueError."""

    alert_id: str
    name: str
    state: AlertState
    sandbox: str = ""
    org: str = ""
    flow_id: str = ""
    run_id: str = ""
    changed_at: int | None = None
    """When the alert entered this state."""
    anomalies: tuple[str, ...] = ()
    """As in FlowRun."""

    def __post_init__(self) -> None:
        if not self.alert_id:
            raise ValueError("an alert needs an id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A flow as the Flow Service describes it. A flow without id raises ValueError."""

    flow_id: str
    sandbox: str = ""
    org: str = ""
    flow_name: str = ""
    kind: FlowKind = FlowKind.UNKNOWN
    enabled: bool | None = None
    """None in the Flow Service's other states, which are on the way to enabled or disabled."""
    updated_at: int | None = None

    def __post_init__(self) -> None:
        if not self.flow_id:
            raise ValueError("a flow needs an id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """A person has marked a flow as deleted on purpose. A flow without id raises ValueError."""

    flow_id: str

    def __post_init__(self) -> None:
        if not self.flow_id:
            raise ValueError("a flow needs an id")


class NotUnderstood(StrEnum):
    """Why an event is neither a run, an alert nor a flow. Logs, metrics and commands show these words."""

    OTHER_TOPIC = "other_topic"
    """Adobe's event code, or the form of the event, belongs to a topic that is not about flow runs."""
    NO_FLOW_ID = "no_flow_id"
    """A run without a flow id. Of a run that lacks several things, the first of these three is the reason."""
    NO_RUN_ID = "no_run_id"
    """A run without a run id."""
    NO_STATUS = "no_status"
    """A run without a status."""
    UNKNOWN_SHAPE = "unknown_shape"
    """An object in which neither a run nor an alert can be found."""
    UNREADABLE = "unreadable"
    """Bytes that are not a JSON object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsupported:
    """A JSON object that is no run, alert or flow: another topic, or a run without run id, flow id or status."""

    sandbox: str = ""
    reason: NotUnderstood = NotUnderstood.UNKNOWN_SHAPE


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """Bytes that are not a JSON object."""

    @property
    def reason(self) -> NotUnderstood:
        """Why it is not understood, as of an `Unsupported`."""
        return NotUnderstood.UNREADABLE


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockCorrection:
    """The ledger's clock went from one time to another at once. Times are milliseconds since 1970."""

    from_: int
    """Where the old clock had got to. Nothing was recorded or shown at a later time."""
    to: int
    """The time of the new clock at the same moment."""

    def __post_init__(self) -> None:
        if self.from_ < 0 or self.to < 0:
            raise ValueError("a time before 1970 is no time of a ledger")


Fact = FlowRun | FlowAlert | Flow | Forgotten | Unsupported | Unreadable
"""What an event, and the ledger entry that holds it, states."""

Reader = Callable[[bytes, int, str], Fact]
"""Reads the stored body of an event. Takes the body, the time of recording and the event code (empty if unknown)."""


DetailsReader = Callable[[bytes, str], RunDetails]
"""Reads what the stored body of a run holds for people. Takes the body and the event code (empty if unknown).

It is empty for a body that holds no run.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One element of a delivery: the fact, and the bytes that it was read from."""

    fact: Fact
    body: bytes
    event_id: str | None = None
    """From the body, or else from the request's headers. It is kept for people and decides nothing."""
    body_id: str | None = None
    """The event id in the body. One that is in the headers alone is not signed, so it is never part of a key."""
    content: bytes | None = None
    """Of an event that is neither a run nor an alert: its innermost object, encoded in one way. None if it is no JSON.

    Two bodies that differ only in wrappers, in the order of members or in blanks have the same content.
    """
    event_code: str | None = None
    client_id: str | None = None
    """The client id of the recipient, if the event names one."""
    is_complete: bool = False
    """Whether reading `body` again gives the same fact. It does not if the envelopes outside `body` added to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """The events of one request, of one page of the journal or of one file."""

    source: Source
    events: tuple[Event, ...] = field(default=())
    read_at: int | None = None
    """The time of reading. Times in the events that are more than ten minutes later were dropped as not valid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedFact:
    """A fact with what the ledger adds to it. The metrics are computed from these alone, in the order of position."""

    position: int
    """Rises from entry to entry."""
    received_at: int
    """When the fact was recorded, by the ledger's clock."""
    source: Source
    fact: Fact | ClockCorrection
    counts: bool
    """Whether this is the first outcome that was recorded of its run. Only the first one is counted."""
    event_code: str | None = None
    ended_at: int | None = None
    """When the run ended. None for facts that are not the outcome of a run."""


def duration_between(started_at: int | None, completed_at: int | None) -> int | None:
    """Milliseconds between two times. None unless both are known and in order."""
    if started_at is None or completed_at is None or completed_at < started_at:
        return None
    return completed_at - started_at
