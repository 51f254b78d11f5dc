"""What pages and the API say of an error: its own message, unless that is meant for whoever runs a command.

The messages about a ledger can name its file and the files beside it, and give advice about flags. A summary shows no
names of files, and neither kind of page can do anything with the advice. The log has the whole message.
"""

from typing import Final

from exporter.errors import ExporterError, LedgerMissingError, LedgerUnavailableError, LedgerUnusableError

_MISSING: Final = "the file of the ledger was moved or deleted: the log names it"
_UNREADABLE: Final = "the ledger can't be read now: the log has the reason"


def text_of(error: ExporterError, *, is_full: bool) -> str:
    """A sentence without a full stop. `is_full`: whether messages and bodies may be shown."""
    if isinstance(error, LedgerMissingError):
        return _MISSING
    if isinstance(error, LedgerUnavailableError | LedgerUnusableError) and not is_full:
        return _UNREADABLE
    return str(error)
