"""Answers as plain ASGI messages, and the one table that maps an error to its HTTP status.

The table follows two rules of Adobe's (docs/adobe.md, "Retries"). A 4xx drops the event for good, so a fault of this
program is always 503. A request that can never succeed, and is no fault of this program, gets a 4xx.

The security headers are not set here: `exporter.web.headers` adds them to every answer.
"""

from typing import Final

from starlette.types import Scope, Send

from exporter import errors

TEXT: Final = b"text/plain; charset=utf-8"

STATUS: Final[dict[type[errors.ExporterError], int]] = {
    errors.BadChallengeError: 400,
    errors.WrongTokenError: 401,
    errors.SignatureMissingError: 401,
    errors.SignatureWrongError: 401,
    errors.KeyPathError: 401,
    errors.ClientIdError: 401,
    errors.ClientIdMissingError: 401,
    errors.ForeignHostError: 421,
    errors.ForeignOriginError: 403,
    errors.CrossSiteError: 403,
    errors.KeyUnavailableError: 503,
    errors.OverloadedError: 503,
    errors.LedgerFullError: 503,
    errors.BodyTooLargeError: 413,
    errors.TooManyEventsError: 413,
    errors.QueueFullError: 503,
    errors.CommitTimeoutError: 503,
    errors.LedgerUnavailableError: 503,
    errors.NotCaughtUpError: 503,
    errors.QueryTimeoutError: 503,
    errors.PagesBusyError: 503,
    errors.BadCursorError: 400,
    errors.DefectError: 503,
}
"""The status of each error. A subclass has the status of its nearest base class that is listed here."""

_STATUS_OF_OTHERS: Final = 503
"""With a 503 Adobe sends the delivery again. Any other status would drop it because of an omission in the table."""

RETRY_AFTER: Final = b"60"
"""Seconds, sent with every 503 of `answer`. Whether Adobe heeds it is not documented. Adobe's own first retry comes
after a minute."""

Header = tuple[bytes, bytes]

CLOSE: Final[Header] = (b"connection", b"close")
"""Ends the connection after the answer, so that the client's next request may go to another replica."""


async def answer(
    send: Send,
    status: int,
    body: bytes,
    content_type: bytes = TEXT,
    headers: tuple[Header, ...] = (),
    *,
    without_body: bool = False,
) -> None:
    """Send a whole answer. `without_body` is for HEAD: the headers are those of the answer to GET."""
    retry = [(b"retry-after", RETRY_AFTER)] if status == 503 else []
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", content_type),
                (b"content-length", str(len(body)).encode()),
                *retry,
                *headers,
            ],
        }
    )
    await send({"type": "http.response.body", "body": b"" if without_body else body})


def status_of(error: errors.ExporterError) -> int:
    """Return the HTTP status of an error, 503 for one that the table does not list."""
    return next((STATUS[each] for each in type(error).__mro__ if each in STATUS), _STATUS_OF_OTHERS)


def peer_of(scope: Scope) -> str:
    """Return the address from which a request came, without a port. Empty if the server does not know it."""
    client = scope.get("client")
    return client[0] if client else ""


async def refuse(send: Send, error: errors.ExporterError, headers: tuple[Header, ...] = ()) -> int:
    """Answer with the error's message. Return the status."""
    status = status_of(error)
    await answer(send, status, f"{error}\n".encode(), headers=headers)
    return status


async def method_not_allowed(send: Send, allowed: bytes) -> int:
    """Answer 405 to a method that the route does not have. Return the status."""
    await answer(send, 405, b"method not allowed\n", headers=((b"allow", allowed),))
    return 405
