"""`runs`: lists the runs that a ledger holds, the latest first. The ledger is read and never changed."""

import contextlib
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from exporter.adobe.payloads import read
from exporter.commands.base import Command, FlowId, milliseconds
from exporter.commands.lists import ListSettings, StoredText, When, minute, print_list
from exporter.commands.output import print_error
from exporter.commands.settings import setting
from exporter.commands.tables import Column, Row
from exporter.errors import BadCursorError, SettingsError
from exporter.ledger.queries import Page, Queries, RunFilter
from exporter.ledger.urls import open_queries
from exporter.model import Status
from exporter.pages.views import IN_A_TERMINAL, RunView, view_of_run

_SECONDS: Final = 60.0
"""How long the ledger may take for a page."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ERRORS_SHOWN: Final = 5
"""Error codes of a run that the table shows."""

_COLUMNS: Final = (
    Column("ENDED"),
    Column("STATUS"),
    Column("FLOW", is_cut=True),
    Column("SANDBOX", is_cut=True),
    Column("RUN"),
)


class RunsSettings(ListSettings):
    """Which runs to list."""

    flow: FlowId | None = setting("flow", None, "Only runs of the flow with this id.", example="ID")
    status: Literal["success", "partial_success", "failed", "cancelled", "unknown"] | None = setting(
        "status",
        None,
        "Only runs that ended like this: success, partial_success, failed, cancelled or unknown.",
        example="failed",
    )
    error_code: StoredText | None = setting(
        "error-code", None, "Only runs that reported this error code.", example="CONNECTOR-2001-500"
    )
    since: When | None = setting(
        "since",
        None,
        "Only runs that ended at this time or later: RFC 3339, or a duration back from now.",
        example="24h",
    )
    until: When | None = setting(
        "until",
        None,
        "Only runs that ended before this time: RFC 3339, or a duration back from now.",
        example="1h",
    )
    cursor: StoredText | None = setting(
        "cursor", None, "Go on where another list ended: its next, with the same other flags.", example="NEXT"
    )


def run(settings: RunsSettings, _arguments: list[str]) -> int:
    """Print the runs. An empty list is no error.

    Raises SettingsError for a time in which no run can be and for a wrong cursor, and what asking a ledger raises.
    """
    now = time.time_ns() // 1_000_000
    wanted = RunFilter(
        flow_id=settings.flow,
        sandbox=settings.sandbox,
        status=None if settings.status is None else Status(settings.status),
        error_code=settings.error_code,
        since=_moment(settings.since, now),
        until=_moment(settings.until, now),
    )
    if wanted.since is not None and wanted.until is not None and wanted.since >= wanted.until:
        raise SettingsError("--since must be before --until: of two durations back from now it is the longer one")
    try:
        with contextlib.closing(open_queries(settings.ledger_url, _SECONDS)) as queries:
            page = _page(queries, wanted, settings.limit, settings.cursor)
    except BadCursorError as error:
        raise SettingsError("--cursor is not the next of a list of runs: leave it out to begin anew") from error
    views = [view_of_run(row, read, IN_A_TERMINAL) for row in page.items]
    print_list(settings.output, views, page.next, _COLUMNS, [_row(view) for view in views])
    if not views:
        print_error("the ledger holds no such run: ask for a longer time, or leave out a flag")
    elif page.next is not None:
        print_error(f"there are more runs: raise --limit, or go on with --cursor={page.next}")
    return 0


def _page(queries: Queries, wanted: RunFilter, limit: int, cursor: str | None) -> Page:
    """As many runs as were asked for. A page of the ledger has fewer if they are large."""
    page = queries.runs(wanted, limit, cursor)
    items = page.items
    while page.next is not None and len(items) < limit:
        page = queries.runs(wanted, limit - len(items), page.next)
        items += page.items
    return Page(items, page.next)


def _moment(when: timedelta | datetime | None, now: int) -> int | None:
    """A time in milliseconds since 1970."""
    if isinstance(when, timedelta):
        return now - milliseconds(when)
    return None if when is None else milliseconds(when - _EPOCH)


def _row(view: RunView) -> Row:
    return Row(
        cells=(
            minute(view.ended_at),
            view.status or "-",
            view.flow_name or view.flow_id or "-",
            view.sandbox or "-",
            view.run_id or "-",
        ),
        details=_errors(view),
    )


def _errors(view: RunView) -> Sequence[Sequence[str]]:
    """Each code once, with its first message."""
    messages: dict[str, str] = {}
    for error in view.errors:
        messages[error.code] = messages.get(error.code) or _first_line(error.message)
    details = [(code, message) if message else (code,) for code, message in messages.items()]
    more = len(details) - _ERRORS_SHOWN
    return [*details[:_ERRORS_SHOWN], (f"and {more} more",)] if more > 0 else details


def _first_line(text: str | None) -> str:
    return next((line.strip() for line in (text or "").splitlines() if line.strip()), "")


COMMAND: Final = Command(
    summary="list runs, the latest first",
    details=(
        "Reads the ledger of --ledger.url, also while the exporter uses it, and never changes it. A run is listed\n"
        "once, with the outcome that stands. The table has its error codes below it, each with the first line of its\n"
        "first message. --output=json has all of a run. Times are UTC."
    ),
    settings=RunsSettings,
    run=run,
)
