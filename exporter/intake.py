"""The one write path: deliveries into the ledger.

`record` decides what makes a fact the same fact and hands drafts to the ledger; when it returns, they are durable. It
touches no metric: metrics are a fold over the ledger, which `exporter.follower` keeps.
"""

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence

from exporter.errors import ExporterError
from exporter.ledger import Cursor, Draft, Ledger, Receipt
from exporter.model import (
    Delivery,
    EntryKind,
    Event,
    Fact,
    Flow,
    FlowAlert,
    FlowRun,
    Forgotten,
    Result,
    Source,
    Unreadable,
    Unsupported,
)

_PROBE_SIZE = 64 * 1024
_PROBE_SECONDS = 0.8
"""Less than a probe of Kubernetes waits by itself."""
_RESULTS = {EntryKind.UNSUPPORTED: Result.UNSUPPORTED, EntryKind.UNREADABLE: Result.UNREADABLE}

Record = Callable[[list[Delivery]], Awaitable[Mapping[Result, int]]]
"""The type of `Intake.record`: makes deliveries durable, and returns the number of events by result."""


class Intake:
    """Records deliveries; see `record`."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Callable[[], int],
        retention: int | None = None,
        cache_fact: Callable[[Event, int], None] | None = None,
    ) -> None:
        """`retention`: milliseconds the ledger keeps a fact; None while nothing is pruned.

        `cache_fact` is given each event that was recorded, and the time as of which it was read.
        """
        self._ledger = ledger
        self._clock = clock
        self._retention = retention
        self._cache_fact = cache_fact
        self._trouble: ExporterError | None = None

    async def record(self, deliveries: Sequence[Delivery], cursor: Cursor | None = None) -> Counter[Result]:
        """Make every event of the deliveries durable, in one transaction with the cursor; counts by result.

        A replayed run or alert from before the ledger's retention is `expired` and not recorded: its fact may have been
        pruned, and would count again. Raises what Ledger.append raises; then nothing was acknowledged.
        """
        results: Counter[Result] = Counter()
        drafts: list[Draft] = []
        drafted: list[tuple[Event, int | None]] = []
        for delivery in deliveries:
            for event in delivery.events:
                if self._has_expired(delivery.source, event.fact):
                    results[Result.EXPIRED] += 1
                else:
                    drafts.append(draft(delivery.source, event))
                    drafted.append((event, delivery.read_at))
        if drafts or cursor is not None:
            receipts = await self._append(drafts, cursor)
            results.update(map(_result, receipts))
            self._cache_new(drafted, receipts)
        return results

    async def forget(self, flow_id: str) -> None:
        """Make durable that a flow was deleted on purpose. Raises what Ledger.append raises."""
        # With the time in it, so that a flow that came back can be forgotten again.
        body = json.dumps({"forgotten": {"flowId": flow_id, "at": self._clock()}}).encode()
        event = Event(fact=Forgotten(flow_id=flow_id), body=body)
        await self.record([Delivery(source=Source.OPERATOR, events=(event,))])

    async def check(self) -> None:
        """Raise what keeps deliveries from the ledger; after trouble, find out by writing whether it is over."""
        if self._trouble is None:
            return
        # Of a notification's size: on a full disk a few bytes may still fit.
        probe = Cursor(name="probe", value=str(self._clock()).ljust(_PROBE_SIZE))
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                await self._append([], probe)
        except TimeoutError:
            raise self._trouble from None

    async def _append(self, drafts: Sequence[Draft], cursor: Cursor | None) -> list[Receipt]:
        try:
            receipts = await self._ledger.append(drafts, cursor)
        except ExporterError as error:
            self._trouble = error
            raise
        self._trouble = None
        return receipts

    def _cache_new(self, drafted: Sequence[tuple[Event, int | None]], receipts: Sequence[Receipt]) -> None:
        if self._cache_fact is None:
            return
        for (event, read_at), receipt in zip(drafted, receipts, strict=True):
            if receipt.is_new and read_at is not None:
                self._cache_fact(event, read_at)

    def _has_expired(self, source: Source, fact: Fact) -> bool:
        if self._retention is None or source is not Source.REPLAY:
            return False
        match fact:
            case FlowRun(ended_at=happened_at) | FlowAlert(changed_at=happened_at):
                return happened_at is not None and happened_at < self._clock() - self._retention
            case _:
                return False


def anomalies(deliveries: Sequence[Delivery]) -> Counter[str]:
    """How often each field's value made no sense."""
    return Counter(
        field
        for delivery in deliveries
        for event in delivery.events
        if isinstance(event.fact, FlowRun | FlowAlert)
        for field in event.fact.anomalies
    )


def draft(source: Source, event: Event) -> Draft:
    """What the ledger keeps of one event (contract 4.7: what makes a fact)."""
    match event.fact:
        case FlowRun() as run:
            return Draft(
                fact_key=f"run:{run.run_id}:{run.status.value}",
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
                is_outcome=run.status.is_outcome,
                body=event.body,
            )
        case FlowAlert() as alert:
            return Draft(
                fact_key=f"alert:{alert.alert_id}:{alert.state.value}:{alert.changed_at or ''}",
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
                fact_key=_digest(b"flow:", event.body),
                source=source,
                kind=EntryKind.FLOW,
                flow_id=flow.flow_id,
                sandbox=flow.sandbox,
                completed_at=flow.updated_at,
                body=event.body,
            )
        case Forgotten(flow_id=flow_id):
            return Draft(
                fact_key=_digest(b"forgotten:", event.body),
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
    return Draft(
        fact_key=f"event:{event.event_id}" if event.event_id else _digest(b"", event.body),
        source=source,
        kind=kind,
        event_id=event.event_id,
        event_code=event.event_code,
        sandbox=sandbox,
        body=event.body,
    )


def _digest(prefix: bytes, body: bytes) -> str:
    return "sha256:" + hashlib.sha256(prefix + body).hexdigest()


def _result(receipt: Receipt) -> Result:
    if not receipt.is_new:
        return Result.DUPLICATE
    return _RESULTS.get(receipt.kind, Result.RECORDED)
