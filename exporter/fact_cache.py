"""Facts that this process has just recorded, so that following the ledger need not read their bodies again.

The rule: what is handed out is what reading the body again would give, or nothing is. A body says the same again when
nothing around it said more (`Event.is_complete`), no value in it was refused, and it is read as of the same time or a
later one: time only ever makes more values acceptable (exporter.adobe.fields.moment). So every process on one ledger
still works out the same metrics, whether it recorded an entry itself or not.

Kept by the event loop's thread, taken by the fold's: each step is one operation of a dict, which Python does whole.
"""

from typing import Final

from exporter.model import Event, Fact, FlowRun, Reader

_MAX_FACTS: Final = 4096
_MAX_BYTES: Final = 16 * 1024 * 1024
"""Bytes of bodies whose facts are kept."""
_MAX_PARTS: Final = 50
"""Activities and errors of a run that is kept: with a thousand of them a fact is twenty times as large as its body."""


class FactCache:
    """The facts; each is handed out once."""

    def __init__(self, read: Reader) -> None:
        """`read`: what reads a body whose fact is not here."""
        self._read = read
        self._facts: dict[bytes, tuple[FlowRun, int, str]] = {}
        self._bytes = 0

    def put(self, event: Event, read_at: int) -> None:
        """Keep the fact of an event that was read as of this time, if reading it again would tell the same."""
        fact = event.fact
        if not event.is_complete or not isinstance(fact, FlowRun) or fact.anomalies:
            return
        if len(fact.activities) + len(fact.errors) > _MAX_PARTS:
            return
        if len(self._facts) >= _MAX_FACTS or self._bytes >= _MAX_BYTES:
            # Nobody has come for them for long; they are read again.
            self._facts.clear()
            self._bytes = 0
        self._bytes += len(event.body)
        self._facts[event.body] = (fact, read_at, event.event_code or "")

    def read(self, body: bytes, recorded_at: int, event_code: str) -> Fact:
        """The fact that a body tells; times in milliseconds."""
        kept = self._facts.pop(body, None)
        if kept is not None:
            fact, read_at, code = kept
            if recorded_at >= read_at and event_code == code:
                return fact
        return self._read(body, recorded_at, event_code)
