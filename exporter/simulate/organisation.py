"""The flows of a made-up organisation: what each does, how often, how much, and how it misbehaves.

The rule: the same seed and number of flows give exactly the same organisation. Flows are made from a table of
templates, so that a few dozen of them cover everything that Adobe can notify of.

No I/O.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final

from exporter.model import FlowKind

ORGANISATION: Final = "SIMULATED000000000000000@AdobeOrg"
"""The organisation's id. It is on every info series and shows that the data is made up."""
SANDBOXES: Final = ("prod", "prod", "stage", "prod", "dev emea")
"""Assigned in turn. Sandbox names may contain blanks (docs/adobe.md, "Error codes")."""

SECOND: Final = 1000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
"""Milliseconds, as all times and durations here."""


class Behaviour(StrEnum):
    """How a flow misbehaves."""

    STEADY = "steady"
    FLAKY = "flaky"
    """Fails now and then, and recovers."""
    FAILING = "failing"
    """Fails for days, until somebody repairs it."""
    STUCK = "stuck"
    """Has runs that start and never end."""
    SILENT = "silent"
    """Is switched off on its fourth day."""
    EMPTY = "empty"
    """Succeeds without reading a record."""
    SLOW = "slow"
    """Has days on which everything takes long."""
    LOSSY = "lossy"
    """Leaves out some records, because its data has errors."""
    CANCELLED = "cancelled"
    """Is stopped by people now and then."""
    UNDOCUMENTED = "undocumented"
    """Ends in a state that is in none of Adobe's documents."""


class Style(StrEnum):
    """Which of Adobe's formats its notifications have (docs/adobe.md, "Event codes" and "Payloads")."""

    XDM = "xdm"
    """The oldest: milliseconds, and failures as an array of messages with prefixed fields."""
    MESSAGES = "messages"
    """Its successor: seconds, and failures within `messages`."""
    EVENT = "event"
    """The current format, that of the alert rules: the run itself with the flow's name, also when it starts."""


