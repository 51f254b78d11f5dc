"""How pages write times, numbers and texts that others sent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.pages import texts
from exporter.plain_text import with_escapes


@pytest.mark.parametrize(
    ("milliseconds", "shown", "iso"),
    [
        (0, "1970-01-01 00:00:00 UTC", "1970-01-01T00:00:00Z"),
        (1_795_816_684_999, "2026-11-27 21:58:04 UTC", "2026-11-27T21:58:04Z"),
        (-1, "1969-12-31 23:59:59 UTC", "1969-12-31T23:59:59Z"),
        (1 << 53, "unknown", ""),
        (-(1 << 53), "unknown", ""),
        (-60_000_000_000_000, "unknown", ""),
        (None, "unknown", ""),
    ],
)
def test_times(milliseconds: int | None, shown: str, iso: str) -> None:
    """A time is in UTC to the second. One that no calendar has is unknown, and no error."""
    assert (texts.time(milliseconds), texts.iso_time(milliseconds)) == (shown, iso)


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 bytes"),
        (812, "812 bytes"),
        (1023, "1023 bytes"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (65536, "64 KiB"),
        (1023 * 1024, "1023 KiB"),
        (4 * 1024**2, "4 MiB"),
        (5000 * 1024**3, "5000 GiB"),
    ],
)
def test_sizes(count: int, shown: str) -> None:
    """A size has three digits and a unit."""
    assert texts.size(count) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("two\nlines\tand\r", "two\\nlines\\tand\\u000d"),
        ("\u202egnirts", "\\u202egnirts"),
        ("nul\x00", "nul\\u0000"),
        ("\u2028", "\\u2028"),
        ("\U000e0041", "\\udb40\\udc41"),
        ("\ud800", "\\ud800"),
        ("Größe 漢字 🙂", "Größe 漢字 🙂"),
        ("x" * 100, "x" * 100),
        ("x" * 100_000, "x" * 99 + "…"),
    ],
)
def test_texts_of_others_are_one_line(text: str, shown: str) -> None:
    """A text that others sent is short, on one line, and hides nothing."""
    assert texts.shown(text) == shown


@pytest.mark.parametrize(
    ("content", "limit", "shown"),
    [
        (b'{"a":\n\t1}', 100, '{"a":\n\t1}'),
        (b"\x00\xff\xe2\x80\xae", 100, "\\u0000\ufffd\\u202e"),
        ("aß".encode(), 2, "a"),
        ("aß".encode(), 3, "aß"),
        ("🙂🙂".encode(), 7, "🙂"),
        ("🙂🙂".encode(), 4, "🙂"),
        (b"\x80" * 10, 5, "\ufffd"),
        (b"x" * 10, 5, "xxxxx"),
        (b"", 5, ""),
    ],
)
def test_bodies(content: bytes, limit: int, shown: str) -> None:
    """A body is cut at its limit and never within a character, and what a reader can't see is escaped."""
    assert texts.body(content, limit) == shown


@given(st.text())
def test_only_what_can_be_seen_is_left(text: str) -> None:
    """With its escapes a text can be encoded, and holds no character that a reader can't see."""
    escaped = with_escapes(text)
    assert with_escapes(escaped) == escaped
    escaped.encode()
    assert not set("\x00\r\x1b\u202e\u200b\ufeff\u2028") & set(escaped)


@given(st.binary(max_size=50), st.integers(0, 50))
def test_any_bytes_can_be_shown(content: bytes, limit: int) -> None:
    """No body is an error, and what is shown begins as the whole body does."""
    shown = texts.body(content, limit)
    assert len(shown) <= 6 * limit
    if content.isascii():
        assert texts.body(content, len(content)).startswith(shown)
