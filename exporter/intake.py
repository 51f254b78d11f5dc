"""Records deliveries in the ledger. Everything that enters the ledger takes this way.

`Intake.record` makes a draft of each event, with the key that decides whether its fact is new, and appends the drafts.
When it returns, they are on disk. It changes no metric: `exporter.follower` computes the metrics from the ledger.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from exporter.errors import ExporterError
from exporter.ledger import Cursor, Draft, Ledger, Receipt, fact_keys, horizon
from exporter.model import (
    Delivery,
    EntryKind,
    Event,
    Fact,
    Flow,
    FlowAlert,
    FlowRun,
    Forgotten,
    NotUnderstood,
    Result,
    Source,
    Status,
    Unreadable,
    Unsupported,
)

Record = Callable[[list[Delivery]], Awaitable[Mapping[Result, int]]]
"""The type of `Intake.record` without a cursor."""

_CHECK_TIMEOUT = 0.8
"""Seconds. By default Kubernetes waits one second for the answer to a readiness probe."""
_RESULTS = {EntryKind.UNSUPPORTED: Result.UNSUPPORTED, EntryKind.UNREADABLE: Result.UNREADABLE}

_Written = TypeVar("_Written")


class Intake:
    """Appends deliveries to a ledger, and remembers whether the last attempt failed."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Callable[[], int],
        retention: int | None = None,
        cache_fact: Callable[[Event, int], None] | None = None,
        report: Callable[[NotUnderstood, str | None], None] | None = None,
    ) -> None:
        """`retention`: milliseconds for which the ledger keeps a fact, or None if nothing is pruned.

        `cache_fact` is called with each new event and the time of reading it (`Delivery.read_at`). `report` is called
        with the reason and the event code of each new event that is not understood.
        """
        self._ledger = ledger
        self._clock = clock
        self._retention = retention
        self._cache_fact = cache_fact
        self._report = report
        # A ledger that could not be written at the start is asked again by the first `check`.
        self._last_error: ExporterError | None = ledger.write_error

    async def record(self, deliveries: Sequence[Delivery], cursor: Cursor | None = None) -> Counter[Result]:
        """Commit all events of the deliveries and the cursor in one transaction. Returns how many had each result.

        A replayed run or alert that is older than the ledger's retention is not recorded: its result is `expired`. Its
        fact may have been pruned, and it would be counted a second time. Raises what `Ledger.append` raises.
        """
        results: Counter[Result] = Counter()
        drafts: list[Draft] = []
        drafted: list[tuple[Source, Event, int | None]] = []
        for delivery in deliveries:
            for event in delivery.events:
                if delivery.source is Source.REPLAY and self._has_expired(event.fact):
                    results[Result.EXPIRED] += 1
                else:
                    drafts.append(draft(delivery.source, event))
                    drafted.append((delivery.source, event, delivery.read_at))
        if drafts or cursor is not None:
            receipts = await self._remember_error(self._ledger.append(drafts, cursor))
            results.update(map(_result, receipts))
            for (source, event, read_at), receipt in zip(drafted, receipts, strict=True):
                if receipt.is_new:
                    self._handle_new(source, event, read_at, receipt.kind)
        return results

    async def forget(self, flow_id: str) -> None:
        """Record that a flow was deleted on purpose. Raises what `Ledger.append` raises."""
        # The time makes each statement a fact of its own, so that a flow that came back can be forgotten again.
        body = json.dumps({"forgotten": {"flowId": flow_id, "at": self._clock()}}).encode()
        event = Event(fact=Forgotten(flow_id=flow_id), body=body)
        await self.record([Delivery(source=Source.OPERATOR, events=(event,))])

    @property
    def is_failing(self) -> bool:
        """Whether the last write failed."""
        return self._last_error is not None

    @property
    def last_error(self) -> ExporterError | None:
        """Why the last write failed. None if it did not."""
        return self._last_error

    async def check(self) -> None:
        """Raise the error that keeps deliveries from being recorded, if there is one.

        Returns at once if the last write succeeded. Otherwise it asks the ledger whether it can be written again.
        """
        if self._last_error is None:
            return
        try:
            async with asyncio.timeout(_CHECK_TIMEOUT):
                await self._remember_error(self._ledger.check_writable())
        except TimeoutError:
            raise self._last_error from None

    async def _remember_error(self, write: Awaitable[_Written]) -> _Written:
        """Wait for a write, and remember whether it failed."""
        try:
            written = await write
        except ExporterError as error:
            self._last_error = error
            raise
        self._last_error = None
        return written

    def _handle_new(self, source: Source, event: Event, read_at: int | None, kind: EntryKind) -> None:
        if self._cache_fact is not None and read_at is not None:
            self._cache_fact(event, read_at)
        if self._report is not None and kind in _RESULTS:
            # The database can refuse an event. It is unreadable then, whatever was read in it.
            is_kept = kind is EntryKind.UNSUPPORTED
            reason = why_not_understood(source, event.fact) if is_kept else NotUnderstood.UNREADABLE
            self._report(reason or NotUnderstood.UNKNOWN_SHAPE, event.event_code)

    def _has_expired(self, fact: Fact) -> bool:
        """Whether it is a run or an alert whose fact may have been pruned."""
        if self._retention is None or not isinstance(fact, FlowRun | FlowAlert):
            return False
        happened_at = fact.ended_at if isinstance(fact, FlowRun) else fact.changed_at
        now = self._clock()
        # The horizon of the clock alone is never the lower one, so most facts need no look into the ledger.
        return (
            happened_at is not None
            and happened_at < now - self._retention
            and happened_at < horizon(self._ledger, now, self._retention)
        )


