"""Answers as plain ASGI messages, and the one table that gives an error its status.

The table keeps two rules of Adobe's (adobe.md A6): a 4xx drops the event for good, so a fault of ours is always 503;
what is no fault of ours and can never become right is 4xx.
"""

from typing import Final

from starlette.types import Send

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
    errors.KeyUnavailableError: 503,
    errors.OverloadedError: 503,
    errors.LedgerFullError: 503,
    errors.BodyTooLargeError: 413,
    errors.TooManyEventsError: 413,
    errors.QueueFullError: 503,
    errors.CommitTimeoutError: 503,
    errors.LedgerUnavailableError: 503,
    errors.NotCaughtUpError: 503,
    errors.DefectError: 503,
}

RETRY_AFTER: Final = b"60"
"""Seconds, with every 503. Whether Adobe heeds it is not documented; its own first retry comes after a minute."""

# No page of ours runs scripts or is framed, and a challenge that is echoed must not be taken for a page.
_SECURITY: Final = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'"),
    (b"referrer-policy", b"no-referrer"),
]

Header = tuple[bytes, bytes]


async def answer(
    send: Send,
    status: int,
    body: bytes,
    content_type: bytes = TEXT,
    headers: tuple[Header, ...] = (),
    *,
    without_body: bool = False,
) -> None:
    """Send a whole answer; to HEAD without its body."""
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
                *_SECURITY,
            ],
        }
    )
    await send({"type": "http.response.body", "body": b"" if without_body else body})


async def refuse(send: Send, error: errors.ExporterError) -> int:
    """Answer with what went wrong; the status."""
    status = STATUS[type(error)]
    await answer(send, status, f"{error}\n".encode())
    return status


async def method_not_allowed(send: Send, allowed: bytes) -> int:
    """Answer a request whose method makes no sense here; the status."""
    await answer(send, 405, b"method not allowed\n", headers=((b"allow", allowed),))
    return 405
