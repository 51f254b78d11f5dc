"""Health probes: `/-/healthy` and `/-/ready`."""

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from exporter.errors import ExporterError
from exporter.follower import Follower
from exporter.intake import Intake
from exporter.web.responses import CLOSE


def healthy(_request: Request) -> Response:
    """Answer 200 as long as the process serves requests."""
    return PlainTextResponse("healthy\n")


class Ready:
    """Answers whether notifications can be recorded and metrics are current."""

    def __init__(self, follower: Follower, intake: Intake) -> None:
        """`follower` reads the ledger once a second. `intake` keeps the error of the last write that failed."""
        self._follower = follower
        self._intake = intake

    async def endpoint(self, _request: Request) -> Response:
        """Answer 200, or 503 with the reason and message of what is wrong.

        A line more says that the clock was wrong, which makes nobody wait (docs/architecture.md, "Clock").
        """
        try:
            self._follower.check()
            await self._intake.check()
        except ExporterError as error:
            return PlainTextResponse(f"not ready: {error.reason}: {error}\n", status_code=503)
        skipped = self._follower.skipped
        first = f"ready, entries skipped: {skipped} (the log says why)" if skipped else "ready"
        return PlainTextResponse("\n".join([first, *self._follower.clock_notes(), ""]))

    def close_while_not_ready(self, app: ASGIApp) -> ASGIApp:
        """Return the application with `Connection: close` on every answer while this process is not ready.

        A service has taken such a process out, but a client that keeps its connection, such as Prometheus, would stay.
        """

        async def closing(scope: Scope, receive: Receive, send: Send) -> None:
            async def send_closing(message: Message) -> None:
                if message["type"] == "http.response.start" and not self._is_ready:
                    kept = [each for each in message.get("headers", ()) if each[0].lower() != CLOSE[0]]
                    message = {**message, "headers": [*kept, CLOSE]}
                await send(message)

            await app(scope, receive, send_closing)

        return closing

    @property
    def _is_ready(self) -> bool:
        """What the last read and the last write of the ledger showed. This does not ask the ledger."""
        try:
            self._follower.check()
        except ExporterError:
            return False
        return not self._intake.is_failing
