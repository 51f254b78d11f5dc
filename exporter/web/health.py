"""Probes: `/-/healthy` says that the process is up, `/-/ready` that the ledger is usable and the metrics current."""

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from exporter.errors import ExporterError
from exporter.follower import Follower
from exporter.intake import Intake


def healthy(_request: Request) -> Response:
    """The process answers."""
    return PlainTextResponse("healthy\n")


class Ready:
    """Whether notifications can be recorded and metrics read."""

    def __init__(self, follower: Follower, intake: Intake) -> None:
        """The follower reads the ledger once a second; the intake knows how the last write went."""
        self._follower = follower
        self._intake = intake

    async def endpoint(self, _request: Request) -> Response:
        """200, or 503 with what is in the way."""
        try:
            self._follower.check()
            await self._intake.check()
        except ExporterError as error:
            return PlainTextResponse(f"not ready: {error.reason}: {error}\n", status_code=503)
        return PlainTextResponse("ready\n")
