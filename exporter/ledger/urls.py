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


def open_ledger(url: str, max_size: int | None = None, *, must_exist: bool = False) -> Ledger:
    """Open a ledger. A file that does not exist is created, unless it must exist.

    `max_size`: bytes above which nothing is appended. Raises LedgerUnusableError, or LedgerUnavailableError while
    another program holds the file's lock.
    """
    path = sqlite_path(url)
    if path is None:
        raise LedgerUnusableError("a ledger's URL is sqlite:///relative/path.db or sqlite:////absolute/path.db")
    if must_exist and not path.exists():
        raise LedgerUnusableError(f"there is no ledger at {path}: give --ledger.url that of the running exporter")
    return SqliteLedger(path, max_size=max_size)
