"""Watches the files of an open ledger, so that nothing is acknowledged that a restart would not find.

SQLite keeps its files open and does not look at their names again. So it goes on writing after somebody has moved,
replaced or cut a file, and what it writes then is lost with the process. A guard compares what is on the disk with what
SQLite holds, before a transaction begins and after it was committed, and once a second:

- The names lead to the files that were opened: the database, its write-ahead log, and the index of the log.
- The database has the pages that its first page names. That page was changed by a checkpoint or not at all.
- The log has the frames that the index names, up to the last one. Their salts and that one's checksum are the same.
- The last frame before a transaction is still there after it. A log that is cut and then written again has a hole.

A ledger whose files were damaged is not closed but abandoned. SQLite would write the damaged log into the database.

The formats are those of https://www.sqlite.org/walformat.html. Only Linux and systems whose files can be read through
one descriptor while SQLite maps them are supported.

Weak point: closing a file releases all locks that this process has on it. So a guard keeps its files open, and is
closed after SQLite. If a process opened one ledger twice, closing one would release the locks of the other.
"""

import contextlib
import ctypes
import os
import sqlite3
import struct
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from exporter.errors import LedgerUnavailableError
from exporter.ledger.sqlite_log import FRAME_HEADER_SIZE, HEADER_SIZE, has_first_page

_INDEX_HEADER: Final = struct.Struct("=IIIBBHIIII8sII")
"""Version, unused, change counter, is initialized, byte order, page size, frames, pages, checksum of the last frame
(two numbers), salts, checksum of this (two numbers)."""
_ATTEMPTED: Final = slice(128, 132)
_DONE: Final = slice(96, 100)
"""Where the index says up to which frame the newest checkpoint was to go, and has gone."""
_INDEX_SIZE: Final = 136
_DATABASE_HEADER: Final = 100
_TRIES: Final = 5
_PAUSE: Final = 0.01
"""Seconds between two looks at files that another process may be writing."""

_RESTART: Final = "stop the exporter, and start it again once the files are those of one ledger"
_LOST_LOG: Final = (
    "stop the exporter, and start it again. What was only in the log is lost: record the last day again from Adobe's "
    "journal or files"
)
_LOST_DATABASE: Final = (
    "stop the exporter, put a copy from a backup in its place, and move the -wal and -shm files beside it away"
)
_REMEDIES: Final = (
    f"put it back, or {_RESTART}",
    f"put it back, or {_LOST_LOG}",
    "stop the exporter, and start it again",
)
"""What to do when the database, the log or the index was moved or deleted."""


class _Damage(Exception):  # noqa: N818 - it is caught in this module
    """What is wrong with the files, and what to do."""


class _Index(NamedTuple):
    """What the index of a log says."""

    raw: bytes
    page_size: int
    frames: int
    """The frames in the log up to the last one that was committed. 0 if the log begins anew."""
    checksum: tuple[int, int]
    salts: bytes
    attempted: bytes
    """Up to which frame the newest checkpoint writes the log into the database."""
    done: bytes
    """Up to which frame that was done."""


class _Checkpoint(NamedTuple):
    """What changes before a checkpoint writes to the database, and after it has."""

    salts: bytes
    attempted: bytes
    done: bytes
    is_complete: bool
    """Whether the database has all pages that its first page names."""


class _Tail(NamedTuple):
    """The last frame of a log."""

    salts: bytes
    frame: int
    content: bytes


