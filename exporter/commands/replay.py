"""`replay`: records notifications that were saved in files.

They go into the ledger in batches, on the same path as the webhook's deliveries, so that nothing counts twice.
"""

import asyncio
import contextlib
import errno
import stat
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO, Final

from exporter.commands.base import Boolean, Command, RetentionSettings, milliseconds
from exporter.commands.output import end_progress, print_error, print_result, show_progress
from exporter.commands.replay_account import Account
from exporter.commands.settings import setting
from exporter.errors import LedgerMissingError, SavedFileError, SettingsError
from exporter.intake import Intake, Record
from exporter.ledger import Ledger
from exporter.ledger.urls import open_ledger
from exporter.model import Delivery, Event, Result, Source
from exporter.saved_files.reading import read_events

_BATCH: Final = 500
"""Events in one transaction, unless they are large."""
_BATCH_BYTES: Final = 4 * 1024 * 1024

Progress = Callable[[Mapping[Result, int]], None]
"""Is called after each batch with the counts so far."""


class ReplaySettings(RetentionSettings):
    """The ledger to record in, and its retention."""

    create: Boolean = setting(
        "create", "false", "Make the ledger, with its folders, if there is none. Otherwise that is an error."
    )


def run(settings: ReplaySettings, names: list[str]) -> int:
    """Record the files of these names, and print how many events had which result.

    Returns 1 if nothing in a file can be used, or if a file could not be read to its end. What was read of it until
    then is recorded.

    Raises SettingsError if a file or the ledger does not exist. Then nothing is recorded, so that the command can be
    repeated.
    """
    if not names:
        raise SettingsError("replay needs a file, or - for standard input")
    missing = [name for name in names if name != "-" and not _exists(name)]
    if missing:
        raise SettingsError("\n".join(f"{name}: {_why_missing(name)}" for name in missing))
    total = Account()
    is_successful = True
    with contextlib.closing(_open_ledger(settings)) as ledger, asyncio.Runner() as runner:
        content = ledger.content()
        entries = f"{'' if content.is_exact else 'at most '}{content.entries}"
        print_error(f"recording in {ledger.location} (entries before: {entries})")
        intake = Intake(ledger, ledger.now, retention=milliseconds(settings.ledger_retention))
        for name in names:
            account = Account()
            problem = ""
            try:
                with _open(name) as file:
                    runner.run(record_file(file, intake.record, ledger.now, account, _progress(name)))
                end_progress()
            except OSError as error:
                problem = error.strerror or "it can not be read"
            except SavedFileError as error:
                end_progress()
                problem = str(error)
            for line in filter(None, [*account.lines(), problem]):
                print_error(f"{name}: {line}")
            is_successful = is_successful and not problem and not account.is_useless
            total.add(account)
    print_result("\n".join(f"{result.value:<12}{total.results[result]:>10}" for result in Result))
    return 0 if is_successful else 1


async def record_file(
    file: BinaryIO, record: Record, clock: Callable[[], int], account: Account, progress: Progress
) -> None:
    """Record every event of a file, in batches, and enter what became of it into the account.

    Raises what `record` raises, and SavedFileError if the file can't be read to its end. Then what was read of it until
    there is recorded.
    """
    batch: list[Event] = []
    size = 0

    async def record_batch() -> None:
        account.results.update(await record([Delivery(source=Source.REPLAY, events=tuple(batch))]))
        batch.clear()
        progress(account.results)

    try:
        for found in read_events(file, clock):
            account.note(found)
            if not found.is_kept:
                account.results[Result.UNREADABLE] += 1
                continue
            batch.append(found.event)
            size += len(found.event.body)
            if len(batch) == _BATCH or size >= _BATCH_BYTES:
                await record_batch()
                size = 0
    except SavedFileError:
        if batch:
            await record_batch()
        raise
    if batch:
        await record_batch()


def _open_ledger(settings: ReplaySettings) -> Ledger:
    try:
        return open_ledger(settings.ledger_url, create=settings.create)
    except LedgerMissingError as error:
        raise SettingsError(f"{error}\nOr add --create to make a ledger there") from error


def _why_missing(name: str) -> str:
    try:
        is_folder = stat.S_ISDIR(Path(name).stat().st_mode)
    except (OSError, ValueError):
        is_folder = False
    return "this is a folder: name the files in it" if is_folder else "there is no such file"


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
        "A file holds JSON texts: one per line, over several lines, or in a row. A text is a notification, an array\n"
        "of them, a page of Adobe's journal or an answer of its Flow Service. UTF-8, UTF-16 and gzip are read. - is\n"
        "standard input. What the ledger has already is not counted again.\n\n"
        "Standard output has the number of events by result. Standard error has the path of the ledger and, for what\n"
        "can't be used, file, place and reason. The exit status is 1 if nothing in a file can be used, or if a file\n"
        "can't be read to its end."
    ),
    arguments="FILE...",
    settings=ReplaySettings,
    run=run,
)
