"""Logs: structured, to standard error, as logfmt or JSON."""

import logging
import sys
from collections.abc import Callable

import structlog

LEVELS = ("debug", "info", "warn", "error")
FORMATS = ("logfmt", "json")


def configure(level: str, format_: str) -> None:
    """Set up every logger of this process, the libraries' included."""
    number = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}[level]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if format_ == "json"
        else structlog.processors.LogfmtRenderer(key_order=["ts", "level", "logger", "event"], bool_as_flag=False)
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
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(number)
    # uvicorn tells of every start and stop; service says the same in our own words.
    logging.getLogger("uvicorn").setLevel(max(number, logging.WARNING))
    # httpx tells the address of every request, and Adobe's holds a challenge.
    logging.getLogger("httpx").setLevel(max(number, logging.WARNING))


class LogThrottle:
    """Lets a message through once in a while for each reason, and says how many it kept back."""

    def __init__(self, monotonic: Callable[[], float], every: float = 10.0) -> None:
        """`every`: seconds between two messages of one reason; reasons are of a closed list."""
        self._monotonic = monotonic
        self._every = every
        self._told: dict[str, tuple[float | None, int]] = {}

    def allow(self, reason: str) -> int | None:
        """How many messages of this reason were kept back since the last, or None to keep this one back too."""
        now = self._monotonic()
        told_at, kept_back = self._told.get(reason, (None, 0))
        if told_at is not None and now - told_at < self._every:
            self._told[reason] = (told_at, kept_back + 1)
            return None
        self._told[reason] = (now, 0)
        return kept_back
