"""Caches the facts that this process has just recorded, so that the follower need not parse their bodies again.

The rule: return a cached fact only if parsing the body again would give an equal one. That is so if the envelope added
nothing to the fact (`Event.is_complete`), no value of the body was left out, and the body is parsed as of the same time
or a later one, because time only makes more values valid (exporter.adobe.fields.moment). All processes on one ledger
therefore compute the same metrics, whether they recorded an entry themselves or not.

The event loop's thread adds facts, and the fold's thread takes them. Each step is one operation on a dict, which is
atomic in Python, so no lock is needed.
"""

from typing import Final

from exporter.model import Event, Fact, FlowRun, Reader

_MAX_FACTS: Final = 4096
_MAX_BYTES: Final = 16 * 1024 * 1024
"""The largest sum of the sizes of cached bodies, in bytes."""
_MAX_PARTS: Final = 50
"""The most activities and errors of a cached run. With a thousand of them a fact is twenty times its body's size."""


class FactCache:
    """Facts by body. Each is returned once."""

    def __init__(self, read: Reader) -> None:
        """`read` parses a body whose fact is not cached."""
        self._read = read
        self._facts: dict[bytes, tuple[FlowRun, int, str]] = {}
        self._bytes = 0

    def put(self, event: Event, read_at: int) -> None:
        """Cache the fact of an event, if the rule allows it. `read_at`: the time as of which it was parsed (ms)."""
        fact = event.fact
        if not event.is_complete or not isinstance(fact, FlowRun) or fact.anomalies:
            return
        if len(fact.activities) + len(fact.errors) > _MAX_PARTS:
            return
        if len(self._facts) >= _MAX_FACTS or self._bytes >= _MAX_BYTES:
            # The follower has not taken them for long. It parses their bodies instead.
            self._facts.clear()
            self._bytes = 0
        self._bytes += len(event.body)
        self._facts[event.body] = (fact, read_at, event.event_code or "")

    def read(self, body: bytes, recorded_at: int, event_code: str) -> Fact:
        """Return the fact of a body recorded at this time (milliseconds since 1970), from the cache or by parsing."""
        cached = self._facts.pop(body, None)
        if cached is not None:
            fact, read_at, code = cached
            if recorded_at >= read_at and event_code == code:
                return fact
        return self._read(body, recorded_at, event_code)
