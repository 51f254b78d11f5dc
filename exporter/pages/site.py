"""The pages' endpoints: which question each asks, and what it answers where there is no answer.

Everything that takes time is done on the threads of `Asking`: the question, the reading of bodies and the rendering. A
page never has an error of another library in it.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from exporter.errors import BadCursorError, ExporterError
from exporter.ledger.queries import Queries
from exporter.logs import LogThrottle
from exporter.pages.asking import Asking
from exporter.pages.error_list import error_list
from exporter.pages.frame import Frame, NavigationItem
from exporter.pages.notification_list import Reading, notification_list
from exporter.pages.platform import Platform

NAVIGATION: Final = (
    NavigationItem("/", "Start"),
    NavigationItem("/errors", "Errors"),
    NavigationItem("/notifications", "Notifications"),
)
"""The pages, in the order in which they are listed."""

_RETRY_AFTER: Final = "5"
"""Seconds, with every 503 of a page."""
_YEAR: Final = "public, max-age=31536000, immutable"

_log: structlog.stdlib.BoundLogger = structlog.get_logger("pages")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What pages are made from besides the ledger's answers."""

    now: Callable[[], int]
    """The ledger's clock, in milliseconds since 1970. Blocking. Raises LedgerUnavailableError."""
    reading: Reading
    platform: Platform
    is_full: Callable[[], bool]
    """Whether messages and bodies may be shown now."""


class Site:
    """The endpoints of the pages."""

    def __init__(self, frame: Frame, asking: Asking, sources: Sources) -> None:
        self._frame = frame
        self._asking = asking
        self._sources = sources
        self._throttle = LogThrottle(time.monotonic)

    async def errors(self, request: Request) -> Response:
        """`/errors`: each error code, what it means, and when runs reported it."""
        return await self._page(
            request, "errors.html", lambda queries: {"list": error_list(queries, self._sources.now())}
        )

    async def notifications(self, request: Request) -> Response:
        """`/notifications`: what was kept without being understood, and why."""
        cursor = request.query_params.get("cursor")
        is_full = self._sources.is_full()

        def values(queries: Queries) -> Mapping[str, Any]:
            found = notification_list(queries, cursor, self._sources.reading, is_full=is_full)
            return {"list": found, "is_full": is_full, "is_first": cursor is None}

        return await self._page(request, "notifications.html", values)

    async def platform_of_flow(self, request: Request) -> Response:
        """`/flows/{flow_id}/platform?sandbox=`: leads to the flow in Experience Platform."""
        flow_id, sandbox = request.path_params["flow_id"], request.query_params.get("sandbox")
        return await self._redirect(
            request, lambda queries: self._sources.platform.page_of_flow(queries, flow_id, sandbox)
        )

    async def platform_of_run(self, request: Request) -> Response:
        """`/runs/{run_id}/platform`: leads to the run in Experience Platform."""
        run_id = request.path_params["run_id"]
        return await self._redirect(request, lambda queries: self._sources.platform.page_of_run(queries, run_id))

    async def not_found(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 404 with a page for a browser, which asks for HTML, and with text for others."""
        if scope["type"] != "http":
            return
        if "text/html" in Request(scope).headers.get("accept", ""):
            response = self._message(raw_path(scope), 404, "Not found", "There is no page with this address.")
        else:
            response = PlainTextResponse("not found\n", status_code=404)
        await response(scope, receive, send)

    async def _redirect(self, request: Request, find: Callable[[Queries], str | None]) -> Response:
        try:
            address = await self._asking.ask(find)
        except ExporterError as error:
            return self._unavailable(raw_path(request.scope), error)
        except ValueError:
            # The id is no text that a ledger can hold.
            address = None
        if address is None:
            return self._message(
                raw_path(request.scope),
                404,
                "Not found",
                "The ledger does not have it, or it lacks what the address in Experience Platform is made of.",
            )
        return RedirectResponse(address, 302, headers={"Cache-Control": "no-store"})

    async def _page(self, request: Request, template: str, values: Callable[[Queries], Mapping[str, Any]]) -> Response:
        path = raw_path(request.scope)
        try:
            content = await self._asking.ask(lambda queries: self._frame.render(template, path, values(queries)))
        except BadCursorError:
            return self._message(
                path, 400, "Wrong address", "This list can't go on from here: open it from its beginning."
            )
        except ExporterError as error:
            return self._unavailable(path, error)
        return HTMLResponse(content, headers={"Cache-Control": "no-store"})

    def _unavailable(self, path: str, error: ExporterError) -> Response:
        more = self._throttle.allow(error.reason)
        if more is not None:
            _log.warning("a page can't be shown", reason=error.reason, detail=str(error), more_like_it=more)
        return self._message(path, 503, "Not available now", f"{error}.")

    def _message(self, path: str, status: int, title: str, message: str) -> Response:
        content = self._frame.render(
            "message.html", path, {"title": title, "message": message[:1].upper() + message[1:]}
        )
        headers = {"Cache-Control": "no-store"} | ({"Retry-After": _RETRY_AFTER} if status == 503 else {})
        return HTMLResponse(content, status, headers)


def stylesheet(frame: Frame) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint of the stylesheet, whose address changes with its content."""

    async def endpoint(_request: Request) -> Response:
        return Response(frame.stylesheet, media_type="text/css", headers={"Cache-Control": _YEAR})

    return endpoint


def raw_path(scope: Scope) -> str:
    """The path as it is in the request line, so that encoded slashes are not taken for others."""
    raw: bytes | None = scope.get("raw_path")
    return raw.decode("latin-1").partition("?")[0] if raw else str(scope["path"])
