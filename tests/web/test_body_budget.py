import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from exporter.errors import BodyTooLargeError, OverloadedError
from exporter.web.body_budget import BodyBudget, ClientGoneError, read_body


def received(*chunks: bytes, headers: dict[bytes, bytes] | None = None, limit: int = 10, budget: int = 100) -> bytes:
    """The body that is read of a request that arrives in these chunks."""
    messages: Iterator[Any] = iter(
        [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
        + [{"type": "http.request"}, {"type": "http.disconnect"}]
    )

    async def receive() -> Any:
        return next(messages)

    with BodyBudget(budget).reserve() as reservation:
        return asyncio.run(read_body(headers or {}, receive, reservation, limit))


def test_a_body_in_chunks() -> None:
    """Chunks are joined. A body may have as many bytes as are allowed."""
    assert received() == b""
    assert received(b"12345", b"", b"67890") == b"1234567890"


@pytest.mark.parametrize("length", [b"11", b"9" * 5000, b"0" * 19], ids=["11", "5000 digits", "19 zeros"])
def test_a_declared_length(length: bytes) -> None:
    """A body that is declared too large is refused before any of it is received."""
    with pytest.raises(BodyTooLargeError):
        received(headers={b"content-length": length})


@pytest.mark.parametrize("length", [b"", b"-1", b"x", b"10"])
def test_an_undeclared_length(length: bytes) -> None:
    """A body is refused once it turns out to be too large, whatever length was declared."""
    with pytest.raises(BodyTooLargeError):
        received(b"12345", b"123456", headers={b"content-length": length})


def test_a_client_that_leaves() -> None:
    """A connection that is closed before the body is complete raises an error of its own."""

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    with BodyBudget().reserve() as reservation, pytest.raises(ClientGoneError):
        asyncio.run(read_body({}, receive, reservation, 10))


def test_bodies_share_a_budget() -> None:
    """A body that exceeds the budget is refused. Its bytes and those of a finished body are released."""
    with pytest.raises(OverloadedError):
        received(b"12345", b"678", budget=7)
    budget = BodyBudget(10)
    with budget.reserve() as first:
        first.extend(6)
        with budget.reserve() as second, pytest.raises(OverloadedError):
            second.extend(5)
        with budget.reserve() as third:
            third.extend(4)
    with budget.reserve() as fourth:
        fourth.extend(10)
