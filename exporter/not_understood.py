"""Counts and logs the events that were recorded without being understood.

The log names the reason and, if Adobe documents it, the event code. It never holds a value of a payload.
"""

from collections.abc import Callable
from typing import Final

import structlog

from exporter.logs import LogThrottle
from exporter.metrics.code_labels import event_code_label
from exporter.metrics.telemetry import Telemetry
from exporter.model import NotUnderstood
from exporter.reasons import EXPLANATIONS

_EVERY: Final = 60.0
"""Seconds between two log messages of one reason."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("intake")


class NotUnderstoodReport:
    """Is called with each event that was recorded as unsupported or unreadable."""

    def __init__(self, telemetry: Telemetry, monotonic: Callable[[], float]) -> None:
        self._telemetry = telemetry
        self._throttle = LogThrottle(monotonic, _EVERY)

    def __call__(self, reason: NotUnderstood, event_code: str | None) -> None:
        """Count one event by its reason. Log the first of each reason and, once a minute, one that follows."""
        self._telemetry.not_understood.labels(reason.value).inc()
        suppressed = self._throttle.allow(reason.value)
        if suppressed is None:
            return
        write = _log.info if reason is NotUnderstood.OTHER_TOPIC else _log.warning
        write(
            "a notification was kept and not understood",
            reason=reason.value,
            why=EXPLANATIONS[reason],
            event_code=event_code_label(event_code),
            more_like_it=suppressed,
        )
