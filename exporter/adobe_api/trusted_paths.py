"""Remembers the paths of keys that have verified a delivery to this program, also over restarts.

Strangers can name any path. Only a path that is remembered here is fetched whatever strangers do, so that they can't
keep Adobe's own deliveries out after a start. Only paths are stored, never keys.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import structlog

from exporter.errors import ExporterError

MAX_PATHS: Final = 64
"""Paths that are remembered. Adobe uses two at a time."""
_DAY: Final = 24 * 60 * 60 * 1000
MAX_UNUSED: Final = 30 * _DAY
"""Milliseconds after which a path that was not used is not trusted any more."""
_WRITE_EVERY: Final = _DAY
"""Milliseconds between two writes of a path's last use."""

Save = Callable[[Sequence[tuple[str, int]], Sequence[str]], None]
"""Stores paths with the time of their last use, and deletes others. Blocking. Raises an error of exporter.errors."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("keys")


class TrustedPaths:
    """The paths, with the time of their last use in milliseconds since 1970."""

    def __init__(self, stored: Iterable[tuple[str, int]], save: Save, clock: Callable[[], int]) -> None:
        """`stored`: the paths that an earlier process saved. `clock` returns milliseconds since 1970."""
        self._used_at = dict(stored)
        self._save = save
        self._clock = clock
        self._unsaved: set[str] = set()
        self._saving: asyncio.Task[None] | None = None

    def __contains__(self, path: str) -> bool:
        """Whether a path is trusted.

        A path that is too old is not deleted, because the clock may be wrong only now.
        """
        used_at = self._used_at.get(path)
        return used_at is not None and self._clock() - used_at <= MAX_UNUSED

    @property
    def latest(self) -> str | None:
        """The path that was used last, or None if none is trusted."""
        path = max(self._used_at, key=self._used_at.__getitem__, default=None)
        return path if path is not None and path in self else None

    def is_due(self, path: str) -> bool:
        """Whether the use of a path has to be written: it is new, or was written more than a day ago."""
        used_at = self._used_at.get(path)
        # A time that is far ahead was written by a clock that was wrong.
        return used_at is None or abs(self._clock() - used_at) >= _WRITE_EVERY

    def use(self, path: str) -> None:
        """Trust a path, because it has verified a delivery. Stored in the background, at most once a day."""
        if self.is_due(path):
            self._used_at[path] = self._clock()
            self._unsaved.add(path)
            while len(self._used_at) > MAX_PATHS:
                self.drop(min(self._used_at, key=self._used_at.__getitem__))
        self._save_soon()

    def drop(self, path: str) -> None:
        """Do not trust a path any more, because Adobe has no such key."""
        if self._used_at.pop(path, None) is not None:
            self._unsaved.add(path)
            self._save_soon()

    async def stored(self, seconds: float | None = None) -> None:
        """Wait until the changes are stored or can't be stored, at most so many seconds."""
        if self._saving is not None:
            await asyncio.wait({self._saving}, timeout=seconds)

    def _save_soon(self) -> None:
        if self._unsaved and self._saving is None:
            self._saving = asyncio.create_task(self._save_all())
            self._saving.add_done_callback(self._saved)

    def _saved(self, _task: "asyncio.Task[None]") -> None:
        self._saving = None

    async def _save_all(self) -> None:
        """Store the changes. Those that can't be stored are tried again at the next delivery."""
        while self._unsaved:
            changed, self._unsaved = self._unsaved, set()
            used = [(path, self._used_at[path]) for path in changed if path in self._used_at]
            dropped = [path for path in changed if path not in self._used_at]
            try:
                await asyncio.to_thread(self._save, used, dropped)
            except ExporterError as error:
                self._unsaved |= changed
                _log.warning("the paths of trusted keys can't be stored", reason=error.reason, detail=str(error))
                return
