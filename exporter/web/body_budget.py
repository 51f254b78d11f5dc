"""How much is received at once: bodies under way share a bounded room.

Each body is bounded by `--webhook.max-body`; this bounds them all together, so that many senders at a time can't fill
the memory. What finds no room is answered with 503 and sent again by Adobe.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from exporter.errors import OverloadedError

ROOM: Final = 64 * 1024 * 1024
"""Bytes of all bodies that are being received or wait to be committed."""


class BodyBudget:
    """Counts the bytes under way."""

    def __init__(self, size: int = ROOM) -> None:
        """`size`: bytes of all bodies together."""
        self._size = size
        self._taken = 0

    @contextmanager
    def place(self) -> Iterator["Place"]:
        """A place for one body, given back at the end."""
        place = Place(self)
        try:
            yield place
        finally:
            self._taken -= place.taken

    def take(self, size: int) -> None:
        """Take so many bytes more; raises OverloadedError."""
        if self._taken + size > self._size:
            raise OverloadedError("too many deliveries are being received at once")
        self._taken += size


class Place:
    """What one body takes."""

    def __init__(self, room: BodyBudget) -> None:
        """`room`: shared by all."""
        self._room = room
        self.taken = 0

    def grow(self, size: int) -> None:
        """The body has so many bytes more; raises OverloadedError."""
        self._room.take(size)
        self.taken += size
