"""What `/notifications` shows: the last notifications that were kept without being understood, and those refused.

The refused ones are those that this process remembers. They are all on the first page, among the others by their time.
The ledger does not hold the reason, so the body is read again, by this version. A body that would take long to read is
not read again: pages must not keep the processor busy.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from exporter.ledger.queries import Queries, Row
from exporter.model import EntryKind, NotUnderstood
from exporter.pages import texts
from exporter.pages.page_request import PageRequest, Reading
from exporter.reasons import EXPLANATIONS, REFUSALS
from exporter.refused import RefusedDelivery

PAGE: Final = 20
"""Entries of a page."""
MAX_BODY: Final = 64 * 1024
"""Bytes of a body that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationLine:
    """An entry in the list."""

    position: int | None
    """Its place in the ledger. None for one that was refused."""
    received_at: int
    """Milliseconds since 1970."""
    source: str
    """Of one that was refused, the address of its sender, or empty if pages show a summary."""
    event_code: str
    """Empty if there is none."""
    reason: str
    """The word that logs and metrics have. Empty if it is not known."""
    why: str
    """A sentence."""
    size: int | None
    """Bytes of the body. None for one that was refused: nothing of it is kept."""
    body: str | None
    """The first MAX_BODY bytes, with escapes. None if bodies are not shown."""

    @property
    def is_cut(self) -> bool:
        """Whether the body goes on after what is shown."""
        return self.size is not None and self.size > MAX_BODY


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationList:
    """A page of the list, newest first."""

    lines: tuple[NotificationLine, ...]
    next: str | None
    """The cursor of the next page."""


def notification_list(queries: Queries, cursor: str | None, reading: Reading, *, is_full: bool) -> NotificationList:
    """A page of the list. Blocking. Raises what the queries raise. `is_full`: whether bodies may be shown."""
    page = queries.not_understood(PAGE, cursor)

    def line(row: Row) -> NotificationLine:
        reason, why = _reason(row, reading)
        return NotificationLine(
            position=row.position,
            received_at=row.received_at,
            source=row.source,
            event_code=(row.event_code or "") if is_full else reading.event_code_label(row.event_code),
            reason=reason,
            why=why,
            size=len(row.body),
            body=texts.body(row.body, MAX_BODY) if is_full else None,
        )

    return NotificationList(lines=tuple(map(line, page.items)), next=page.next)


def page(request: PageRequest) -> Mapping[str, object]:
    """The values of `/notifications`."""
    cursor = request.parameters.get("cursor")
    found = notification_list(request.queries, cursor, request.sources.reading, is_full=request.is_full)
    lines = list(found.lines)
    if cursor is None:
        refused = (_refused(each, is_full=request.is_full) for each in request.sources.refused())
        lines = sorted([*lines, *refused], key=lambda line: -line.received_at)
    return {"lines": lines, "next": found.next, "is_full": request.is_full, "is_first": cursor is None}


def _refused(refused: RefusedDelivery, *, is_full: bool) -> NotificationLine:
    return NotificationLine(
        position=None,
        received_at=refused.refused_at,
        source=refused.peer if is_full else "",
        event_code="",
        reason=refused.reason,
        why="Refused: " + REFUSALS.get(refused.reason, "see the log") + ".",
        size=None,
        body=None,
    )


def _reason(row: Row, reading: Reading) -> tuple[str, str]:
    """The word and the sentence for the reason of an entry."""
    if row.kind != EntryKind.UNREADABLE and not reading.is_quick(row.body):
        return "", "The body is large or damaged, so this page does not read it to find the reason."
    reason = reading.find_reason(row)
    if reason is None:
        return "", "An earlier version did not understand it. This version does."
    return reason.value, _sentence(reason)


def _sentence(reason: NotUnderstood) -> str:
    text = EXPLANATIONS[reason]
    return text[0].upper() + text[1:] + "."
