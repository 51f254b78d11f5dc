"""What `/errors` shows: each error code of the ledger, what it means, and when runs reported it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from exporter.ledger.queries import MAX_COUNTED, Queries, SeenCode
from exporter.model import DAY
from exporter.pages.explanations import Explanation, explain
from exporter.pages.page_request import PageRequest
from exporter.pages.texts import number

MAX_CODES: Final = 1000
"""Codes of the list. An organisation has some dozens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorLine:
    """A code in the list."""

    seen: SeenCode
    explanation: Explanation

    @property
    def runs(self) -> str:
        """How many runs of the last 24 hours reported it, in words."""
        exact = number(self.seen.recent_runs)
        return exact if self.seen.recent_runs < MAX_COUNTED else f"{exact} or more"


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorList:
    """The list. Times are milliseconds since 1970."""

    lines: tuple[ErrorLine, ...]
    """The code that was seen last is first."""
    since: int
    """Runs are counted from here on."""
    left_out: int
    """Codes that are not in the list because it would be too long."""


def error_list(queries: Queries, now: int) -> ErrorList:
    """The list at a time (milliseconds since 1970). Blocking. Raises what the queries raise."""
    since = now - DAY
    seen = queries.codes(since)
    return ErrorList(lines=tuple(_lines(seen[:MAX_CODES])), since=since, left_out=max(len(seen) - MAX_CODES, 0))


def page(request: PageRequest) -> Mapping[str, object]:
    """The values of `/errors`."""
    return {"list": error_list(request.queries, request.sources.now())}


def _lines(seen: Iterable[SeenCode]) -> Iterable[ErrorLine]:
    return (ErrorLine(seen=each, explanation=explain(each.code)) for each in seen)
