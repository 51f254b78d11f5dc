"""The pages' endpoints: which page has which address, and what is answered where there is no page.

Everything that takes time is done on the threads of `Asking`: the questions, the reading of bodies and the rendering. A
page never has an error of another library in it.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

import structlog
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from exporter.errors import BadCursorError, BadParameterError, ExporterError, NotInLedgerError
from exporter.ledger.queries import Queries
from exporter.logs import LogThrottle
from exporter.pages import error_list, flow_list_page, flow_page, home, notification_list, run_list, run_page, status
from exporter.pages.asking import Asking
from exporter.pages.error_texts import text_of
from exporter.pages.frame import Frame, NavigationItem
from exporter.pages.page_request import MakePage, PageRequest, Sources, stored_ids


@dataclass(frozen=True, slots=True)
class Page:
    """A page."""

    path: str
    """Its path. One that ends with a slash is that of the pages of single items: their ids follow it."""
    title: str
    """Its title in the navigation. Empty if it is not there."""
    template: str
    make: MakePage


PAGES: Final = (
    Page("/", "Now", "home.html", home.page),
    Page("/flows", "Flows", "flows.html", flow_list_page.page),
    Page("/flows/", "", "flow.html", flow_page.page),
    Page("/runs", "Runs", "runs.html", run_list.page),
    Page("/runs/", "", "run.html", run_page.page),
    Page("/errors", "Errors", "errors.html", error_list.page),
    Page("/notifications", "Notifications", "notifications.html", notification_list.page),
    Page("/status", "Status", "status.html", status.page),
)
"""The pages, in the order in which the navigation lists them."""

NAVIGATION: Final = tuple(NavigationItem(page.path, page.title) for page in PAGES if page.title)

_FLOWS: Final = "/flows/"
_PLATFORM: Final = "platform"
"""The last segment of the address that leads into Experience Platform."""
_RETRY_AFTER: Final = "5"
"""Seconds, with every 503 of a page."""
_YEAR: Final = "public, max-age=31536000, immutable"

_log: structlog.stdlib.BoundLogger = structlog.get_logger("pages")

Endpoint = Callable[[Request], Awaitable[Response]]


class Site:
    """The endpoints of the pages."""

    def __init__(self, frame: Frame, asking: Asking, sources: Sources) -> None:
        self._frame = frame
        self._asking = asking
        self._sources = sources
        self._throttle = LogThrottle(time.monotonic)

    def endpoint(self, page: Page) -> Endpoint:
        """The endpoint of a page, or of the pages of single items."""

        async def answer(request: Request) -> Response:
            path = raw_path(request.scope)
            item_id = item_of(path, page.path)[0] if page.path.strip("/") and page.path.endswith("/") else ""

            def work(queries: Queries) -> bytes:
                return self._frame.render(page.template, path, page.make(self._page_request(request, queries, item_id)))

            try:
                content = await self._asking.ask(work)
            except ExporterError as error:
                return self._failed(path, error)
            return HTMLResponse(content, headers={"Cache-Control": "no-store"})

        return answer

    def flow_endpoint(self, page: Page | None) -> Endpoint:
        """The endpoint of all addresses below `/flows/`."""
        return self._item_endpoint(_FLOWS, page, self._platform_of_flow)

    def run_endpoint(self, page: Page | None) -> Endpoint:
        """The endpoint of all addresses below `/runs/`."""
        return self._item_endpoint("/runs/", page, self._platform_of_run)

    async def not_found(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 404 with a page for a browser, which asks for HTML, and with text for others."""
        if scope["type"] != "http":
            return
        if "text/html" in Request(scope).headers.get("accept", ""):
            response = self._message(raw_path(scope), 404, "Not found", "There is no page with this address.")
        else:
            response = PlainTextResponse("not found\n", status_code=404)
        await response(scope, receive, send)

    def _item_endpoint(self, base: str, page: Page | None, platform: Callable[[PageRequest], str | None]) -> Endpoint:
        of_page = None if page is None else self.endpoint(page)

        async def answer(request: Request) -> Response:
            item_id, last = item_of(raw_path(request.scope), base)
            if last == _PLATFORM:
                return await self._redirect(request, item_id, platform)
            # Adobe's alerts that name no flow have the empty flow id, and a page.
            if of_page is None or (not item_id and base != _FLOWS):
                return self._message(raw_path(request.scope), 404, "Not found", "There is no page with this address.")
            return await of_page(request)

        return answer

    def _platform_of_flow(self, request: PageRequest) -> str | None:
        sandbox = request.parameters.get("sandbox")
        return self._sources.platform.page_of_flow(request.queries, request.item_id, sandbox)

    def _platform_of_run(self, request: PageRequest) -> str | None:
        return self._sources.platform.page_of_run(request.queries, request.item_id)

    async def _redirect(self, request: Request, item_id: str, find: Callable[[PageRequest], str | None]) -> Response:
        try:
            address = await self._asking.ask(lambda queries: find(self._page_request(request, queries, item_id)))
        except ExporterError as error:
            return self._failed(raw_path(request.scope), error)
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

    def _page_request(self, request: Request, queries: Queries, item_id: str) -> PageRequest:
        parameters: dict[str, str] = {}
        for name, value in request.query_params.multi_items():
            parameters.setdefault(name, value)
        return PageRequest(
            queries=queries,
            sources=self._sources,
            item_id=item_id,
            parameters=stored_ids(parameters, self._sources.stored_id),
            own=self._frame.links(raw_path(request.scope)),
            is_full=self._sources.is_full(),
        )

    def _failed(self, path: str, error: ExporterError) -> Response:
        """The answer instead of a page."""
        if isinstance(error, BadCursorError):
            return self._message(
                path, 400, "Wrong address", "This list can't go on from here: open it from its beginning."
            )
        if isinstance(error, BadParameterError):
            return self._message(path, 400, "Wrong address", f"{error}.")
        if isinstance(error, NotInLedgerError):
            return self._message(path, 404, "Not found", f"{error}.")
        more = self._throttle.allow(error.reason)
        if more is not None:
            _log.warning("a page can't be shown", reason=error.reason, detail=str(error), more_like_it=more)
        text = text_of(error, is_full=self._sources.is_full())
        return self._message(path, 503, "Not available now", f"{text}.")

    def _message(self, path: str, status: int, title: str, message: str) -> Response:
        content = self._frame.render(
            "message.html", path, {"title": title, "message": message[:1].upper() + message[1:]}
        )
        headers = {"Cache-Control": "no-store"} | ({"Retry-After": _RETRY_AFTER} if status == 503 else {})
        return HTMLResponse(content, status, headers)


def static_file(content: bytes, media_type: str) -> Endpoint:
    """The endpoint of a file whose address changes with its content."""

    async def endpoint(_request: Request) -> Response:
        return Response(content, media_type=media_type, headers={"Cache-Control": _YEAR})

    return endpoint


def raw_path(scope: Scope) -> str:
    """The path as it is in the request line, so that encoded slashes are not taken for others."""
    raw: bytes | None = scope.get("raw_path")
    return raw.decode("latin-1").partition("?")[0] if raw else str(scope["path"])


def item_of(path: str, base: str) -> tuple[str, str]:
    """The id that a raw path names below `base`, and the last segment if it is `platform` and comes after an id.

    A slash in an id is encoded. One that a proxy has decoded is part of the id, too.
    """
    *segments, last = path.removeprefix(base).split("/")
    if segments and last == _PLATFORM:
        return unquote("/".join(segments)), last
    return unquote("/".join([*segments, last])), ""
