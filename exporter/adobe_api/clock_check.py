"""Asks Adobe's key host for a key that is known, now and then, so that the clocks are compared without deliveries.

The answer's headers are all that matters (`clock_skew`). Only a path that has verified a delivery is requested. A
request that fails is logged and changes nothing else: it is no failure of a key.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from exporter.adobe.signature import is_key_path
from exporter.adobe_api.http_client import AdobeClient
from exporter.errors import NoAnswerError

INTERVAL: Final = 15 * 60.0
"""Seconds between two requests."""
_TIMEOUT: Final = 4.0
"""Seconds for one request."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("clock")


class ClockCheck:
    """The requests of one process."""

    def __init__(self, client: AdobeClient, host: str, trusted_path: Callable[[], str | None]) -> None:
        """`host`: the scheme and the host to which paths are appended.

        `trusted_path` returns the path of a key that has verified a delivery, or None.
        """
        self._client = client
        self._host = host.rstrip("/")
        self._trusted_path = trusted_path

    async def run(self) -> None:
        """Ask now and every INTERVAL seconds, until cancelled."""
        while True:
            await self.ask()
            await asyncio.sleep(INTERVAL)

    async def ask(self) -> None:
        """Ask once, if a key is trusted."""
        path = self._trusted_path()
        # The path comes from the ledger's file.
        if path is None or not is_key_path(path):
            return
        try:
            async with self._client.stream("HEAD", self._host + path, _TIMEOUT):
                pass
        except NoAnswerError as error:
            _log.warning(
                "Adobe's key host gives no answer to compare the clocks with",
                reason=error.reason,
                detail=str(error),
                host=self._client.where,
            )

    async def close(self) -> None:
        """Close the client."""
        await self._client.close()
