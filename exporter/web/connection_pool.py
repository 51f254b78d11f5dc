"""Bounds what all connections of one listener take together: their number, and their answers that are not read yet.

- A listener has at most MAX_CONNECTIONS. One more takes the place of the one that has been idle, or at its request,
  longest. Whole deliveries keep their connections.
- While the answers that are not read yet take more than MAX_UNREAD bytes together, the oldest is given up. The newest
  is kept, whatever its size.

This module reads and writes nothing. `exporter.web.protocol` has the bounds of a single connection.
"""

import itertools
from collections.abc import Callable
from typing import Final, Protocol

MAX_CONNECTIONS: Final = 512
"""Connections of one listener."""
MAX_UNREAD: Final = 64 * 1024 * 1024
"""Bytes of all answers of one listener that are not read yet. An answer that several clients get counts once."""


class Connection(Protocol):
    """What the pool uses of a connection."""

    turn: int
    """Rises with each connection, request and answer."""

    @property
    def is_expendable(self) -> bool:
        """Whether the connection may be closed for another one."""

    def abort(self) -> None:
        """Close the connection now, with what was not read of its answers."""

    def shutdown(self) -> None:
        """Close the connection after what is under way."""


class ConnectionPool:
    """What the connections of one listener share."""

    def __init__(self, count_refused: Callable[[], None] = lambda: None) -> None:
        """`count_refused` is called for each connection that was closed because there were too many."""
        self.count_refused = count_refused
        self.turns = itertools.count()
        self.is_draining = False
        """Whether the program ends. Each answer then closes its connection."""
        self._connections: set[Connection] = set()
        self._answers: dict[Connection, bytes] = {}

    def add(self, connection: Connection) -> None:
        """Take a new connection in. Close the one that had its place longest if there are too many."""
        self._connections.add(connection)
        if len(self._connections) > MAX_CONNECTIONS:
            self.count_refused()
            expendable = (each for each in self._connections if each.is_expendable)
            given_up = min(expendable, key=lambda each: each.turn, default=connection)
            self._connections.discard(given_up)
            given_up.abort()

    def remove(self, connection: Connection) -> None:
        """The connection was closed."""
        self._connections.discard(connection)

    def drain(self) -> None:
        """The program ends: answer what was sent, each answer with `Connection: close`."""
        self.is_draining = True
        for connection in tuple(self._connections):
            connection.shutdown()

    def begin_answer(self, connection: Connection, body: bytes) -> None:
        """Take note of an answer in parts. Give up the oldest ones while all of them are too large together."""
        self._answers[connection] = body
        sizes = {id(each): len(each) for each in self._answers.values()}
        while sum(sizes.values()) > MAX_UNREAD:
            oldest = next(iter(self._answers))
            if oldest is connection:
                break
            given_up = self._answers.pop(oldest)
            if not any(each is given_up for each in self._answers.values()):
                del sizes[id(given_up)]
            oldest.abort()

    def end_answer(self, connection: Connection) -> None:
        """The answer was written or given up."""
        self._answers.pop(connection, None)