class Envelope(StrEnum):
    """The JSON around an event (docs/adobe.md, "Bodies")."""

    BARE = "bare"
    ADOBE_IO = "adobe_io"
    CLOUD_EVENT = "cloud_event"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When a flow starts its runs: every `interval`, only in `hours` of the day (from, to), `burst` runs at once."""

    interval: int
    hours: tuple[int, int] = (0, 24)
    is_idle_at_weekends: bool = False
    burst: int = 1

    def starts(self, offset: int) -> Iterator[int]:
        """The start times from the beginning of the simulation on, shifted by the flow's offset."""
        slot = offset % self.interval
        while True:
            day, in_day = divmod(slot, DAY)
            is_weekend = self.is_idle_at_weekends and day % 7 >= 5
            if self.hours[0] * HOUR <= in_day < self.hours[1] * HOUR and not is_weekend:
                yield from (slot + 2 * MINUTE * number for number in range(self.burst))
            slot += self.interval


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowTemplate:
    """Everything about a flow except its size, its ids and its sandbox."""

    kind: FlowKind
    name: str
    schedule: Schedule
    behaviour: Behaviour = Behaviour.STEADY
    style: Style = Style.EVENT
    envelope: Envelope = Envelope.ADOBE_IO
    connector: str = "SFTP"
    duration: int = 4 * MINUTE
    """The usual duration of a run in milliseconds."""
    records: int = 10_000
    is_streaming: bool = False
    """Whether its runs are windows of an hour."""
    is_scheduled: bool = False
    """Whether its runs are reported as queued before they start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedFlow:
    """One flow in one sandbox."""

    number: int
    template: FlowTemplate
    flow_id: str
    name: str
    sandbox: str
    sandbox_id: str
    offset: int
    """The time within its interval at which its runs start (milliseconds)."""
    records: int
    bytes_per_record: int


_QUARTER_HOURLY: Final = Schedule(interval=15 * MINUTE)
_HOURLY: Final = Schedule(interval=HOUR)
_TWO_HOURLY: Final = Schedule(interval=2 * HOUR)
_SIX_HOURLY: Final = Schedule(interval=6 * HOUR)
_DAILY: Final = Schedule(interval=DAY)
_OFFICE: Final = Schedule(interval=HOUR, hours=(8, 18), is_idle_at_weekends=True)
_FIVE_A_NIGHT: Final = Schedule(interval=DAY, burst=5)

TEMPLATES: Final = (
    FlowTemplate(kind=FlowKind.SOURCE, name="CRM contacts (SFTP)", schedule=_HOURLY, behaviour=Behaviour.FLAKY),
    FlowTemplate(
        kind=FlowKind.SOURCE,
        name="Orders EU",
        schedule=_HOURLY,
        behaviour=Behaviour.FAILING,
        style=Style.MESSAGES,
        connector="Azure Blob",
    ),
    FlowTemplate(kind=FlowKind.IDENTITY, name="Datalake to identity", schedule=_HOURLY, duration=20 * MINUTE),
    FlowTemplate(
        kind=FlowKind.PROFILE,
        name="Datalake to profile",
        schedule=_HOURLY,
        behaviour=Behaviour.FLAKY,
        duration=25 * MINUTE,
        envelope=Envelope.BARE,
    ),
    FlowTemplate(
        kind=FlowKind.DESTINATION,
        name="Loyalty audience to S3",
        schedule=_FIVE_A_NIGHT,
        behaviour=Behaviour.LOSSY,
        is_scheduled=True,
        envelope=Envelope.BARE,
    ),
    FlowTemplate(
        kind=FlowKind.SEGMENT,
        name="Nightly audiences",
        schedule=_SIX_HOURLY,
        behaviour=Behaviour.FLAKY,
        duration=50 * MINUTE,
        records=400_000,
    ),
    FlowTemplate(
        kind=FlowKind.QUERY,
        name="INSERT INTO churn_scores\nSELECT id, score FROM events WHERE day = current_date",
        schedule=_TWO_HOURLY,
        behaviour=Behaviour.FLAKY,
        records=45_000,
    ),
    FlowTemplate(
        kind=FlowKind.SOURCE, name="Web shop returns", schedule=_HOURLY, behaviour=Behaviour.LOSSY, connector="Maria DB"
    ),
    FlowTemplate(
        kind=FlowKind.SOURCE,
        name="Store visits",
        schedule=_SIX_HOURLY,
        behaviour=Behaviour.STUCK,
        connector="Snowflake",
    ),
    FlowTemplate(
        kind=FlowKind.SOURCE, name="Call centre", schedule=_HOURLY, behaviour=Behaviour.SILENT, connector="Salesforce"
    ),
    FlowTemplate(
        kind=FlowKind.SOURCE, name="Price list", schedule=_SIX_HOURLY, behaviour=Behaviour.EMPTY, records=2_500
    ),
    FlowTemplate(
        kind=FlowKind.SOURCE,
        name="Product feed",
        schedule=_SIX_HOURLY,
        behaviour=Behaviour.SLOW,
        duration=40 * MINUTE,
        records=3_000_000,
    ),
    FlowTemplate(
        kind=FlowKind.DESTINATION, name="Consent to partner", schedule=_TWO_HOURLY, behaviour=Behaviour.CANCELLED
    ),
    FlowTemplate(
        kind=FlowKind.SOURCE,
        name="Newsletter clicks",
        schedule=_TWO_HOURLY,
        behaviour=Behaviour.UNDOCUMENTED,
        envelope=Envelope.CLOUD_EVENT,
    ),
    FlowTemplate(
        kind=FlowKind.SOURCE,
        name="Loyalty points",
        schedule=_QUARTER_HOURLY,
        behaviour=Behaviour.FLAKY,
        style=Style.XDM,
        connector="Amazon S3",
        duration=90 * SECOND,
    ),
    FlowTemplate(
        kind=FlowKind.DESTINATION,
        name="Abandoned baskets (streaming)",
        schedule=_HOURLY,
        is_streaming=True,
        behaviour=Behaviour.FLAKY,
        envelope=Envelope.CLOUD_EVENT,
    ),
    FlowTemplate(
        kind=FlowKind.UNKNOWN, name="Mobile events (streaming)", schedule=_HOURLY, is_streaming=True, records=900_000
    ),
    FlowTemplate(
        kind=FlowKind.SOURCE,
        name="Survey answers",
        schedule=_OFFICE,
        style=Style.MESSAGES,
        behaviour=Behaviour.LOSSY,
        records=300,
    ),
    FlowTemplate(
        kind=FlowKind.DESTINATION,
        name="Daily suppression list",
        schedule=_DAILY,
        behaviour=Behaviour.SLOW,
        duration=100 * MINUTE,
    ),
    FlowTemplate(
        kind=FlowKind.PROFILE, name="Datalake to profile (events)", schedule=_TWO_HOURLY, behaviour=Behaviour.LOSSY
    ),
    FlowTemplate(
        kind=FlowKind.IDENTITY, name="Datalake to identity (web)", schedule=_TWO_HOURLY, behaviour=Behaviour.FLAKY
    ),
    FlowTemplate(
        kind=FlowKind.SOURCE,
        name="Ad spend",
        schedule=_DAILY,
        style=Style.XDM,
        behaviour=Behaviour.STEADY,
        connector="FTP",
    ),
    FlowTemplate(
        kind=FlowKind.SOURCE, name="POS transactions", schedule=_QUARTER_HOURLY, envelope=Envelope.CLOUD_EVENT
    ),
    FlowTemplate(
        kind=FlowKind.SEGMENT,
        name="Weekend audiences",
        schedule=_DAILY,
        behaviour=Behaviour.FLAKY,
        envelope=Envelope.CLOUD_EVENT,
    ),
)
"""Every kind, behaviour, style, envelope and sandbox occurs if there are as many flows as templates."""


def organisation(seed: int, count: int) -> tuple[SimulatedFlow, ...]:
    """The flows of a seed's organisation. The flows of a smaller organisation are the first of a larger one."""
    sandbox_ids = {name: identifier(seed, "sandbox", name) for name in dict.fromkeys(SANDBOXES)}
    return tuple(_flow(seed, number, sandbox_ids) for number in range(count))


def _flow(seed: int, number: int, sandbox_ids: dict[str, str]) -> SimulatedFlow:
    random = random_for(seed, "flow", number)
    turn, place = divmod(number, len(TEMPLATES))
    template = TEMPLATES[place]
    sandbox = SANDBOXES[number % len(SANDBOXES)]
    return SimulatedFlow(
        number=number,
        template=template,
        flow_id=new_id(random),
        name=template.name if not turn else f"{template.name} {turn + 1}",
        sandbox=sandbox,
        sandbox_id=sandbox_ids[sandbox],
        offset=random.randrange(template.schedule.interval),
        records=max(20, round(template.records * random.lognormvariate(0, 0.5))),
        bytes_per_record=random.randint(80, 900),
    )


def random_for(*what: object) -> Random:
    """A random generator for this thing alone, so that another thing does not change its values."""
    return Random("/".join(map(str, what)))


def new_id(random: Random) -> str:
    """A random UUID."""
    return str(uuid.UUID(int=random.getrandbits(128), version=4))


def identifier(*what: object) -> str:
    """The UUID of a thing, always the same."""
    return new_id(random_for(*what))
