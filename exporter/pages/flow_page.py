"""What the page of one flow shows: the failure that lasts, what was different before, its last runs and its cadence.

The state is that of the metrics. The runs are the ledger's, so a flow that is not on /metrics has a page, too.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from exporter.errors import BadParameterError, NotInLedgerError
from exporter.ledger.queries import Row, RunFilter
from exporter.metrics.code_labels import NO_CODE
from exporter.metrics.flow_summaries import CurrentFlows, FlowSummary
from exporter.model import OTHER, FlowKey, RunDetails, Status
from exporter.pages import charts, texts
from exporter.pages.charts import Bar, LineChart, Value
from exporter.pages.explanations import Explanation, explain, explain_alert, explain_batch_states
from exporter.pages.failing_codes import other_flows_failing
from exporter.pages.flow_list import FlowSources, find_flow
from exporter.pages.page_request import PageRequest
from exporter.pages.views import FlowView, RunView, view_of_run

RUNS: Final = 100
"""Runs that the charts show."""
ROWS: Final = 20
"""Runs of the table."""
MAX_MESSAGE: Final = 4000
"""Characters of a message. The page of the run has the whole."""
MAX_EPISODES: Final = 5
MAX_CODES: Final = 20
"""Codes of the failure that are looked for in older runs."""

_NONE: Final = "-"
_GOOD: Final = frozenset({Status.SUCCESS, Status.PARTIAL_SUCCESS})

NOT_SHOWN: Final = {
    "forgotten": "It was marked as deleted on purpose (forget). A run brings it back.",
    "silent": "Nothing was recorded for it for --series.ttl. A run brings it back.",
    "limit": "More flows than --series.max-flows were there before it, so it is counted as other and has no alerts.",
    "history": "All that is known of it was old when it was recorded, so it changed no metric.",
}
"""Why a flow is not on /metrics."""
_ONLY_ALERTS: Final = "Only Adobe's alerts name it. The first run brings it there."


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorOfFlow:
    """An error code of the run that failed last."""

    explanation: Explanation
    messages: tuple[str, ...]
    """The messages that came with it, each cut after MAX_MESSAGE characters. Empty where messages are not shown."""
    is_cut: bool
    other_flows: int
    """How many other flows fail with the code now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The failure that lasts."""

    since: int
    runs: int
    run: RunView | None
    """The run that failed last. None if the ledger does not have it any more."""
    errors: tuple[ErrorOfFlow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A line of the comparison of the last good run with the last run. Both are texts."""

    what: str
    good: str
    now: str
    is_less: bool
    """Whether the last run has less than half of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """An earlier failure with a code of the one that lasts."""

    codes: tuple[str, ...]
    """The codes that both have."""
    first: RunView
    runs: int
    """Failed runs in a row."""
    ended_by: RunView
    """The first good run after them."""

    @property
    def seconds(self) -> float:
        """From the end of the first failed run to the end of the good one."""
        return (self.ended_by.ended_at - self.first.ended_at) / 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowValues:
    """What the template gets."""

    now: int
    flow: FlowView
    summary: FlowSummary | None
    failure: Failure | None
    differences: tuple[Difference, ...]
    good: RunView | None
    episodes: tuple[Episode, ...]
    seen_before: RunView | None
    """The latest run that reported one of the codes before the failure and before the runs of the charts."""
    runs: tuple[RunView, ...]
    """The latest first."""
    strip: tuple[tuple[Bar, str | None], ...]
    """Each bar with the address of its run's page, the oldest run first."""
    durations: LineChart | None
    records: LineChart | None
    counts: Mapping[str, int]
    """The runs of the charts by status."""
    codes: tuple[tuple[str, int], ...]
    """How many of these runs reported each code, the most frequent first."""
    names: tuple[str, ...]
    """Other names that these runs had."""
    alerts: tuple[Explanation, ...]
    """Adobe's own alerts that are firing."""
    batch_states: tuple[Explanation, ...]
    """The states of its batch that the run that failed last reported."""
    oldest_entry_at: int | None
    why_not_shown: str


def with_stored_id(request: PageRequest) -> PageRequest:
    """The same request for the id that the ledger has: a very long one is cut."""
    return replace(request, item_id=request.sources.stored_id(request.item_id) or request.item_id)


