"""How often AEPFlowOverdue is wrong, and how late it is when it is right: a quarter of flows, simulated.

A flow begins on some weekday and runs through its warm-up and a quarter. After each completion the exporter's own
Cadence gives its interval, and when it is overdue. The alert reads that time. The other rules are alternatives to it,
which are computed from the interval here. Between two notifications the silence grows steadily and the limit can only
fall, at known moments, so the moment at which a rule fires is worked out, not sampled. Its evaluation every 30 s adds
up to a minute.

Weak point: Prometheus is taken to scrape all the time, and notifications to come in order and within minutes.
"""

import math
import statistics
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from random import Random
from typing import Final, Protocol

from benchmarks.cadences import DAY, HOUR, MINUTE, OTHERS, TEN, THREE_WEEKS, Schedule
from exporter.metrics.cadence import Cadence

SEEDS: Final = 14
"""Each weekday is a flow's first one twice."""
STOPS: Final = 60
"""How often each flow is stopped, in each period."""
QUARTER: Final = 91 * DAY
MONDAY: Final = 20458 * DAY
"""2026-01-05, in milliseconds since 1970 like all times here."""
NEVER: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class Told:
    """What the exporter shows of a flow from a notification on, until the next."""

    delivered: int
    completed: int
    runs: int
    interval: int | None
    overdue_at: int | None = None


