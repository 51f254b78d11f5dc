"""`replay`: records notifications that were saved in files.

They go into the ledger in batches, on the same path as the webhook's deliveries, so that nothing counts twice.
"""

import asyncio
import contextlib
import errno
import stat
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO, Final

from exporter.commands.base import Command, RetentionSettings, milliseconds
from exporter.commands.output import end_progress, print_error, print_result, show_progress
from exporter.errors import SettingsError
from exporter.intake import Intake, Record
from exporter.ledger.urls import open_ledger
from exporter.model import Delivery, Event, Result, Source
from exporter.saved_files import read_events

_BATCH: Final = 500
"""Events in one transaction, unless they are large."""
_BATCH_BYTES: Final = 4 * 1024 * 1024

Progress = Callable[[Mapping[Result, int]], None]
"""Is called after each batch with the counts so far."""


class ReplaySettings(RetentionSettings):
    """The ledger to record in, and its retention."""


def run(settings: ReplaySettings, names: list[str]) -> int:
    """Record the files of these names, and print how many events had which result.

    Returns 1 if a file could not be read to its end. What was read of it until then is recorded.

    Raises SettingsError if a file does not exist. Then nothing is recorded, so that the command can be repeated.
    """
    if not names:
        raise SettingsError("replay needs a file, or - for standard input")
    missing = [name for name in names if name != "-" and not _exists(name)]
    if missing:
        raise SettingsError("\n".join(f"{name}: there is no such file" for name in missing))
    total: Counter[Result] = Counter()
    is_complete = True
    with contextlib.closing(open_ledger(settings.ledger_url)) as ledger, asyncio.Runner() as runner:
        intake = Intake(ledger, ledger.now, retention=milliseconds(settings.ledger_retention))
        for name in names:
            try:
                with _open(name) as file:
                    total += runner.run(record_file(file, intake.record, ledger.now, _progress(name)))
                end_progress()
            except OSError as error:
                is_complete = False
                print_error(f"{name}: {error.strerror or 'it can not be read'}")
    print_result("\n".join(f"{result.value:<12}{total[result]:>10}" for result in Result))
    return 0 if is_complete else 1


async def record_file(file: BinaryIO, record: Record, clock: Callable[[], int], progress: Progress) -> Counter[Result]:
    """Record every event of a file, in batches. Returns the counts by result. Raises what `record` raises."""
    total: Counter[Result] = Counter()
    batch: list[Event] = []
    size = 0

    async def record_batch() -> None:
        total.update(await record([Delivery(source=Source.REPLAY, events=tuple(batch))]))
        batch.clear()
        progress(total)

    for event in read_events(file, clock):
        batch.append(event)
        size += len(event.body)
        if len(batch) == _BATCH or size >= _BATCH_BYTES:
            await record_batch()
            size = 0
    if batch:
        await record_batch()
    return total


def _exists(name: str) -> bool:
    """Whether this is a file or a pipe. One in a folder that this user may not enter is reported when it is opened."""
    try:
        return not stat.S_ISDIR(Path(name).stat().st_mode)
    except PermissionError:
        return True
    except (OSError, ValueError):
        return False


def _open(name: str) -> contextlib.AbstractContextManager[BinaryIO]:
    if name != "-":
        return Path(name).open("rb")
    if sys.stdin is None:
        raise OSError(errno.EBADF, "there is no standard input")
    # Standard input stays open for whatever comes after.
    return contextlib.nullcontext(sys.stdin.buffer)


def _progress(name: str) -> Progress:
    return lambda counts: show_progress(
        f"{name}: {', '.join(f'{count} {result.value}' for result, count in counts.items())}"
    )


COMMAND: Final = Command(
    summary="record notifications from files",
    details=(
        "A file holds one JSON text (a notification, an array of them, a page of Adobe's journal or an answer of its "
        "Flow\nService), or one JSON text per line. - is standard input. What the ledger has already is not counted "
        "again."
    ),
    arguments="FILE...",
    settings=ReplaySettings,
    run=run,
)
