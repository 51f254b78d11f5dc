"""Which route leads where, on which listener."""

from starlette.responses import PlainTextResponse
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from exporter.pages.landing import Landing
from exporter.web import health
from exporter.web.scrape import Scrape
from exporter.web.webhook import Webhook


def webhook_routes(webhook: Webhook, path: str, *, takes_token: bool) -> list[Route]:
    """The webhook: with a token its last segment is that; without, a trailing slash is all that may follow."""
    return [Route(path, webhook), Route(path + ("/{token:path}" if takes_token else "/"), webhook)]


def health_routes(ready: health.Ready) -> list[Route]:
    """The probes, on every listener."""
    return [Route("/-/healthy", health.healthy), Route("/-/ready", ready.endpoint)]


def inner_routes(scrape: Scrape, telemetry_path: str, landing: Landing) -> list[Route]:
    """What is for one's own network."""
    return [Route(telemetry_path, scrape), Route("/", landing.endpoint)]


def build(routes: list[Route]) -> Router:
    """The application of a listener."""
    # A redirect is no 2xx: Adobe would drop the event.
    return Router(routes, redirect_slashes=False, default=_not_found)


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await PlainTextResponse("not found\n", status_code=404)(scope, receive, send)
