"""What `/status` shows: how the exporter itself is, and the settings that are in force.

It is the page that explains faults. So each part is asked for by itself, and where one can't be answered its place has
the reason, and the other parts are shown all the same.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from exporter.errors import ExporterError
from exporter.pages.error_texts import text_of
from exporter.pages.notices import SKEWED, UNSCRAPED, Notice, notices, notices_of_process
from exporter.pages.page_request import PageRequest
from exporter.pages.process_facts import HIDDEN, LedgerFacts, MetricsFacts, ProcessFacts, SettingInForce
from exporter.pages.views import Moment
from exporter.reasons import REFUSALS

_Part = TypeVar("_Part")


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerView:
    """The ledger. What can't be read now is None."""

    location: str | None
    """Where it is. None if pages show a summary."""
    problem: str | None
    """Why it can't be read, or why the last write to it failed. None if both work."""
    entries: int | None
    entries_are_exact: bool | None
    """Whether `entries` was counted. A ledger of millions is not: then it is a bound above the number."""
    position: int | None
    """Of the newest entry."""
    oldest_entry_at: Moment | None
    """When the oldest entry was recorded that is not pruned."""
    bytes_on_disk: int | None
    bytes_used: int | None
    """What counts against the limit."""
    max_bytes: int | None
    retention_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsView:
    """What /metrics is made from."""

    problem: str | None
    """Why the metrics are not at the ledger's head. None if they are."""
    position: int | None
    """Of the newest entry that they contain."""
    skipped_entries: int | None
    dropped: Mapping[str, int]
    """How much was dropped at a bound, by kind."""
    last_scrape_at: Moment | None
    """When a scrape last got the metrics of flows from this process. None if none did since the start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointView:
    """The stored state from which a start goes on."""

    position: int | None
    """It contains all entries up to this one."""
    written_at: Moment | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesView:
    """How much is on /metrics, and how much may be."""

    series: int | None
    flows: int | None
    """Pairs of flow and sandbox that are shown one by one."""
    flows_limit: int
    flows_counted_together: int | None
    """Flows that found no slot and are counted as `other`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockView:
    """The ledger's clock."""

    time: Moment | None
    skew_seconds: float | None
    """By how much this machine's clock is ahead of Adobe's. None if it is not known."""
    corrections: int
    """Corrections of the clock that this process has written."""
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationView:
    """The address that Adobe sent last to have the webhook confirmed."""

    url: str | None
    """None if pages show a summary. The log has it."""
    received_at: Moment
    is_signed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveriesView:
    """What is received."""

    webhook: str
    """The path, and the address if the webhook has a listener of its own. A token is not in it."""
    authentication: str
    last_deliveries: Mapping[str, Moment]
    """By source. A delivery counts also if all of it was known."""
    refused: Mapping[str, int]
    """Requests to the webhook that this process refused, by reason."""
    not_understood: Mapping[str, int]
    """Events that this process did not understand, by reason."""
    validation: ValidationView | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PagesView:
    """The pages."""

    mode: str
    """`full` or `summary`."""
    external_url: str | None
    passwords: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeView:
    """One thing that is wrong."""

    reason: str
    text: str
    action: str
    since: Moment | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingView:
    """A setting that is in force."""

    flag: str
    value: str | None
    """As a person writes it. None for one that is not set, and `(set)` for one that is not shown.

    Secrets are not shown. If pages show a summary, names of files, addresses and ids are not shown either.
    """
    is_default: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusView:
    """How the exporter is. The names of the fields are those of the JSON."""

    version: str
    started_at: Moment
    notices: tuple[NoticeView, ...]
    deliveries: DeliveriesView
    ledger: LedgerView
    checkpoint: CheckpointView
    journal: str | None = None
    """Always null: this version does not ask Adobe for its journal."""
    registration: str | None = None
    """Always null, likewise."""
    clock: ClockView
    metrics: MetricsView
    series: SeriesView
    pages: PagesView
    settings: tuple[SettingView, ...]
    """Those that differ from their defaults first."""


@dataclass(slots=True)
class _Problems:
    """Asks for parts, and notes why some have no answer."""

    is_full: bool
    found: dict[str, str] = field(default_factory=dict)

    def part(self, name: str, ask: Callable[[], _Part]) -> _Part | None:
        """A part, or None if it can't be answered now.

        What has failed once is not asked again for the page, because each question can wait for seconds.
        """
        if name in self.found:
            return None
        try:
            return ask()
        except ExporterError as error:
            self.found[name] = text_of(error, is_full=self.is_full)
            return None


_LEDGER: Final = "ledger"
_METRICS: Final = "metrics"


