"""Receives request bodies within bounds: one for each body, and one for all that are under way.

`--webhook.max-body` bounds each body. The budget bounds them all together, so that many senders at a time can't fill
the memory. A body that exceeds the budget is answered with 503, and Adobe sends it again.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from starlette.types import Receive

from exporter.errors import BodyTooLargeError, OverloadedError

MAX_BYTES: Final = 64 * 1024 * 1024
"""Bytes of all bodies that are being received or wait to be committed."""
_MAX_LENGTH_DIGITS: Final = 18
"""Digits of a Content-Length that is read. Python takes long to convert a number of thousands of digits."""


class ClientGoneError(Exception):
    """The client closed the connection before its request was complete, so there is nobody to answer."""


class BodyBudget:
    """Counts the bytes of the bodies that are under way."""

    def __init__(self, limit: int = MAX_BYTES) -> None:
        """`limit`: bytes of all bodies together."""
        self._limit = limit
        self._used = 0

    @contextmanager
    def reserve(self) -> Iterator["Reservation"]:
        """Open a reservation for one body. It is empty at first, and its bytes are released at the end."""
        reservation = Reservation(self)
        try:
            yield reservation
        finally:
            self._used -= reservation.size

    def use(self, size: int) -> None:
        """Count `size` bytes more. Raises OverloadedError where that exceeds the limit."""
        if self._used + size > self._limit:
            raise OverloadedError("too many deliveries are being received at once")
        self._used += size


class Reservation:
    """The bytes that one body takes of a budget."""

    def __init__(self, budget: BodyBudget) -> None:
        self._budget = budget
        self.size = 0

    def extend(self, size: int) -> None:
        """Add `size` bytes. Raises OverloadedError where the budget is used up, and adds nothing then."""
        self._budget.use(size)
        self.size += size


async def read_body(headers: Mapping[bytes, bytes], receive: Receive, reservation: Reservation, max_size: int) -> bytes:
    """Receive a whole body of at most `max_size` bytes.

    Raises BodyTooLargeError as soon as the body is known to be larger, which its Content-Length may already show.
    Raises OverloadedError where the budget is used up, and ClientGoneError where the connection was closed.
    """
    length = headers.get(b"content-length", b"0")
    if len(length) > _MAX_LENGTH_DIGITS or (length.isdigit() and int(length) > max_size):
        raise BodyTooLargeError(f"a delivery has at most {max_size} bytes")
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > max_size:
            raise BodyTooLargeError(f"a delivery has at most {max_size} bytes")
        reservation.extend(len(chunk))
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)
