import asyncio
from typing import Any

import pytest

from exporter import errors
from exporter.errors import BodyTooLargeError, ExporterError, LedgerUnavailableError, WrongTokenError
from exporter.web.responses import STATUS, refuse, status_of


class TooLongError(BodyTooLargeError):
    """A subclass of an error that is listed."""


class UnlistedError(ExporterError):
    """An error that is not listed."""

    reason = "unlisted"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (WrongTokenError("made up"), 401),
        (LedgerUnavailableError("made up"), 503),
        (TooLongError("made up"), 413),
        (UnlistedError("made up"), 503),
        (errors.SettingsError("made up"), 503),
    ],
    ids=["listed", "a fault of ours", "subclass", "unlisted", "an error that no request raises"],
)
def test_the_status_of_an_error(error: ExporterError, status: int) -> None:
    """An error has the status of its nearest listed base class, and 503 where none is listed. It never raises."""
    assert status_of(error) == status


@pytest.mark.parametrize("error", [WrongTokenError("say why"), UnlistedError("say why")], ids=["401", "503"])
def test_a_refusal(error: ExporterError) -> None:
    """A refusal is the error's message as plain text. A 503 asks the sender to come back after a minute."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    status = asyncio.run(refuse(send, error))
    start, body = sent
    headers = dict(start["headers"])
    assert start["status"] == status == status_of(error)
    assert body["body"] == b"say why\n"
    assert headers[b"content-type"] == b"text/plain; charset=utf-8"
    assert headers.get(b"retry-after") == (b"60" if status == 503 else None)


def test_every_listed_status_is_one_that_is_counted() -> None:
    """Only these statuses are used. 403 and 421 are for web pages, and never for a listener that Adobe reaches."""
    assert set(STATUS.values()) == {400, 401, 403, 413, 421, 503}


def test_reasons_are_unique() -> None:
    """Each error has a reason of its own, so that a label or a log line names exactly one."""
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, ExporterError) and kind is not ExporterError
    ]
    assert len({kind.reason for kind in kinds}) == len(kinds)
