"""The landing page, which links to the other routes."""

from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from exporter.pages.frame import Frame


class _Route(NamedTuple):
    path: str
    text: str


class Landing:
    """`GET /`: the name and version of the program, and links to its routes."""

    def __init__(self, frame: Frame, telemetry_path: str, webhook_path: str) -> None:
        """`telemetry_path` and `webhook_path` are shown as they are. `webhook_path` must not contain the token."""
        routes = (
            _Route(telemetry_path, "metrics"),
            _Route(f"{telemetry_path}?collect[]=flows", "metrics of the flows alone, the same from every replica"),
            _Route(f"{telemetry_path}?collect[]=exporter", "metrics of this process alone"),
            _Route("/-/healthy", "whether the process is up"),
            _Route("/-/ready", "whether the ledger is usable and the metrics are at its head"),
        )
        self._page = frame.render("landing.html", "/", {"routes": routes, "webhook_path": webhook_path})

    async def endpoint(self, _request: Request) -> Response:
        """Answer with the page."""
        return HTMLResponse(self._page)
