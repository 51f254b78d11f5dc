"""The endpoints of the API: what pages show, as JSON.

It has the bounds of the pages (`Asking`), and their rules about what may be shown. Whatever happens below `/api/`, the
answer is JSON: an error is `application/problem+json`, RFC 9457.
"""

import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from exporter.errors import BadCursorError, BadParameterError, ExporterError, NotInLedgerError
from exporter.ledger.queries import Queries
from exporter.logs import LogThrottle
from exporter.pages.api_operations import BASE, Operation
from exporter.pages.asking import Asking
from exporter.pages.error_texts import text_of
from exporter.pages.json_text import json_text, view_text
from exporter.pages.links import OwnLinks
from exporter.pages.openapi import PROBLEM_TYPE, document
from exporter.pages.page_request import PageRequest, Sources, stored_ids
from exporter.pages.parameters import strict
from exporter.pages.site import raw_path

_RETRY_AFTER: Final = "5"
"""Seconds, with every 503."""
_STATUS: Final[dict[type[ExporterError], HTTPStatus]] = {
    BadCursorError: HTTPStatus.BAD_REQUEST,
    BadParameterError: HTTPStatus.BAD_REQUEST,
    NotInLedgerError: HTTPStatus.NOT_FOUND,
}
"""The status of an error. Any other one is a 503."""
_METHODS: Final = ("GET", "HEAD")

_log: structlog.stdlib.BoundLogger = structlog.get_logger("api")

Work = Callable[[PageRequest], bytes]


class Api:
    """Makes the endpoints."""

    def __init__(self, asking: Asking, sources: Sources, links: Callable[[str], OwnLinks], version: str) -> None:
        """`links` makes the addresses of pages, as they are seen from a raw path."""
        self._asking = asking
        self._sources = sources
        self._links = links
        self._version = version
        self._throttle = LogThrottle(time.monotonic)

    def endpoint(self, operation: Operation) -> ASGIApp:
        """The endpoint of an address."""
        return self._endpoint(
            operation.base if operation.item else "",
            operation.parameters,
            lambda request: view_text(operation.answer(request)),
        )

    def document_endpoint(self) -> ASGIApp:
        """The endpoint of the OpenAPI document."""
        return self._endpoint("", (), lambda request: json_text(document(self._version, request.own.page(BASE))))

    def not_found_endpoint(self) -> ASGIApp:
        """The endpoint of all other addresses below `/api`."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            detail = f"there is nothing with this address: {BASE}/openapi.json lists those that exist"
            await _problem(HTTPStatus.NOT_FOUND, detail, "not_found")(scope, receive, send)

        return _Endpoint(app)

    def _endpoint(self, item_base: str, parameters: tuple[str, ...], work: Work) -> ASGIApp:
        """`item_base`: what comes before the id in the path. Empty if there is none."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["method"] not in _METHODS:
                response = _problem(
                    HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD are answered here", "method_not_allowed"
                )
                response.headers["Allow"] = ", ".join(_METHODS)
            else:
                response = await self._answer(Request(scope), item_base, parameters, work)
            await response(scope, receive, send)

        return _Endpoint(app)

    async def _answer(self, request: Request, item_base: str, parameters: tuple[str, ...], work: Work) -> Response:
        path = raw_path(request.scope)

        def work_on(queries: Queries) -> bytes:
            # A slash in an id is encoded. One that a proxy has decoded is part of the id, too.
            item_id = unquote(path.removeprefix(item_base)) if item_base else ""
            if item_base and not item_id:
                raise NotInLedgerError("the address has no id")
            page_request = PageRequest(
                queries=queries,
                sources=self._sources,
                item_id=item_id,
                parameters=stored_ids(strict(request.query_params.multi_items(), parameters), self._sources.stored_id),
                own=self._links(path),
                is_full=self._sources.is_full(),
            )
            return work(page_request)

        try:
            content = await self._asking.ask(work_on)
        except ExporterError as error:
            return self._failed(error)
        return Response(content, media_type="application/json", headers={"Cache-Control": "no-store"})

    def _failed(self, error: ExporterError) -> Response:
        status = next(
            (_STATUS[each] for each in type(error).__mro__ if each in _STATUS), HTTPStatus.SERVICE_UNAVAILABLE
        )
        if status is HTTPStatus.SERVICE_UNAVAILABLE:
            more = self._throttle.allow(error.reason)
            if more is not None:
                _log.warning("the API can't answer", reason=error.reason, detail=str(error), more_like_it=more)
        return _problem(status, text_of(error, is_full=self._sources.is_full()), error.reason)


class _Endpoint:
    """An ASGI application. A route treats a plain function as something else."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        await self._app(scope, receive, send)


def _problem(status: HTTPStatus, detail: str, reason: str) -> Response:
    content = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": detail[:1].upper() + detail[1:] + ".",
        "reason": reason,
    }
    headers = {"Cache-Control": "no-store"}
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = _RETRY_AFTER
    return Response(json_text(dict(content)), status.value, headers, PROBLEM_TYPE)
