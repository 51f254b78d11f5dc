"""Receives request bodies within bounds: one for each body, and one for all that are under way.

`--webhook.max-body` bounds each body. The budget bounds them all together, so that many senders at a time can't fill
the memory. Where there is no room for more bytes, a body that is still being received is given up, and its sender gets
a 503. First come the bodies of senders that have proven nothing, and of these the one that has taken most room for most
time. So senders that keep much room for long can't keep out a delivery that arrives as fast as its sender can send it.
Senders that have proven nothing have at most half of the budget.

A sender has proven itself where its headers are enough (the token), or where another delivery was verified on the same
connection a moment ago. Its address proves nothing, because all may come through one proxy.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final

from starlette.types import Receive

from exporter.errors import BodyTooLargeError, OverloadedError

MAX_BYTES: Final = 64 * 1024 * 1024
"""Bytes of all bodies that are being received or wait to be committed."""
_MAX_LENGTH_DIGITS: Final = 18
"""Digits of a Content-Length that is read. Python takes long to convert a number of thousands of digits."""
_PROVEN_FOR: Final = 10.0
"""Seconds after a verified delivery in which its connection counts as proven. An idle one is closed after five."""
_MAX_PROVEN: Final = 1024
"""Connections that are remembered as proven."""

Connection = tuple[str, int] | None
"""Address and port of the peer, which no other connection has at the same time. None if they are not known."""


class ClientGoneError(Exception):
    """The client closed the connection before its request was answered, so there is nobody to answer."""


class BodyBudget:
    """Counts the bytes of the bodies that are under way."""

    def __init__(self, monotonic: Callable[[], float], limit: int = MAX_BYTES, max_body: int = 0) -> None:
        """`monotonic`: a clock in seconds. `limit`: bytes of all bodies together. `max_body`: of the largest one."""
        self.monotonic = monotonic
        self._limit = limit
        # A single body must have room.
        self._unproven_limit = max(limit // 2, min(limit, max_body))
        self._used = 0
        self._unproven = 0
        self._receiving: dict[Reservation, None] = {}
        self._proven: dict[tuple[str, int], float] = {}

    @asynccontextmanager
    async def reserve(self, connection: Connection) -> AsyncIterator["Reservation"]:
        """Open a reservation for one body. It is empty at first, and its bytes are released at the end.

        Raises OverloadedError where the body was given up, wherever in the block its task waits.
        """
        reservation = Reservation(self, connection, is_proven=self._is_proven(connection))
        self._receiving[reservation] = None
        try:
            async with asyncio.timeout(None) as reservation.timer:
                yield reservation
        except TimeoutError:
            if not reservation.is_given_up:
                raise
            raise _overloaded() from None
        finally:
            self._receiving.pop(reservation, None)
            self.release(reservation)

    def extend(self, reservation: "Reservation", size: int) -> None:
        """Count `size` bytes more. Raises OverloadedError where the reservation itself has to be given up."""
        while self._used + size > self._limit:
            self._give_up_one(reservation, size, self._receiving)
        while not reservation.is_proven and self._unproven + size > self._unproven_limit:
            self._give_up_one(reservation, size, [each for each in self._receiving if not each.is_proven])
        reservation.size += size
        self._used += size
        if not reservation.is_proven:
            self._unproven += size

    def _give_up_one(
        self, asking: "Reservation", size: int, candidates: "Mapping[Reservation, None] | list[Reservation]"
    ) -> None:
        now = self.monotonic()

        def weight(each: Reservation) -> tuple[bool, float]:
            return not each.is_proven, (each.size + size * (each is asking)) * (now - each.since)

        victim = max((each for each in candidates if each.size or each is asking), key=weight, default=asking)
        if victim is asking:
            raise _overloaded()
        victim.give_up()
        self.release(victim)

    def release(self, reservation: "Reservation") -> None:
        """Free the bytes of a reservation."""
        self._used -= reservation.size
        if not reservation.is_proven:
            self._unproven -= reservation.size
        reservation.size = 0

    def protect(self, reservation: "Reservation") -> None:
        """Do not give a reservation up any more."""
        self._receiving.pop(reservation, None)

    def set_proven(self, reservation: "Reservation") -> None:
        """Count a reservation as one of a proven sender."""
        if not reservation.is_proven:
            self._unproven -= reservation.size
            reservation.is_proven = True

    def prove(self, connection: Connection) -> None:
        """Remember that a delivery of this connection was verified."""
        if connection is not None and connection[1]:
            self._proven.pop(connection, None)
            self._proven[connection] = self.monotonic()
            if len(self._proven) > _MAX_PROVEN:
                del self._proven[next(iter(self._proven))]

    def disprove(self, connection: Connection) -> None:
        """Forget a connection, because a delivery of it was refused."""
        if connection is not None:
            self._proven.pop(connection, None)

    def _is_proven(self, connection: Connection) -> bool:
        proven_at = self._proven.get(connection) if connection is not None else None
        return proven_at is not None and self.monotonic() - proven_at <= _PROVEN_FOR


class Reservation:
    """The bytes that one body takes of a budget."""

    def __init__(self, budget: BodyBudget, connection: Connection, *, is_proven: bool) -> None:
        self._budget = budget
        self._connection = connection
        self.is_proven = is_proven
        self.is_given_up = False
        self.since = budget.monotonic()
        self.size = 0
        self.timer: asyncio.Timeout | None = None

    def extend(self, size: int) -> None:
        """Add `size` bytes. Raises OverloadedError where there is no room for them, and adds nothing then."""
        if self.is_given_up:
            raise _overloaded()
        self._budget.extend(self, size)

    def give_up(self) -> None:
        """End what the task of this body waits for. The task then gets an OverloadedError."""
        self.is_given_up = True
        self._budget.protect(self)
        if self.timer is not None:
            self.timer.reschedule(0)

    def accept_sender(self) -> None:
        """The headers alone have proven the sender."""
        self._budget.set_proven(self)

    def protect(self) -> None:
        """The body is verified, so it is not given up any more. Raises OverloadedError where that came first."""
        if self.is_given_up:
            raise _overloaded()
        self._budget.set_proven(self)
        self._budget.protect(self)

    def prove_connection(self) -> None:
        """The delivery was meant for this program, so the next one of its connection is given room first."""
        self._budget.prove(self._connection)

    def disprove_connection(self) -> None:
        """The signature was wrong."""
        self._budget.disprove(self._connection)


def _overloaded() -> OverloadedError:
    return OverloadedError("too many deliveries are being received at once")


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