def page(request: PageRequest) -> Mapping[str, object]:
    """The values of `/status`."""
    return {"status": status_view(request), "refusals": REFUSALS, "skewed": SKEWED, "unscraped": 1000 * UNSCRAPED}


def status_view(request: PageRequest) -> StatusView:
    """How the exporter is. Blocking. It raises nothing: what can't be answered has a reason in its place."""
    sources, queries = request.sources, request.queries
    problems = _Problems(request.is_full)
    facts = sources.facts()
    now = problems.part("clock", sources.now)
    metrics = problems.part(_METRICS, sources.metrics)
    current = problems.part(_METRICS, sources.flows)
    ledger = problems.part(_LEDGER, sources.ledger)
    oldest = problems.part(_LEDGER, queries.oldest_entry_at)
    deliveries = problems.part(_LEDGER, queries.last_deliveries) or {}
    state = sources.process()
    # A host's clock is good enough for a page of which the ledger's can't be read.
    at = facts.time if now is None else now
    found = notices_of_process(state, at) if current is None else notices(state, current, deliveries)
    return StatusView(
        version=facts.version,
        started_at=Moment(facts.started_at),
        notices=tuple(map(_notice, found)),
        deliveries=_deliveries(facts, deliveries, is_full=request.is_full),
        ledger=_ledger(
            facts, ledger, oldest, problems.found.get(_LEDGER) or state.write_error, is_full=request.is_full
        ),
        checkpoint=_checkpoint(metrics, ledger),
        series=_series(facts, metrics),
        metrics=_metrics(
            metrics,
            problems.found.get(_METRICS),
            Moment(at - round(1000 * state.unscraped)) if state.was_scraped else None,
        ),
        clock=ClockView(
            time=None if now is None else Moment(now),
            skew_seconds=state.clock_skew,
            corrections=facts.clock_corrections,
            notes=facts.clock_notes,
        ),
        pages=PagesView(
            mode="full" if request.is_full else "summary",
            external_url=facts.external_url,
            passwords=facts.has_passwords,
        ),
        settings=tuple(
            _setting(each, is_full=request.is_full) for each in sorted(facts.settings, key=lambda each: each.is_default)
        ),
    )


def _ledger(
    facts: ProcessFacts, found: LedgerFacts | None, oldest: int | None, problem: str | None, *, is_full: bool
) -> LedgerView:
    return LedgerView(
        location=facts.ledger_location if is_full else None,
        problem=problem,
        entries=None if found is None else found.entries,
        entries_are_exact=None if found is None else found.is_exact,
        position=None if found is None else found.head,
        oldest_entry_at=None if oldest is None else Moment(oldest),
        bytes_on_disk=None if found is None else found.bytes_on_disk,
        bytes_used=None if found is None else found.bytes_used,
        max_bytes=facts.ledger_max_bytes,
        retention_seconds=facts.retention_seconds,
    )


def _checkpoint(found: MetricsFacts | None, ledger: LedgerFacts | None) -> CheckpointView:
    written_at = None if ledger is None else ledger.checkpoint_written_at
    return CheckpointView(
        position=None if found is None else found.checkpoint_position,
        written_at=None if written_at is None else Moment(written_at),
    )


def _series(facts: ProcessFacts, found: MetricsFacts | None) -> SeriesView:
    return SeriesView(
        series=None if found is None else found.series,
        flows=None if found is None else found.flows,
        flows_limit=facts.flows_limit,
        flows_counted_together=None if found is None else found.overflowed,
    )


def _metrics(found: MetricsFacts | None, problem: str | None, scraped_at: Moment | None) -> MetricsView:
    return MetricsView(
        problem=problem,
        position=None if found is None else found.position,
        skipped_entries=None if found is None else found.skipped,
        dropped={} if found is None else dict(found.dropped),
        last_scrape_at=scraped_at,
    )


def _deliveries(facts: ProcessFacts, deliveries: Mapping[str, int], *, is_full: bool) -> DeliveriesView:
    validation = facts.validation
    return DeliveriesView(
        webhook=facts.webhook,
        authentication=facts.authentication,
        last_deliveries={source: Moment(at) for source, at in deliveries.items()},
        refused=facts.refused,
        not_understood=facts.not_understood,
        validation=None
        if validation is None
        else ValidationView(
            url=validation.url if is_full else None,
            received_at=Moment(validation.received_at),
            is_signed=validation.is_signed,
        ),
    )


def _notice(notice: Notice) -> NoticeView:
    return NoticeView(
        reason=notice.reason,
        text=notice.text,
        action=notice.action,
        since=None if notice.since is None else Moment(notice.since),
    )


def _setting(found: SettingInForce, *, is_full: bool) -> SettingView:
    value = found.value if is_full or not found.is_private else HIDDEN
    return SettingView(flag=found.flag, value=value, is_default=found.is_default)
