"""Counts and logs what no endpoint sees: requests to paths that do not exist, and connections beyond the limit.

A webhook that is registered with a wrong path would otherwise be invisible, because Adobe drops an event that was
answered with 404. A log line names the path that was meant, and nothing of the one that was requested: that one may
hold a token.
"""

from collections.abc import Callable
from time import perf_counter
from typing import Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from exporter.logs import LogThrottle
from exporter.metrics.telemetry import Telemetry

_EVERY: Final = 60.0
"""Seconds between two log lines of one kind."""
_REFUSALS: Final = frozenset({401, 404, 405})

_log: structlog.stdlib.BoundLogger = structlog.get_logger("web")


class Unserved:
    """What the listeners of one process share."""

    def __init__(
        self, telemetry: Telemetry, webhook: str, webhook_path: str, monotonic: Callable[[], float] = perf_counter
    ) -> None:
        """`webhook` says where the webhook is, without a token. `webhook_path` is its path, without one too."""
        self._telemetry = telemetry
        self._webhook = webhook
        self._webhook_path = webhook_path
        self._throttle = LogThrottle(monotonic, _EVERY)

    def count_refused_connection(self) -> None:
        """A connection was closed because its listener has too many."""
        self._telemetry.connections_refused.inc()
        more = self._throttle.allow("connection")
        if more is not None:
            _log.warning("a connection was closed because there are too many", more_like_it=more)

    def watch(self, app: ASGIApp) -> ASGIApp:
        """Return the application of a listener, with its answers watched."""

        async def watched(scope: Scope, receive: Receive, send: Send) -> None:
            async def send_watched(message: Message) -> None:
                if message["type"] == "http.response.start":
                    self._look_at(scope, message["status"])
                await send(message)

            await app(scope, receive, send_watched if scope["type"] == "http" else send)

        return watched

    def _look_at(self, scope: Scope, status: int) -> None:
        method, path = scope["method"], scope["path"]
        # Only the webhook takes a POST, or answers a challenge. Other paths answer them with 401, 405 or a page.
        is_elsewhere = path != self._webhook_path and not path.startswith(self._webhook_path + "/")
        is_delivery = is_elsewhere and method == "POST" and status in _REFUSALS
        is_challenge = is_elsewhere and method == "GET" and b"challenge=" in scope["query_string"]
        if status != 404 and not is_delivery and not is_challenge:
            return
        self._telemetry.http_not_found.inc()
        is_adobe = method == "POST" or is_challenge
        more = self._throttle.allow("delivery" if is_adobe else "other")
        if more is None:
            return
        client = scope.get("client")
        write = _log.warning if is_adobe else _log.info
        write(
            "a request came to a path that does not exist",
            method=method if method in {"GET", "HEAD", "POST"} else "other",
            status=status,
            client=client[0] if client else "",
            webhook=self._webhook,
            more_like_it=more,
        )
