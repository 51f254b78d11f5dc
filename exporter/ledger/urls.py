"""Opens the ledger that a URL names."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from exporter.errors import LedgerUnusableError
from exporter.ledger import Followed, Ledger, sqlite_following
from exporter.ledger.queries import Queries
from exporter.ledger.sqlite import SqliteLedger
from exporter.ledger.sqlite_queries import SqliteQueries

_SQLITE = "sqlite:///"

_Answer = TypeVar("_Answer")


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
    return SqliteLedger(_path(url), max_size=max_size, create=create)


def open_queries(url: str, seconds: float) -> Queries:
    """Questions to a ledger, which opens its file with the first one. `seconds`: how long an answer may take.

    Raises LedgerUnusableError if the URL names no ledger.
    """
    return SqliteQueries(_path(url), seconds)


def follow(url: str, seconds: float, use: Callable[[Followed], _Answer]) -> _Answer:
    """Call `use` with a ledger that is open for reading only, and return its result. Nothing is created or changed.

    It can be called again if the ledger is opened or closed by another process meanwhile. `seconds`: how long that may
    take. Raises LedgerMissingError, LedgerUnusableError, LedgerUnavailableError, and what `use` raises.
    """
    return sqlite_following.follow(_path(url), seconds, use)


def _path(url: str) -> Path:
    path = sqlite_path(url)
    if path is None:
        raise LedgerUnusableError("a ledger's URL is sqlite:///relative/path.db or sqlite:////absolute/path.db")
    return path