class Guard:
    """Compares the files of a ledger with what SQLite holds of them."""

    def __init__(self, database: Path, log: Path, index: Path) -> None:
        """Begin to watch files that SQLite has opened. Raises LedgerUnavailableError if they are not there."""
        self._paths = (database, log, index)
        self._files: list[int] = []
        self._lock = threading.Lock()
        self._damage: str | None = None
        try:
            for path in self._paths:
                self._files.append(os.open(path, os.O_RDONLY))
        except OSError as error:
            self.close()
            raise LedgerUnavailableError(f"{path} can't be opened ({error.strerror}): {_RESTART}") from error
        self._identities = [_identity(os.fstat(file)) for file in self._files]
        self._header, self._size, self._checkpoint = self._look_at_database()
        self._tail: _Tail | None = None

    def check(self) -> None:
        """Raise LedgerUnavailableError if the files are not what SQLite holds, or if the disk is read-only."""
        with self._lock:
            self._check_names()
            self._check_content(self._compare_database, self._compare_log)
        with contextlib.suppress(OSError):
            if os.statvfs(self._paths[0]).f_flag & os.ST_RDONLY:
                raise LedgerUnavailableError("the ledger's disk is read-only: mount it so that it can be written")

    def before_commit(self) -> None:
        """Check the files while the writer has the lock. Raises LedgerUnavailableError."""
        with self._lock:
            self._check_names()
            self._check_content(self._compare_database, self._compare_log)
            self._tail = self._read_tail()

    def after_commit(self) -> None:
        """Raise LedgerUnavailableError if what was committed is not in the files."""
        with self._lock:
            self._check_names()
            self._check_content(self._compare_log)
            before = self._tail
            index = self._index()
            if before is None or index is None or index.salts != before.salts:
                return
            if self._read_frame(before.frame, index.page_size) != before.content and self._index() == index:
                self._damage = f"{self._paths[1].name} was cut off or overwritten: {_LOST_LOG}"
                raise LedgerUnavailableError(self._damage)

    @property
    def is_damaged(self) -> bool:
        """Whether SQLite must not write what it holds into the files, not even when it closes them."""
        try:
            self.check()
        except LedgerUnavailableError:
            return True
        return False

    def close(self) -> None:
        """Close the files. Call it after SQLite's connections were closed."""
        for file in self._files:
            os.close(file)
        self._files.clear()

    def _check_names(self) -> None:
        """Raise LedgerUnavailableError unless the names lead to the files that were opened."""
        if not self._files:
            raise LedgerUnavailableError("the ledger is closed")
        for path, identity, remedy in zip(self._paths, self._identities, _REMEDIES, strict=True):
            try:
                found = _identity(path.stat())
            except PermissionError:
                raise LedgerUnavailableError(
                    f"{path} can't be looked at: give the user of the exporter access to its folder"
                ) from None
            except OSError:
                raise LedgerUnavailableError(f"the ledger's file {path.name} was moved or deleted: {remedy}") from None
            if found != identity:
                raise LedgerUnavailableError(f"the ledger's file {path.name} was replaced by another: {_RESTART}")

    def _check_content(self, *comparisons: Callable[[], None]) -> None:
        """Raise LedgerUnavailableError if the content of the files is not what SQLite holds. It stays so."""
        for last in (*[False] * (_TRIES - 1), True):
            if self._damage is not None:
                raise LedgerUnavailableError(self._damage)
            try:
                for compare in comparisons:
                    compare()
            except _Damage as damage:
                # Another process may be writing a checkpoint or beginning the log anew.
                if last:
                    self._damage = str(damage)
                else:
                    time.sleep(_PAUSE)
            else:
                return
        raise LedgerUnavailableError(self._damage or "")

    def _compare_database(self) -> None:
        header, size, checkpoint = self._look_at_database()
        if len(header) < _DATABASE_HEADER:
            raise _Damage(f"the ledger's file {self._paths[0].name} was cut off: {_LOST_DATABASE}")
        page_size = int.from_bytes(header[16:18]) if header[16:18] != b"\0\1" else 65536
        is_cut = size < int.from_bytes(header[28:32]) * page_size
        if checkpoint is not None and not checkpoint.is_complete:
            # The first page can be written before others, which the checkpoint or the next one adds at the end.
            is_cut &= header == self._header and size < self._size
        # Read before and after the file: a checkpoint says how far it will go before it writes.
        is_still = not _has_moved(checkpoint, self._checkpoint_now())
        if is_cut and is_still:
            raise _Damage(f"the ledger's file {self._paths[0].name} was cut off: {_LOST_DATABASE}")
        is_strange = header != self._header and is_still and not _has_moved(checkpoint, self._checkpoint)
        # A checkpoint that failed and was tried again changes the page, too.
        if is_strange and not has_first_page(self._paths[1], header):
            raise _Damage(f"the ledger's file {self._paths[0].name} was overwritten: {_LOST_DATABASE}")
        self._header, self._size, self._checkpoint = header, size, checkpoint

    def _compare_log(self) -> None:
        if os.fstat(self._files[2]).st_size < _INDEX_SIZE:
            raise _Damage(f"{self._paths[2].name} was cut off: {_REMEDIES[2]}")
        index = self._index()
        if index is None or not index.frames:
            return
        size = os.fstat(self._files[1]).st_size
        header = os.pread(self._files[1], HEADER_SIZE, 0)
        start = _start(index.frames, index.page_size)
        frame = os.pread(self._files[1], FRAME_HEADER_SIZE, start)
        is_whole = size >= start + FRAME_HEADER_SIZE + index.page_size
        is_same = header[16:24] == frame[8:16] == index.salts and frame[16:24] == struct.pack(">II", *index.checksum)
        if (is_whole and is_same) or self._index() != index:
            return
        what = "overwritten" if is_whole else "cut off"
        raise _Damage(f"{self._paths[1].name} was {what}: {_LOST_LOG}")

    def _look_at_database(self) -> tuple[bytes, int, "_Checkpoint | None"]:
        """The header and the size of the database, and the checkpoint that had begun before these were read."""
        checkpoint = self._checkpoint_now()
        return os.pread(self._files[0], _DATABASE_HEADER, 0), os.fstat(self._files[0]).st_size, checkpoint

    def _read_tail(self) -> _Tail | None:
        index = self._index()
        if index is None or not index.frames:
            return None
        return _Tail(index.salts, index.frames, self._read_frame(index.frames, index.page_size))

    def _read_frame(self, frame: int, page_size: int) -> bytes:
        return os.pread(self._files[1], FRAME_HEADER_SIZE + page_size, _start(frame, page_size))

    def _checkpoint_now(self) -> "_Checkpoint | None":
        """The newest checkpoint. None while the index is being written."""
        index = self._index()
        if index is None:
            return None
        # Pages that the log holds a later version of are left out of a checkpoint that stops before the log's end.
        is_complete = index.attempted == index.done and _number(index.done) in {0, index.frames}
        return _Checkpoint(index.salts, index.attempted, index.done, is_complete)

    def _index(self) -> _Index | None:
        """The index's header. None if another process is writing it, or if SQLite has to make it anew."""
        raw = os.pread(self._files[2], _INDEX_SIZE, 0)
        first, second = raw[: _INDEX_HEADER.size], raw[_INDEX_HEADER.size : 2 * _INDEX_HEADER.size]
        if len(raw) < _INDEX_SIZE or first != second:
            return None
        _, _, _, is_initialized, _, page_size, frames, _, *checksum, salts, _, _ = _INDEX_HEADER.unpack(first)
        if not is_initialized:
            return None
        # A size of 65,536 does not fit into the field.
        page_size = (page_size & 0xFE00) + ((page_size & 1) << 16)
        return _Index(first, page_size, frames, (checksum[0], checksum[1]), salts, raw[_ATTEMPTED], raw[_DONE])


def abandon(connection: sqlite3.Connection) -> None:
    """Keep a connection from ever being closed by this process, so that SQLite writes nothing more to its files."""
    # Python closes a connection when it is deleted, at the end of the program too.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _has_moved(before: _Checkpoint | None, after: _Checkpoint | None) -> bool:
    """Whether a checkpoint began or ended in between, as far as that can be known."""
    return before is None or after is None or before[:3] != after[:3]


def _number(raw: bytes) -> int:
    """A number of the index, which is in this machine's byte order."""
    return int.from_bytes(raw, sys.byteorder)


def _start(frame: int, page_size: int) -> int:
    """Where a frame of a log begins. The first one has the number 1."""
    return HEADER_SIZE + (frame - 1) * (FRAME_HEADER_SIZE + page_size)
