"""Made-up runs, like Adobe's: bodies, and the facts that are read from them."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from exporter.adobe.payloads import read
from exporter.metrics.flows import Limits
from exporter.metrics.fold import Fold
from exporter.model import FlowRun, RecordedFact, Source

FLOWS: Final = 1000
STATUSES: Final = ("failed", "partialSuccess", "success")
CLIENT_ID: Final = "benchmark"
LIMITS: Final = Limits(hold=0, ttl=45 * 24 * 3600 * 1000, max_flows=10_000)
NOW: Final = time.time_ns() // 1_000_000

_SAMPLE: Final = Path(__file__).parents[1] / "tests" / "samples" / "source-success.json"
_NUMBER, _FLOW, _STATUS = 77_777_777, 66_666_666, "made-up-status"
_STARTED, _COMPLETED = 1_111_111_111_111, 1_222_222_222_222


def _template() -> bytes:
    """A run of the samples, with something to replace where runs differ."""
    found = json.loads(_SAMPLE.read_bytes())
    event = found["event"]
    event["id"] = f"{_NUMBER}-2f6b-4d58-9e01-6b5d8f3a2c41"
    event["flowId"] = f"{_FLOW}-7d39-4c65-b0a8-93e5d7c61f02"
    event["metrics"]["durationSummary"] = {"startedAtUTC": _STARTED, "completedAtUTC": _COMPLETED}
    errors = [{"code": "CONNECTOR-2001-500", "message": "made up"}]
    event["metrics"]["statusSummary"] = {"status": _STATUS, "errors": errors}
    return json.dumps({**found, "event_id": f"event-{_NUMBER}", "recipientclientid": CLIENT_ID}).encode()


_TEMPLATE: Final = _template()


def body(number: int, status: str = "success", at: int = NOW, flows: int = FLOWS) -> bytes:
    """A run of its own id, of one of so many flows, that ended a moment before this time."""
    return (
        _TEMPLATE.replace(str(_NUMBER).encode(), b"%08d" % number)
        .replace(str(_FLOW).encode(), b"%08d" % (number % flows))
        .replace(_STATUS.encode(), status.encode())
        .replace(str(_STARTED).encode(), b"%d" % (at - 90_000))
        .replace(str(_COMPLETED).encode(), b"%d" % (at - 1000))
    )


def bodies() -> Iterator[bytes]:
    """Runs that give each flow every series it can have of runs like these."""
    for turn, status in enumerate(STATUSES):
        for flow in range(FLOWS):
            yield body(turn * FLOWS + flow, status)


def recorded(raw: bytes, position: int) -> RecordedFact:
    """The fact as a follower hands it to the fold."""
    fact = read(raw, NOW)
    ended_at = fact.ended_at if isinstance(fact, FlowRun) else None
    return RecordedFact(
        position=position, received_at=NOW, source=Source.WEBHOOK, fact=fact, counts=True, ended_at=ended_at
    )


def fold() -> Fold:
    """A fold with some hundred thousand series."""
    made = Fold(LIMITS)
    for position, raw in enumerate(bodies(), start=1):
        made.apply(recorded(raw, position))
    made.advance(NOW)
    return made
