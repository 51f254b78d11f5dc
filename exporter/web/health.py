"""Health probes: `/-/healthy` and `/-/ready`."""

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from exporter.errors import ExporterError
from exporter.follower import Follower
from exporter.intake import Intake


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
        return PlainTextResponse("\n".join(["ready", *self._follower.clock_notes(), ""]))
