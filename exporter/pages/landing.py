"""The landing page, which links to the other routes."""

from html import escape

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response


class Landing:
    """`GET /`: the name and version of the program, and links to its routes."""

    def __init__(self, version: str, telemetry_path: str, webhook_path: str) -> None:
        """`telemetry_path` and `webhook_path` are shown as they are. `webhook_path` must not contain the token."""
        links = "".join(
            f'<li><a href="{escape(path)}">{escape(path)}</a>: {text}</li>'
            for path, text in (
                (telemetry_path, "metrics"),
                (f"{telemetry_path}?collect[]=flows", "metrics of the flows alone, the same from every replica"),
                (f"{telemetry_path}?collect[]=exporter", "metrics of this process alone"),
                ("/-/healthy", "whether the process is up"),
                ("/-/ready", "whether the ledger is usable and the metrics are at its head"),
            )
        )
        self._page = (
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>aep-flow-exporter</title>'
            "<style>body{font-family:sans-serif;margin:2em;max-width:50em}</style></head><body>"
            "<h1>aep-flow-exporter</h1>"
            f"<p>Adobe Experience Platform flow runs as Prometheus metrics. Version {escape(version)}.</p>"
            f"<ul>{links}</ul>"
            f"<p>Adobe posts its notifications to <code>{escape(webhook_path)}</code>.</p></body></html>\n"
        )

    def endpoint(self, _request: Request) -> Response:
        """Answer with the page."""
        return HTMLResponse(self._page)
