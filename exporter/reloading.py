"""Reads files again while the program runs, when they have changed and when somebody asks for it.

A `Source` is something that is made of one or more files, such as the web configuration with its certificates. Its
files are compared by content every two seconds, because Kubernetes and certbot replace links, editors rename files, and
clocks of file systems are coarse. A new version is loaded once it has stayed the same between two comparisons, since
files are written bit by bit and one after the other. So a new version is in force within six seconds.

A version that can't be used is logged once, and the one before stays in force. What the files hold is never logged.

Weak point: while a file system does not answer, nothing is read again.
"""

import asyncio
import contextlib
import functools
import hashlib
import stat
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

import structlog

from exporter.errors import DefectError, ExporterError, SettingsError

_INTERVAL: Final = 2.0
"""Seconds between two comparisons."""
_MIN_PAUSE: Final = 0.5
"""Seconds between two readings that were asked for, so that many signals cause few readings."""
_MAX_UNSETTLED: Final = 2
"""Comparisons in a row that may find another content each. Then it is loaded all the same."""
_SPECIAL: Final = "special"
"""The fingerprint of a pipe, a folder or a device."""

_Value = TypeVar("_Value")

_log: structlog.stdlib.BoundLogger = structlog.get_logger("reload")


class Note(Protocol):
    """Told of each file of a source before the file is read."""

    def __call__(self, label: str, path: Path) -> None:
        """`label` names the file in the log. Raises SettingsError for a file that can't be read a second time."""
        ...


@dataclass(frozen=True, slots=True)
class Source(Generic[_Value]):
    """Something that is made of files."""

    name: str
    """What the log calls it: the flag that names the file."""
    load: Callable[[Note], _Value]
    """Reads the files, each after it was noted. Blocking, on a thread. Raises SettingsError, which says what to do."""
    apply: Callable[[_Value], Mapping[str, object]]
    """Puts what was loaded in force, in the event loop. Returns fields for the log, without secrets.

    Raises SettingsError, and has changed nothing then, if this version may only be used after a restart.
    """


class _Found(NamedTuple):
    """A file and what it held."""

    path: Path
    fingerprint: str


_Files = Mapping[str, _Found]
"""The files of one version by their labels."""


class _Reading(NamedTuple):
    """What came of reading a version: a value or an error."""

    files: _Files
    value: Any
    error: ExporterError | None


class _Watch(Generic[_Value]):
    """One source, and which versions of it were seen."""

    def __init__(self, source: Source[_Value]) -> None:
        self._source = source
        self._in_force: _Files = {}
        self._last_read: _Files | None = None
        self._pending: _Files | None = None
        self._unsettled = 0

    def read(self, *, is_asked: bool) -> _Reading | None:
        """Read the files if they have changed, or if it was asked for. None if there is nothing to do. Blocking."""
        if self._last_read is not None and not is_asked and not self._is_due(self._last_read):
            return None
        files: dict[str, _Found] = {}

        def note(label: str, path: Path) -> None:
            files[label] = _Found(path, _fingerprint(path))
            if files[label].fingerprint == _SPECIAL:
                raise SettingsError(
                    f"{label}: this is not a regular file, so it is read at the start only: restart the exporter after "
                    "a change"
                )

        value: _Value | None = None
        error: ExporterError | None = None
        try:
            value = self._source.load(note)
        except SettingsError as raised:
            error = raised
        except Exception:  # noqa: BLE001 - a defect in one source must not end the watch of the others
            _log.exception("an unexpected error kept files from being read again", source=self._source.name)
            error = DefectError("an unexpected error, which the log shows: report it")
        if _again(files) != files:
            # Somebody is writing. The next comparison finds that as well.
            return None
        return _Reading(files, value, error)

    def _is_due(self, last_read: _Files) -> bool:
        """Whether the files differ from those that were read last, and have settled."""
        now = _again(last_read)
        if now == last_read:
            self._pending = None
            self._unsettled = 0
            return False
        if now != self._pending and self._unsettled < _MAX_UNSETTLED:
            self._pending = now
            self._unsettled += 1
            return False
        self._pending = None
        self._unsettled = 0
        return True

    def finish(self, reading: _Reading) -> None:
        """Put what was read in force, or log why it can't be used."""
        is_first = self._last_read is None
        self._last_read = reading.files
        error = reading.error
        fields: Mapping[str, object] = {}
        if error is None:
            try:
                fields = self._source.apply(reading.value)
            except SettingsError as raised:
                error = raised
        if error is not None:
            _log.error(
                "a new version can't be used, the one before stays in force",
                source=self._source.name,
                detail=str(error).replace("\n", "; "),
            )
            return
        changed = [label for label in {**self._in_force, **reading.files} if self._has_changed(label, reading.files)]
        self._in_force = reading.files
        # The first reading is of what the program has started with.
        if not is_first:
            _log.info(
                "files were read again", source=self._source.name, changed=", ".join(changed) or "nothing", **fields
            )

    def _has_changed(self, label: str, files: _Files) -> bool:
        before, after = self._in_force.get(label), files.get(label)
        return before is None or after is None or before.fingerprint != after.fingerprint


class Reloading:
    """Keeps sources up to date."""

    def __init__(self, sources: Sequence[Source[Any]]) -> None:
        self._watches = [_Watch(source) for source in sources]
        self._asked = asyncio.Event()
        # A thread of its own, because a file system may take long, and other work must not wait for it.
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="reload")

    def ask(self) -> None:
        """Have every source read soon, changed or not. Several calls can cause one reading."""
        self._asked.set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep the sources up to date until the end of the context."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self._pool.shutdown(wait=False, cancel_futures=True)

    async def step(self, *, is_asked: bool = False) -> None:
        """Compare all files once, and read what is new. If it was asked for, read everything at once."""
        loop = asyncio.get_running_loop()
        for watch in self._watches:
            reading = await loop.run_in_executor(self._pool, functools.partial(watch.read, is_asked=is_asked))
            if reading is not None:
                watch.finish(reading)

    async def _run(self) -> None:
        while True:
            is_asked = self._asked.is_set()
            self._asked.clear()
            if is_asked and not self._watches:
                _log.info("there is no file to read again", detail="other settings need a restart")
            try:
                await self.step(is_asked=is_asked)
            except Exception:  # noqa: BLE001 - as in `_Watch.read`
                _log.exception("an unexpected error kept files from being read again")
            await asyncio.sleep(_MIN_PAUSE)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._asked.wait(), _INTERVAL - _MIN_PAUSE)


def _again(files: _Files) -> _Files:
    """The same files as they are now. Blocking."""
    return {label: _Found(found.path, _fingerprint(found.path)) for label, found in files.items()}


def _fingerprint(path: Path) -> str:
    """A digest of a regular file, or a word about what there is instead. Blocking."""
    try:
        # A pipe must not even be opened: its writer would wait for another reader then.
        if not stat.S_ISREG(path.stat().st_mode):
            return _SPECIAL
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"errno {error.errno}"
