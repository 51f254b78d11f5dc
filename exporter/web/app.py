"""Which route leads where."""

from starlette.responses import PlainTextResponse
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from exporter.web import health
from exporter.web.pages import Landing
from exporter.web.scrape import Scrape
from exporter.web.webhook import Webhook


def routes(
    *,
    webhook: Webhook,
    webhook_path: str,
    takes_token: bool,
    scrape: Scrape,
    telemetry_path: str,
    ready: health.Ready,
    landing: Landing,
) -> Router:
    """The application of a listener that serves everything."""
    return Router(
        [
            Route(webhook_path, webhook),
            # With a token the last segment is it; without, a trailing slash is all that may follow.
            Route(webhook_path + ("/{token:path}" if takes_token else "/"), webhook),
            Route(telemetry_path, scrape),
            Route("/-/healthy", health.healthy),
            Route("/-/ready", ready.endpoint),
            Route("/", landing.endpoint),
        ],
        # A redirect is no 2xx: Adobe would drop the event.
        redirect_slashes=False,
        default=_not_found,
    )


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await PlainTextResponse("not found\n", status_code=404)(scope, receive, send)