def page(request: PageRequest) -> Mapping[str, object]:
    """The values of a flow's page. Without a sandbox in the address there may be several to choose from."""
    request = with_stored_id(request)
    current = request.sources.flows()
    sandbox = request.parameters.get("sandbox")
    if request.item_id == OTHER:
        return {"other": _other(current, sandbox), "links": request.own, "flow_id": OTHER}
    if sandbox is None:
        sandboxes = sandboxes_of(request, current)
        if len(sandboxes) > 1:
            return {"choices": [(name, request.own.flow(request.item_id, name)) for name in sandboxes]}
        sandbox = sandboxes[0] if sandboxes else ""
    try:
        (request.item_id + sandbox).encode()
    except UnicodeEncodeError:
        raise BadParameterError("the address has a text that no ledger holds") from None
    sources = FlowSources(queries=request.queries, current=current, read=request.read, links=request.links)
    key = FlowKey(request.item_id, sandbox)
    flow = find_flow(sources, key)
    if flow is None:
        raise NotInLedgerError("neither the metrics nor the ledger have a flow of this id in this sandbox")
    values = flow_values(sources, flow, key, request.details, is_full=request.is_full)
    return {"values": values, "is_full": request.is_full}


def flow_values(
    sources: FlowSources, flow: FlowView, key: FlowKey, read_details: Callable[[Row], RunDetails], *, is_full: bool
) -> FlowValues:
    """What is shown of a flow. Blocking. Raises what the queries raise."""
    current, queries = sources.current, sources.queries
    summary = current.flows.get(key)
    rows = queries.last_runs(key.flow_id, key.sandbox, RUNS)
    runs = tuple(view_of_run(row, sources.read, sources.links) for row in rows)
    failed = next((number for number, run in enumerate(runs) if run.status == Status.FAILED), None)
    details = RunDetails() if failed is None else read_details(rows[failed])
    failure = _failure(sources, key, summary, None if failed is None else runs[failed], details, is_full=is_full)
    good = _last_good(sources, key, runs)
    oldest_first = runs[::-1]
    firing = current.other_alerts.get(key, ()) if summary is None else summary.firing_alerts
    return FlowValues(
        now=current.now,
        flow=flow,
        summary=summary,
        failure=failure,
        good=good,
        differences=() if failure is None or good is None or not runs else _differences(good, runs[0]),
        episodes=() if failure is None else _episodes(runs, failure),
        seen_before=None if failure is None or not rows else _seen_before(sources, key, failure, rows[-1]),
        runs=runs[:ROWS],
        strip=tuple(
            zip(
                charts.strip([_value(run, run.duration_seconds) for run in oldest_first], RUNS),
                (run.links.page for run in oldest_first),
                strict=True,
            )
        ),
        durations=charts.line_chart(
            [_value(run, run.duration_seconds) for run in oldest_first],
            None if summary is None or summary.typical_duration is None else summary.typical_duration / 1000,
        ),
        records=charts.line_chart(
            [_value(run, run.records.get("input")) for run in oldest_first],
            None if summary is None else summary.typical_input_records,
        ),
        counts=Counter(run.status or "unknown" for run in runs),
        codes=_codes(runs),
        names=tuple(dict.fromkeys(run.flow_name for run in runs if run.flow_name not in {None, flow.flow_name}))[:5],
        alerts=tuple(map(explain_alert, firing)),
        batch_states=() if failure is None else explain_batch_states(details.states),
        oldest_entry_at=queries.oldest_entry_at(),
        why_not_shown=_why_not_shown(flow, is_only_alerted=key in current.other_alerts and not rows),
    )


def sandboxes_of(request: PageRequest, current: CurrentFlows) -> Sequence[str]:
    """The sandboxes in which the flow is on /metrics, or else all in which the ledger has it. Failing ones first."""
    try:
        request.item_id.encode()
    except UnicodeEncodeError:
        raise NotInLedgerError("no flow has such an id") from None
    shown = [key for key in current.flows if key.flow_id == request.item_id]
    if shown:
        return [key.sandbox for key in sorted(shown, key=lambda key: (not current.flows[key].is_failing, key.sandbox))]
    return request.queries.sandboxes(request.item_id)


def _other(current: CurrentFlows, sandbox: str | None) -> Mapping[str, object]:
    """What `flow_id="other"` stands for."""
    without = sorted(key for key in current.without_slot if sandbox in {None, key.sandbox})
    return {"flows": without[:RUNS], "more": max(len(without) - RUNS, 0), "overflowed": current.overflowed}


