"""Structured logs on standard error, as logfmt or JSON."""

import logging
import sys
from collections.abc import Callable, Sequence

import structlog

from exporter.plain_text import clean

LEVELS = ("debug", "info", "warn", "error")
FORMATS = ("logfmt", "json")

_log: structlog.stdlib.BoundLogger = structlog.get_logger("environment")


def configure(level: str, format_: str) -> None:
    """Set up every logger of this process, those of libraries included."""
    number = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}[level]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.format_exc_info,
    ]
    renderers: list[structlog.typing.Processor] = (
        [structlog.processors.JSONRenderer()]
        if format_ == "json"
        else [
            _clean_texts,
            structlog.processors.LogfmtRenderer(key_order=["ts", "level", "logger", "event"], bool_as_flag=False),
        ]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(number)
    # uvicorn logs every start and stop at level info. commands/serve.py logs the same in this program's format.
    logging.getLogger("uvicorn").setLevel(max(number, logging.WARNING))
    # httpx logs the URL of every request at level info. The URL of Adobe's validation holds a challenge.
    logging.getLogger("httpx").setLevel(max(number, logging.WARNING))


def ignored_variables(names: Sequence[str]) -> None:
    """Log that these variables of the environment have no effect."""
    _log.warning("these variables have no effect here: unset them", variables=",".join(names))


def _clean_texts(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Clean every text of a message, so that a stranger's text can't end a line or turn the direction of writing.

    A newline stays, because the renderer escapes it. JSON needs no cleaning: everything but ASCII is escaped there.
    """
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            event[key] = "\n".join(map(clean, value.split("\n")))
    return event


class LogThrottle:
    """Allows one log message of each reason in so many seconds, and counts the others."""

    def __init__(self, monotonic: Callable[[], float], every: float = 10.0) -> None:
        """`every`: seconds between two messages of one reason. The number of different reasons must be bounded."""
        self._monotonic = monotonic
        self._every = every
        self._last: dict[str, tuple[float | None, int]] = {}

    def allow(self, reason: str) -> int | None:
        """Return None where this message must not be logged.

        Otherwise return how many messages of this reason were not allowed since the last one that was.
        """
        now = self._monotonic()
        logged_at, suppressed = self._last.get(reason, (None, 0))
        if logged_at is not None and now - logged_at < self._every:
            self._last[reason] = (logged_at, suppressed + 1)
            return None
        self._last[reason] = (now, 0)
        return suppressed
