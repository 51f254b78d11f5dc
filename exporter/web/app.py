"""The routes of a listener, and the application made of them."""

from collections.abc import Sequence

from starlette.middleware import Middleware
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from exporter.pages.api import Api
from exporter.pages.api_operations import BASE, DOCUMENT_PATH, OPERATIONS
from exporter.pages.frame import Frame
from exporter.pages.landing import Landing
from exporter.pages.site import PAGES, Site, static_file
from exporter.web import health
from exporter.web.headers import SECURITY_HEADERS, ExtraHeaders
from exporter.web.scrape import Scrape


def webhook_routes(webhook: ASGIApp, path: str, *, takes_token: bool) -> list[Route]:
    """Return the webhook's routes. With a token its path has one more segment, without one at most a slash."""
    return [Route(path, webhook), Route(path + ("/{token:path}" if takes_token else "/"), webhook)]


def health_routes(ready: health.Ready) -> list[Route]:
    """Return the routes of the health probes. Every listener has them."""
    return [Route("/-/healthy", health.healthy), Route("/-/ready", ready.endpoint)]


def inner_routes(scrape: Scrape, telemetry_path: str, frame: Frame, check: Sequence[Middleware] = ()) -> list[Route]:
    """Return the routes that are meant for the operator's own network, but for pages. `check` goes before each."""
    return [
        Route(telemetry_path, scrape, middleware=check),
        *(
            Route(path, static_file(file.content, file.media_type), middleware=check)
            for path, file in frame.static_files.items()
        ),
    ]


def landing_route(landing: Landing, check: Sequence[Middleware] = ()) -> Route:
    """Return the route of `/` where there are no pages."""
    return Route("/", landing.endpoint, middleware=check)


def page_routes(site: Site, check: Sequence[Middleware] = ()) -> list[Route]:
    """Return the routes of the pages, which are meant for the operator's own network, too."""
    by_path = {page.path: page for page in PAGES}
    return [
        *(
            Route(path, site.endpoint(page), middleware=check)
            for path, page in by_path.items()
            if not path.endswith("/") or path == "/"
        ),
        # An id can hold slashes.
        Route("/flows/{rest:path}", site.flow_endpoint(by_path.get("/flows/")), middleware=check),
        Route("/runs/{rest:path}", site.run_endpoint(by_path.get("/runs/")), middleware=check),
    ]


def api_routes(api: Api, check: Sequence[Middleware] = ()) -> list[Route]:
    """Return the routes of the API, which has the same readers as the pages."""
    return [
        Route(f"{BASE}{DOCUMENT_PATH}", api.document_endpoint(), middleware=check),
        # An id can hold slashes.
        *(
            Route(f"{each.base}{{rest:path}}" if each.item else each.base, api.endpoint(each), middleware=check)
            for each in OPERATIONS
        ),
        Route("/api", api.not_found_endpoint(), middleware=check),
        Route("/api/{rest:path}", api.not_found_endpoint(), middleware=check),
    ]


def build(routes: list[Route], not_found: ASGIApp | None = None) -> Router:
    """Return the application of a listener, which sets the security headers on every answer.

    `not_found` answers requests to other paths. Without it they get a line of text.
    """
    return Router(
        routes,
        # A redirect is not a 2xx, so Adobe would drop the event.
        redirect_slashes=False,
        default=not_found or _not_found,
        middleware=[
            Middleware(ExtraHeaders, SECURITY_HEADERS),
            # Answers 500 to an unexpected exception, and raises it again for uvicorn's log. uvicorn's own 500 would
            # not have the security headers.
            Middleware(ServerErrorMiddleware),
        ],
    )


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await PlainTextResponse("not found\n", status_code=404)(scope, receive, send)
