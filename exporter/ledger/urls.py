"""Opens the ledger that a URL names."""

from pathlib import Path

from exporter.errors import LedgerUnusableError
from exporter.ledger import Ledger
from exporter.ledger.sqlite import SqliteLedger

_SQLITE = "sqlite:///"


def sqlite_path(url: str) -> Path | None:
    """The file that a URL names, or None if it names none.

    `sqlite:///data/ledger.db` is a relative path, `sqlite:////var/ledger.db` an absolute one.
    """
    path = url.removeprefix(_SQLITE)
    return Path(path) if url.startswith(_SQLITE) and path and not path.endswith("/") else None


def open_ledger(url: str, max_size: int | None = None, *, create: bool = True) -> Ledger:
    """Open a ledger. `create`: whether to make one, with its folders, if there is none.

    `max_size`: bytes above which nothing is appended. Raises LedgerMissingError if there is no ledger and none is made,
    LedgerUnusableError, or LedgerUnavailableError while another program holds the file's lock.
    """
    path = sqlite_path(url)
    if path is None:
        raise LedgerUnusableError("a ledger's URL is sqlite:///relative/path.db or sqlite:////absolute/path.db")
    return SqliteLedger(path, max_size=max_size, create=create)
