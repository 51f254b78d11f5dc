"""Made-up facts, and the fold that they add up to."""

from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from exporter.metrics.exposition import Format
from exporter.metrics.flows import Limits
from exporter.metrics.fold import Fold
from exporter.model import (
    ACTIVITIES,
    RECORD_RESULTS,
    SIZE_RESULTS,
    Activity,
    AlertState,
    Fact,
    Flow,
    FlowAlert,
    FlowKind,
    FlowRun,
    Forgotten,
    RecordedFact,
    RunError,
    Source,
    Status,
    Unreadable,
    Unsupported,
)
from tests.metrics.reference import render

SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
T0 = 1_790_000_000_000
"""The time at which tests begin, in milliseconds since 1970."""


def limits(hold: int = 0, ttl: int = 45 * DAY, max_flows: int = 2000) -> Limits:
    """Limits that no test reaches unless it lowers them."""
    return Limits(hold=hold, ttl=ttl, max_flows=max_flows)


def run(run_id: str = "r1", status: Status = Status.SUCCESS, **fields: Any) -> FlowRun:
    """A run of flow f1 in sandbox prod."""
    return FlowRun(**{"run_id": run_id, "flow_id": "f1", "sandbox": "prod", "status": status, **fields})


def recorded(fact: Fact, position: int, at: int, **fields: Any) -> RecordedFact:
    """The fact as the ledger returns it."""
    ended_at = fact.ended_at if isinstance(fact, FlowRun) else None
    is_outcome = isinstance(fact, FlowRun) and fact.status.is_outcome
    return RecordedFact(
        **{
            "position": position,
            "received_at": at,
            "source": Source.WEBHOOK,
            "fact": fact,
            "counts": is_outcome,
            "ended_at": ended_at,
            **fields,
        }
    )


def folded(facts: Iterable[RecordedFact], now: int, hold: int = 0) -> Fold:
    """The fold of these facts at this time, with limits that are not reached."""
    fold = Fold(limits(hold))
    for fact in facts:
        fold.apply(fact)
    fold.advance(now)
    return fold


def exposition(fold: Fold, format_: Format = Format.TEXT) -> str:
    """The flow half of a scrape."""
    return render(fold.series, None, format_).decode()


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample of a text exposition, by name and labels."""
    families: Iterable[Metric] = text_string_to_metric_families(text)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def value(fold: Fold, name: str, **labels: str) -> float | None:
    """The value of the only sample that has these labels, or None without one."""
    found = [
        number
        for (sample, pairs), number in samples(exposition(fold)).items()
        if sample == name and set(labels.items()) <= pairs
    ]
    assert len(found) < 2, f"{len(found)} samples of {name}{labels}"
    return found[0] if found else None


_awkward = st.sampled_from(
    ["", "a", 'quo"te', "back\\slash", "new\nline", "\\n", "uml äut", "\N{SNOWMAN}", "tab\there"]
)
_ids = st.sampled_from(["f1", "f2", 'f"3', "f\\4"])
_sandboxes = st.sampled_from(["prod", "dev", "", "a b"])
_amounts = st.integers(0, 2**53) | st.integers(0, 2_000_000)
_moments = st.none() | st.integers(T0 - 10 * DAY, T0 + 9 * MINUTE)
_codes = st.sampled_from(["CONNECTOR-2001-500", "INGEST-1205-400", "133", "other"])


def _counts(results: tuple[str, ...]) -> st.SearchStrategy[tuple[tuple[str, int], ...]]:
    return st.dictionaries(st.sampled_from(results), _amounts, max_size=3).map(lambda found: tuple(found.items()))


runs = st.builds(
    FlowRun,
    run_id=st.integers(0, 30).map("run-{}".format),
    flow_id=_ids,
    status=st.sampled_from(Status),
    sandbox=_sandboxes,
    org=_awkward,
    flow_name=_awkward,
    kind=st.sampled_from(FlowKind),
    started_at=_moments,
    completed_at=_moments,
    created_at=_moments,
    updated_at=_moments,
    records=_counts(RECORD_RESULTS),
    size=_counts(SIZE_RESULTS),
    files=_counts(SIZE_RESULTS),
    errors=st.lists(st.builds(RunError, code=_codes), max_size=3).map(tuple),
    activities=st.lists(
        st.builds(Activity, name=st.sampled_from(ACTIVITIES), started_at=_moments, completed_at=_moments), max_size=2
    ).map(tuple),
)
alerts = st.builds(
    FlowAlert,
    alert_id=st.sampled_from(["a1", "a2", "a3"]),
    name=st.sampled_from(["flow_run_delay", "Odd Name", "error_rate"]),
    state=st.sampled_from(AlertState),
    sandbox=_sandboxes,
    flow_id=_ids | st.just(""),
    run_id=st.sampled_from(["", "run-1", "run-2"]),
    changed_at=_moments,
)
flows = st.builds(
    Flow,
    flow_id=_ids,
    sandbox=_sandboxes,
    flow_name=_awkward,
    kind=st.sampled_from(FlowKind),
    enabled=st.sampled_from([None, True, False]),
    updated_at=_moments,
)
facts: st.SearchStrategy[Fact] = st.one_of(
    runs, runs, runs, alerts, flows, st.builds(Unsupported, sandbox=_sandboxes), st.just(Unreadable())
)


forgotten: st.SearchStrategy[Fact] = st.builds(Forgotten, flow_id=_ids)
near_limits = st.builds(
    limits,
    hold=st.sampled_from([0, 90 * SECOND]),
    ttl=st.sampled_from([HOUR, 2 * DAY, 45 * DAY]),
    max_flows=st.integers(1, 8),
)
"""Limits that a few facts reach."""


@st.composite
def fact_lists(draw: st.DrawFn, *, with_forgotten: bool = True) -> list[RecordedFact]:
    """Facts as a ledger returns them: positions rise, times never fall, the first outcome of a run counts.

    An unknown outcome that comes before it counts as well.
    """
    found: list[RecordedFact] = []
    seen: set[str] = set()
    unknown: set[str] = set()
    at = T0
    kinds = facts | forgotten if with_forgotten else facts
    for position, fact in enumerate(draw(st.lists(kinds, max_size=25)), start=1):
        at += draw(st.sampled_from([0, 1, SECOND, MINUTE, HOUR, DAY]))
        counts = False
        if isinstance(fact, FlowRun) and fact.status.is_outcome and fact.run_id not in seen:
            places = unknown if fact.status is Status.UNKNOWN else seen
            counts = fact.run_id not in places
            places.add(fact.run_id)
        found.append(
            recorded(
                fact,
                position,
                at,
                counts=counts,
                source=draw(st.sampled_from(Source)),
                event_code=draw(st.sampled_from([None, "source_flow_run_info", "not_documented"])),
            )
        )
    return found