def anomalies(deliveries: Sequence[Delivery]) -> Counter[str]:
    """How many values were not valid and were dropped, by field."""
    return Counter(
        field
        for delivery in deliveries
        for event in delivery.events
        if isinstance(event.fact, FlowRun | FlowAlert)
        for field in event.fact.anomalies
    )


def why_not_understood(source: Source, fact: Fact) -> NotUnderstood | None:
    """The reason for which a fact of this source is recorded as unsupported or unreadable. None if it is not.

    A flow's description in a notification is another topic.
    """
    match fact:
        case Unsupported(reason=reason):
            return reason
        case Unreadable():
            return fact.reason
        case Flow() if source is not Source.REPLAY:
            return NotUnderstood.OTHER_TOPIC
        case _:
            return None


def draft(source: Source, event: Event) -> Draft:
    """The ledger's draft of one event (docs/architecture.md, "What makes a fact").

    A flow's description is recorded as such only from a replayed file. In a notification it is unsupported: otherwise
    any publisher whose events Adobe signs could rename a flow.
    """
    match event.fact:
        case FlowRun() as run:
            return Draft(
                fact_key=fact_keys.run_key(run.run_id, run.status.value),
                source=source,
                kind=EntryKind.RUN,
                event_id=event.event_id,
                event_code=event.event_code,
                flow_id=run.flow_id,
                run_id=run.run_id,
                sandbox=run.sandbox,
                status=run.status.value,
                error_codes=" ".join(run.error_codes) or None,
                completed_at=run.ended_at,
                updated_at=run.updated_at,
                is_outcome=run.status.is_outcome,
                is_provisional=run.status is Status.UNKNOWN,
                body=event.body,
            )
        case FlowAlert() as alert:
            return Draft(
                fact_key=fact_keys.alert_key(alert.alert_id, alert.state.value, alert.changed_at),
                source=source,
                kind=EntryKind.ALERT,
                event_id=event.event_id,
                event_code=event.event_code,
                flow_id=alert.flow_id,
                run_id=alert.run_id,
                sandbox=alert.sandbox,
                status=alert.state.value,
                completed_at=alert.changed_at,
                body=event.body,
            )
        case Flow() as flow if source is Source.REPLAY:
            return Draft(
                fact_key=fact_keys.flow_key(event.body),
                source=source,
                kind=EntryKind.FLOW,
                flow_id=flow.flow_id,
                sandbox=flow.sandbox,
                completed_at=flow.updated_at,
                body=event.body,
            )
        case Forgotten(flow_id=flow_id):
            return Draft(
                fact_key=fact_keys.forgotten_key(event.body),
                source=source,
                kind=EntryKind.FORGOTTEN,
                flow_id=flow_id,
                body=event.body,
            )
        case Flow(sandbox=sandbox) | Unsupported(sandbox=sandbox):
            return _draft_of_bytes(source, event, EntryKind.UNSUPPORTED, sandbox)
        case Unreadable():
            return _draft_of_bytes(source, event, EntryKind.UNREADABLE, None)


def _draft_of_bytes(source: Source, event: Event, kind: EntryKind, sandbox: str | None) -> Draft:
    """The draft of an event that is neither a run nor an alert."""
    body_key = fact_keys.body_key(event.body)
    key, former = body_key, None
    if event.body_id:
        key = fact_keys.event_key(event.body_id)
    elif event.content is not None:
        # Version 0.1.0 took the bytes.
        key, former = fact_keys.content_key(event.content), body_key
    return Draft(
        fact_key=key,
        former_key=former,
        source=source,
        kind=kind,
        event_id=event.event_id,
        event_code=event.event_code,
        sandbox=sandbox,
        body=event.body,
    )


def _result(receipt: Receipt) -> Result:
    if not receipt.is_new:
        return Result.DUPLICATE
    return _RESULTS.get(receipt.kind, Result.RECORDED)