def _failure(
    sources: FlowSources,
    key: FlowKey,
    summary: FlowSummary | None,
    run: RunView | None,
    details: RunDetails,
    *,
    is_full: bool,
) -> Failure | None:
    """The failure that lasts. `run` is the run that failed last, and `details` are what its body holds."""
    if summary is None or summary.streak.since is None:
        return None
    flows = other_flows_failing(sources.current.flows, key)
    by_code: dict[str, list[str]] = {}
    # The details hold whole messages. The errors of the run hold their beginnings, each on one line.
    for remark in details.errors:
        by_code.setdefault(remark.code, []).append(remark.text)
    for error in () if by_code or run is None else run.errors:
        by_code.setdefault(error.code, []).append(error.message or "")
    errors: Mapping[str, Sequence[str]] = by_code or dict.fromkeys(summary.streak.runs_by_code, ())
    return Failure(
        since=summary.streak.since,
        runs=summary.streak.failures,
        run=run,
        errors=tuple(
            ErrorOfFlow(
                explanation=explain(code),
                messages=tuple(dict.fromkeys(text[:MAX_MESSAGE] for text in found if text)) if is_full else (),
                is_cut=any(len(text) > MAX_MESSAGE for text in found),
                other_flows=flows.get(code, 0),
            )
            for code, found in errors.items()
        )
        or (ErrorOfFlow(explanation=explain(NO_CODE), messages=(), is_cut=False, other_flows=flows.get(NO_CODE, 0)),),
    )


def _last_good(sources: FlowSources, key: FlowKey, runs: Sequence[RunView]) -> RunView | None:
    found = next((run for run in runs if run.status in _GOOD), None)
    if found is not None:
        return found
    row = sources.queries.last_good_run(key.flow_id, key.sandbox)
    return None if row is None else view_of_run(row, sources.read, sources.links)


def _differences(good: RunView, last: RunView) -> tuple[Difference, ...]:
    """What the last run has of what the last good one had. What neither reported is left out."""
    pairs: list[tuple[str, float | None, float | None, Callable[[float], str]]] = [
        ("Duration", good.duration_seconds, last.duration_seconds, texts.duration)
    ]
    for title, of_good, of_last, write in (
        ("Records", good.records, last.records, _number),
        ("Bytes", good.bytes, last.bytes, _size),
        ("Files", good.files, last.files, _number),
    ):
        pairs += [
            (f"{title} {word}", of_good.get(result), of_last.get(result), write)
            for result, word in (("input", "read"), ("output", "written"), ("failed", "rejected"))
        ]
    return tuple(
        Difference(
            what=what,
            good=_NONE if before is None else write(before),
            now=_NONE if now is None else write(now),
            is_less=before is not None and now is not None and what.endswith(("read", "written")) and now < before / 2,
        )
        for what, before, now, write in pairs
        if before is not None or now is not None
    )


def _episodes(runs: Sequence[RunView], failure: Failure) -> tuple[Episode, ...]:
    """The earlier failures among these runs, the latest first. `runs` begins with the latest."""
    codes = {error.explanation.code for error in failure.errors}
    found: list[Episode] = []
    ended_by: RunView | None = None
    failed: list[RunView] = []

    def end() -> None:
        common = codes & {error.code for run in failed for error in run.errors}
        if common and ended_by is not None:
            found.append(Episode(codes=tuple(sorted(common)), first=failed[-1], runs=len(failed), ended_by=ended_by))
        failed.clear()

    for run in runs:
        if run.status in _GOOD:
            end()
            ended_by = run
        elif run.status == Status.FAILED:
            failed.append(run)
    # The oldest streak may have begun before these runs. What is known of it is shown all the same.
    end()
    return tuple(found[:MAX_EPISODES])


def _seen_before(sources: FlowSources, key: FlowKey, failure: Failure, oldest: Row) -> RunView | None:
    """The latest run before `oldest` and before the failure began that reported one of its codes.

    The runs of the charts can be fewer than all runs of the ledger even if they are few: large ones are left out.
    """
    until = min(oldest.ended_at, failure.since)
    rows = [
        row
        for error in failure.errors[:MAX_CODES]
        for row in sources.queries.runs(
            RunFilter(flow_id=key.flow_id, sandbox=key.sandbox, error_code=error.explanation.code, until=until),
            1,
        ).items
    ]
    latest = max(rows, key=lambda row: (row.ended_at, row.position), default=None)
    return None if latest is None else view_of_run(latest, sources.read, sources.links)


def _why_not_shown(flow: FlowView, *, is_only_alerted: bool) -> str:
    return _ONLY_ALERTS if is_only_alerted else NOT_SHOWN.get(flow.not_shown or "", "")


def _codes(runs: Sequence[RunView]) -> tuple[tuple[str, int], ...]:
    counts = Counter(code for run in runs for code in {error.code for error in run.errors})
    return tuple(sorted(counts.items(), key=lambda each: (-each[1], each[0])))


def _value(run: RunView, value: float | None) -> Value:
    ended = texts.time(run.ended_at)
    took = "" if run.duration_seconds is None else f", {texts.duration(run.duration_seconds)}"
    return Value(value, run.status or "unknown", f"{texts.status_words(run.status)}, {ended}{took}")


def _number(value: float) -> str:
    return texts.number(int(value))


def _size(value: float) -> str:
    return texts.size(int(value))