@dataclass(frozen=True)
class Flow:
    """A flow's life as it was told; the last quarter is the one in which it is an old acquaintance."""

    told: Sequence[Told]
    start: int
    end: int

    @cached_property
    def learned_at(self) -> int:
        """When it first had an interval."""
        return next((told.delivered for told in self.told if told.interval is not None), NEVER)

    def last_before(self, moment: int) -> Told:
        """The last run it completes when it stops dead at this moment."""
        return self.told[bisect_right(self.told, moment, key=lambda told: told.completed) - 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """A silence that is never overdue, for the flows that all of this is true of."""

    silence: int
    runs_below: int = NEVER
    memory: int = NEVER
    """The flow had no interval so long ago."""
    interval_from: int = 0
    interval_below: int = NEVER


class Rule(Protocol):
    """A way to tell when a flow is overdue, and the alert on it."""

    @property
    def name(self) -> str:
        """What the tables call it."""

    @property
    def hold(self) -> int:
        """The alert's `for`."""

    def overdue_from(self, told: Told, known_since: int) -> int:
        """When the flow is overdue if nothing more is told. It has had an interval since the time `known_since`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """The rule of AEPFlowOverdue, which reads the exporter's metric."""

    name: str
    hold: int = 15 * MINUTE

    def overdue_from(self, told: Told, _known_since: int) -> int:
        """When the alert's condition begins to hold."""
        return NEVER if told.overdue_at is None else max(told.overdue_at, told.delivered)


@dataclass(frozen=True, slots=True, kw_only=True)
class Computed:
    """A rule that computes the limit from the interval."""

    name: str
    multiplier: float = 1.5
    slack: int = 15 * MINUTE
    hold: int = 15 * MINUTE
    floors: tuple[Floor, ...] = ()

    def overdue_from(self, told: Told, known_since: int) -> int:
        """When the silence passes the limit."""
        if told.interval is None:
            return NEVER
        floors = [
            floor
            for floor in self.floors
            if told.runs < floor.runs_below and floor.interval_from <= told.interval < floor.interval_below
        ]
        limit = int(self.multiplier * told.interval) + self.slack
        overdue = told.completed + limit
        for floor in floors:
            # A floor ends a silence late either because it is reached or because the flow is not new any more.
            lifted = known_since + floor.memory
            overdue = max(overdue, min(told.completed + floor.silence, lifted))
        return max(overdue, told.delivered)


DRAFT: Final = Computed(name="draft")
CHOSEN: Final = Exported(name="chosen")
FORTNIGHT: Final = 14 * DAY + 12 * HOUR
A_NIGHT: Final = 28 * HOUR
A_WEEKEND: Final = 80 * HOUR
NEW: Final = 100
VARIANTS: Final[tuple[Rule, ...]] = (
    DRAFT,
    Computed(name="3 intervals", multiplier=3),
    Computed(name="28 h: < 20 runs", floors=(Floor(silence=A_NIGHT, runs_below=20),)),
    Computed(
        name="none: < 96 runs and interval < 20 h",
        floors=(Floor(silence=NEVER, runs_below=96, interval_below=20 * HOUR),),
    ),
    Computed(name="80 h: < 100 runs", floors=(Floor(silence=A_WEEKEND, runs_below=NEW),)),
    Computed(
        name="80 h: < 100 runs, < 11 from 20 h on",
        floors=(
            Floor(silence=A_WEEKEND, runs_below=NEW, interval_below=20 * HOUR),
            Floor(silence=A_WEEKEND, runs_below=11),
        ),
    ),
    Computed(name="80 h: not remembered", floors=(Floor(silence=A_WEEKEND, memory=FORTNIGHT),)),
    Computed(
        name="80 h: < 100 runs, not remembered",
        floors=(Floor(silence=A_WEEKEND, runs_below=NEW, memory=FORTNIGHT),),
    ),
    Computed(
        name="28 h, 80 h from 50 min on: < 100 runs, not remembered; 80 h: < 500 runs from 4 h on",
        floors=(
            Floor(silence=A_NIGHT, runs_below=NEW, memory=FORTNIGHT),
            Floor(silence=A_WEEKEND, runs_below=NEW, memory=FORTNIGHT, interval_from=50 * MINUTE),
            Floor(silence=A_WEEKEND, runs_below=500, memory=FORTNIGHT, interval_from=4 * HOUR),
        ),
    ),
    CHOSEN,
)
"""Named by the silence they allow a flow, and which flows; "remembered": it had an interval 14.5 d ago."""


def simulate(schedule: Schedule, random: Random, start: int) -> Flow:
    """A flow's life from its start through warm-up and quarter; each run is told within five minutes."""
    end = start + schedule.warm_up + QUARTER
    completions = sorted(at for at in schedule.completions(random, start, end) if start < at < end)
    cadence = Cadence()
    told: list[Told] = []
    delivered = 0
    for runs, completed in enumerate(completions, start=1):
        cadence.add(completed)
        delivered = max(delivered, completed + int(random.uniform(0.2, 5) * MINUTE))
        told.append(Told(delivered, completed, runs, cadence.interval(), cadence.overdue_at()))
    return Flow(told, start, end)


def alarms(rule: Rule, flow: Flow) -> list[int]:
    """When the rule fires although nothing is wrong."""
    spans: list[tuple[int, int]] = []
    for told, following in pairwise(flow.told):
        since = rule.overdue_from(told, flow.learned_at)
        if since < following.delivered:
            if spans and spans[-1][1] == since:
                since = spans.pop()[0]
            spans.append((since, following.delivered))
    return [since + rule.hold for since, until in spans if until - since >= rule.hold]


def delays(rule: Rule, flow: Flow, stops: Iterable[int]) -> Iterator[float]:
    """Hours from each stop until the rule fires, infinite where it never does."""
    for stop in stops:
        overdue = rule.overdue_from(flow.last_before(stop), flow.learned_at)
        yield math.inf if overdue >= NEVER else max(0, overdue + rule.hold - stop) / HOUR


@dataclass(frozen=True, slots=True)
class Measured:
    """What a rule did to all the flows of one cadence; delays in hours."""

    early_alarms: int
    """In a flow's first three weeks."""
    later_alarms: int
    delays: Sequence[float]
    """Of flows that stop in their last quarter."""
    excess: float
    """By how much the longest of these is over 1.5 intervals and 30 minutes, if it is."""
    delays_when_new: Sequence[float]
    """Of flows that stop in their first three weeks."""


def _stops(random: Random, first: int, last: int) -> list[int]:
    return [random.randrange(first, last) for _ in range(STOPS)] if first < last else []


def measure(rule: Rule, flows: Sequence[Flow]) -> Measured:
    """Let the rule watch these flows; the same stops for every rule."""
    early = later = 0
    settled: list[float] = []
    new: list[float] = []
    excess = 0.0
    for flow in flows:
        random = Random(flow.start)
        fired = alarms(rule, flow)
        early += sum(at < flow.start + THREE_WEEKS for at in fired)
        later += sum(at >= flow.start + THREE_WEEKS for at in fired)
        quarter = flow.end - QUARTER
        stops = _stops(random, quarter, flow.end)
        for stop, delay in zip(stops, delays(rule, flow, stops), strict=True):
            settled.append(delay)
            excess = max(excess, delay - (1.5 * (flow.last_before(stop).interval or 0) / HOUR + 0.5))
        new += delays(rule, flow, _stops(random, flow.told[0].completed, flow.start + THREE_WEEKS))
    return Measured(early, later, settled, excess, new)


def lives(name: str, schedule: Schedule, seeds: int = SEEDS) -> list[Flow]:
    """Flows of one cadence, whose first days go through the week."""
    randoms = [Random(f"{name} {seed}") for seed in range(seeds)]
    return [
        simulate(schedule, random, MONDAY + seed % 7 * DAY + random.randrange(DAY))
        for seed, random in enumerate(randoms)
    ]


def span(hours: Sequence[float]) -> str:
    """Median and longest of those that end, in hours, and how many do not."""
    ending = [each for each in hours if each < math.inf]
    never = f" ({1 - len(ending) / len(hours):.0%} never)" if len(ending) < len(hours) else ""
    return (f"{statistics.median(ending):.1f} / {max(ending):.1f}" if ending else "-") + never


def _row(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def final_table(found: Mapping[str, Mapping[Rule, Measured]], flows: Mapping[str, Sequence[Flow]]) -> Iterator[str]:
    """The draft's rule and the chosen one, cadence by cadence."""
    yield _row(
        "cadence",
        "interval",
        "alarms in 3 weeks",
        "later",
        "delay, draft",
        "delay, chosen",
        "when new, draft",
        "when new, chosen",
    )
    yield _row(*["---"] * 8)
    for name, by_rule in found.items():
        draft, chosen = by_rule[DRAFT], by_rule[CHOSEN]
        interval = statistics.median(flow.told[-1].interval or 0 for flow in flows[name]) / HOUR
        yield _row(
            name,
            f"{interval:.1f}",
            f"{draft.early_alarms} -> {chosen.early_alarms}",
            f"{draft.later_alarms} -> {chosen.later_alarms}",
            span(draft.delays),
            span(chosen.delays),
            span(draft.delays_when_new),
            span(chosen.delays_when_new),
        )


def variants_table(
    title: str, found: Mapping[str, Mapping[Rule, Measured]], cell: Callable[[Measured], str]
) -> Iterator[str]:
    """One figure of every rule, cadence by cadence."""
    yield f"\n{title}:\n"
    yield _row("rule", *found)
    yield _row(*["---"] * (len(found) + 1))
    for rule in VARIANTS:
        yield _row(rule.name, *(cell(by_rule[rule]) for by_rule in found.values()))


def main() -> None:
    """Print the tables."""
    flows = {name: lives(name, schedule) for name, schedule in {**TEN, **OTHERS}.items()}
    found = {name: {rule: measure(rule, each) for rule in VARIANTS} for name, each in flows.items()}
    lines = [
        f"{SEEDS} flows of each cadence, alarms of all of them together; hours; delays: median / longest.",
        "",
        *final_table(found, flows),
        *variants_table(
            "False alarms in the first three weeks, later", found, lambda its: f"{its.early_alarms}, {its.later_alarms}"
        ),
        *variants_table("Hours until it fires", found, lambda its: span(its.delays)),
        *variants_table("of these, over 1.5 intervals and 30 min", found, lambda its: f"{its.excess:.1f}"),
        *variants_table(
            "Hours until it fires for a flow in its first three weeks", found, lambda its: span(its.delays_when_new)
        ),
    ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
