"""An organisation: its flows, each with what it does, how often, how much, and what is wrong with it.

The rule: the same seed and number of flows give the same organisation, letter for letter. Flows are dealt from a table
of parts to play, the most telling first, so that a few dozen of them show everything that Adobe can tell of.

Sans-I/O.
"""

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from exporter.model import FlowKind

ORGANISATION: Final = "SIMULATED000000000000000@AdobeOrg"
"""Says on every series that it is about nobody."""
SANDBOXES: Final = ("prod", "prod", "stage", "prod", "dev emea")
"""Dealt in turn; sandbox names may hold blanks (adobe.md D)."""

SECOND: Final = 1000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
"""Milliseconds, as all times and durations here."""


class Habit(StrEnum):
    """What is wrong with a flow."""

    STEADY = "steady"
    FLAKY = "flaky"
    """Fails now and then, and recovers."""
    FAILING = "failing"
    """Fails for days on end, until somebody mends it."""
    STUCK = "stuck"
    """Has runs that begin and never end."""
    SILENT = "silent"
    """Was switched off on its fourth day, and nobody was told."""
    EMPTY = "empty"
    """Succeeds, and has read nothing."""
    SLOW = "slow"
    """Has days on which everything takes long."""
    ROUGH = "rough"
    """Its data has errors: some records are left out."""
    CANCELLED = "cancelled"
    """Is stopped by people now and then."""
    ODD = "odd"
    """Ends in a state that no document knows."""


class Style(StrEnum):
    """Which of Adobe's documents describes its notifications (adobe.md B1 and B2)."""

    XDM = "xdm"
    """The oldest: milliseconds; failures as an array of messages with prefixed fields."""
    MESSAGES = "messages"
    """Its successor: seconds; failures within `messages`."""
    EVENT = "event"
    """The present one, of the alert rules: the run itself, named, also when it begins."""


class Wrapper(StrEnum):
    """What stands around an event (adobe.md A5)."""

    BARE = "bare"
    ADOBE_IO = "adobe_io"
    CLOUD_EVENT = "cloud_event"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cadence:
    """When a flow begins its runs: every `interval`, at most `hours` of a day (from, to), `burst` runs at once."""

    interval: int
    hours: tuple[int, int] = (0, 24)
    is_idle_at_weekends: bool = False
    burst: int = 1

    def starts(self, offset: int) -> Iterator[int]:
        """The slots, from the beginning of time on, each with an offset of the flow's own."""
        slot = offset % self.interval
        while True:
            day, in_day = divmod(slot, DAY)
            is_weekend = self.is_idle_at_weekends and day % 7 >= 5
            if self.hours[0] * HOUR <= in_day < self.hours[1] * HOUR and not is_weekend:
                yield from (slot + 2 * MINUTE * number for number in range(self.burst))
            slot += self.interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part to play: everything about a flow but its size, its ids and its sandbox."""

    kind: FlowKind
    name: str
    cadence: Cadence
    habit: Habit = Habit.STEADY
    style: Style = Style.EVENT
    wrapper: Wrapper = Wrapper.ADOBE_IO
    connector: str = "SFTP"
    duration: int = 4 * MINUTE
    """Milliseconds that a run usually takes."""
    records: int = 10_000
    is_streaming: bool = False
    """Whether it tells of windows of an hour, rather than of runs that somebody started."""
    is_scheduled: bool = False
    """Whether its runs are announced before they begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """One flow in one sandbox."""

    number: int
    part: Part
    flow_id: str
    name: str
    sandbox: str
    sandbox_id: str
    offset: int
    """When in its interval it begins (milliseconds)."""
    records: int
    bytes_per_record: int


_QUARTER_HOURLY: Final = Cadence(interval=15 * MINUTE)
_HOURLY: Final = Cadence(interval=HOUR)
_TWO_HOURLY: Final = Cadence(interval=2 * HOUR)
_SIX_HOURLY: Final = Cadence(interval=6 * HOUR)
_DAILY: Final = Cadence(interval=DAY)
_OFFICE: Final = Cadence(interval=HOUR, hours=(8, 18), is_idle_at_weekends=True)
_FIVE_A_NIGHT: Final = Cadence(interval=DAY, burst=5)

