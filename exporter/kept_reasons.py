"""Finds out why an entry of the ledger is not understood, by reading its body again.

The ledger holds that it is not, and no reason.
"""

from exporter.adobe.payloads import read
from exporter.intake import why_not_understood
from exporter.ledger.queries import Row
from exporter.model import EntryKind, NotUnderstood, Source


def find_reason(row: Row) -> NotUnderstood | None:
    """The reason for an unsupported or unreadable entry. None if this version understands its body.

    Blocking: a large or damaged body takes seconds (`exporter.adobe.deliveries.is_quick`).
    """
    if row.kind == EntryKind.UNREADABLE:
        return NotUnderstood.UNREADABLE
    # Only a replayed description of a flow is understood. A source of a newer version is like the webhook.
    source = Source.REPLAY if row.source == Source.REPLAY else Source.WEBHOOK
    return why_not_understood(source, row.fact(read))