PARTS: Final = (
    Part(kind=FlowKind.SOURCE, name="CRM contacts (SFTP)", cadence=_HOURLY, habit=Habit.FLAKY),
    Part(
        kind=FlowKind.SOURCE,
        name="Orders EU",
        cadence=_HOURLY,
        habit=Habit.FAILING,
        style=Style.MESSAGES,
        connector="Azure Blob",
    ),
    Part(kind=FlowKind.IDENTITY, name="Datalake to identity", cadence=_HOURLY, duration=20 * MINUTE),
    Part(
        kind=FlowKind.PROFILE,
        name="Datalake to profile",
        cadence=_HOURLY,
        habit=Habit.FLAKY,
        duration=25 * MINUTE,
        wrapper=Wrapper.BARE,
    ),
    Part(
        kind=FlowKind.DESTINATION,
        name="Loyalty audience to S3",
        cadence=_FIVE_A_NIGHT,
        habit=Habit.ROUGH,
        is_scheduled=True,
        wrapper=Wrapper.BARE,
    ),
    Part(
        kind=FlowKind.SEGMENT,
        name="Nightly audiences",
        cadence=_SIX_HOURLY,
        habit=Habit.FLAKY,
        duration=50 * MINUTE,
        records=400_000,
    ),
    Part(
        kind=FlowKind.QUERY,
        name="INSERT INTO churn_scores\nSELECT id, score FROM events WHERE day = current_date",
        cadence=_TWO_HOURLY,
        habit=Habit.FLAKY,
        records=45_000,
    ),
    Part(kind=FlowKind.SOURCE, name="Web shop returns", cadence=_HOURLY, habit=Habit.ROUGH, connector="Maria DB"),
    Part(kind=FlowKind.SOURCE, name="Store visits", cadence=_SIX_HOURLY, habit=Habit.STUCK, connector="Snowflake"),
    Part(kind=FlowKind.SOURCE, name="Call centre", cadence=_HOURLY, habit=Habit.SILENT, connector="Salesforce"),
    Part(kind=FlowKind.SOURCE, name="Price list", cadence=_SIX_HOURLY, habit=Habit.EMPTY, records=2_500),
    Part(
        kind=FlowKind.SOURCE,
        name="Product feed",
        cadence=_SIX_HOURLY,
        habit=Habit.SLOW,
        duration=40 * MINUTE,
        records=3_000_000,
    ),
    Part(kind=FlowKind.DESTINATION, name="Consent to partner", cadence=_TWO_HOURLY, habit=Habit.CANCELLED),
    Part(
        kind=FlowKind.SOURCE,
        name="Newsletter clicks",
        cadence=_TWO_HOURLY,
        habit=Habit.ODD,
        wrapper=Wrapper.CLOUD_EVENT,
    ),
    Part(
        kind=FlowKind.SOURCE,
        name="Loyalty points",
        cadence=_QUARTER_HOURLY,
        habit=Habit.FLAKY,
        style=Style.XDM,
        connector="Amazon S3",
        duration=90 * SECOND,
    ),
    Part(
        kind=FlowKind.DESTINATION,
        name="Abandoned baskets (streaming)",
        cadence=_HOURLY,
        is_streaming=True,
        habit=Habit.FLAKY,
        wrapper=Wrapper.CLOUD_EVENT,
    ),
    Part(kind=FlowKind.UNKNOWN, name="Mobile events (streaming)", cadence=_HOURLY, is_streaming=True, records=900_000),
    Part(
        kind=FlowKind.SOURCE,
        name="Survey answers",
        cadence=_OFFICE,
        style=Style.MESSAGES,
        habit=Habit.ROUGH,
        records=300,
    ),
    Part(
        kind=FlowKind.DESTINATION,
        name="Daily suppression list",
        cadence=_DAILY,
        habit=Habit.SLOW,
        duration=100 * MINUTE,
    ),
    Part(kind=FlowKind.PROFILE, name="Datalake to profile (events)", cadence=_TWO_HOURLY, habit=Habit.ROUGH),
    Part(kind=FlowKind.IDENTITY, name="Datalake to identity (web)", cadence=_TWO_HOURLY, habit=Habit.FLAKY),
    Part(kind=FlowKind.SOURCE, name="Ad spend", cadence=_DAILY, style=Style.XDM, habit=Habit.STEADY, connector="FTP"),
    Part(kind=FlowKind.SOURCE, name="POS transactions", cadence=_QUARTER_HOURLY, wrapper=Wrapper.CLOUD_EVENT),
    Part(
        kind=FlowKind.SEGMENT, name="Weekend audiences", cadence=_DAILY, habit=Habit.FLAKY, wrapper=Wrapper.CLOUD_EVENT
    ),
)
"""Everything occurs where there are as many flows as parts."""


def organisation(seed: int, count: int) -> tuple[Flow, ...]:
    """The flows of a seed's organisation; the first of a larger one are those of a smaller one."""
    sandbox_ids = {name: identifier(seed, "sandbox", name) for name in dict.fromkeys(SANDBOXES)}
    return tuple(_flow(seed, number, sandbox_ids) for number in range(count))


def _flow(seed: int, number: int, sandbox_ids: dict[str, str]) -> Flow:
    chance = dice(seed, "flow", number)
    turn, place = divmod(number, len(PARTS))
    part = PARTS[place]
    sandbox = SANDBOXES[number % len(SANDBOXES)]
    return Flow(
        number=number,
        part=part,
        flow_id=new_id(chance),
        name=part.name if not turn else f"{part.name} {turn + 1}",
        sandbox=sandbox,
        sandbox_id=sandbox_ids[sandbox],
        offset=chance.randrange(part.cadence.interval),
        records=max(20, round(part.records * chance.lognormvariate(0, 0.5))),
        bytes_per_record=chance.randint(80, 900),
    )


def dice(*what: object) -> random.Random:
    """Chance of its own for each thing, so that one thing more changes no other."""
    return random.Random("/".join(map(str, what)))


def new_id(chance: random.Random) -> str:
    """A UUID."""
    return str(uuid.UUID(int=chance.getrandbits(128), version=4))


def identifier(*what: object) -> str:
    """The UUID of a thing."""
    return new_id(dice(*what))
