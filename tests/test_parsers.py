"""Durations, sizes, addresses, paths and tokens are parsed, or refused with how they are written."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter import parsers
from exporter.parsers import Address


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("0s", timedelta()),
        ("90s", timedelta(seconds=90)),
        ("250ms", timedelta(milliseconds=250)),
        ("5m", timedelta(minutes=5)),
        ("1h30m", timedelta(hours=1, minutes=30)),
        ("45d", timedelta(days=45)),
        ("2w", timedelta(days=14)),
        ("1y", timedelta(days=365)),
        ("100y", timedelta(days=36_500)),
        ("1y2w3d4h5m6s7ms", timedelta(days=382, hours=4, minutes=5, seconds=6, milliseconds=7)),
    ],
)
def test_durations(text: str, duration: timedelta) -> None:
    """A duration is written as Prometheus writes it."""
    assert parsers.duration(text) == duration


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "90",
        "s",
        "-5s",
        "+5s",
        "1.5h",
        "5 s",
        "5S",
        "1m1h",
        "1h1h",
        "90sec",
        "1M",
        "٣s",
        "5s\n",
        "101y",
        "9" * 40 + "s",
    ],
)
def test_no_durations(text: str) -> None:
    """Anything else is refused with how a duration is written."""
    with pytest.raises(ValueError, match="duration is"):
        parsers.duration(text)


@given(st.tuples(*(st.integers(0, 80) for _ in range(7))).filter(any))
def test_a_duration_is_the_sum_of_its_parts(parts: tuple[int, ...]) -> None:
    """Each part counts by its unit, largest first, in any selection."""
    units = ("y", "w", "d", "h", "m", "s", "ms")
    text = "".join(f"{part}{unit}" for part, unit in zip(parts, units, strict=True) if part)
    each = [parsers.duration(f"{part}{unit}") for part, unit in zip(parts, units, strict=True)]
    assert parsers.duration(text) == sum(each, timedelta())


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1024", 1024),
        ("1024B", 1024),
        ("4MiB", 4 * 1024**2),
        ("4 MiB", 4 * 1024**2),
        ("4Mi", 4 * 1024**2),
        ("500KB", 500_000),
        ("500K", 500_000),
        ("2GiB", 2 * 1024**3),
        ("1TB", 10**12),
    ],
)
def test_sizes(text: str, size: int) -> None:
    """A size is a number of bytes, or has a unit: KiB are 1024 bytes, KB 1000."""
    assert parsers.size(text) == size


@pytest.mark.parametrize(
    "text", ["", "MiB", "-1", "1.5MiB", "4 mib", "4XB", "4iB", "1e6", "0x10", "4MiB\n", "٣", "4MiBs"]
)
def test_no_sizes(text: str) -> None:
    """Anything else is refused with how a size is written."""
    with pytest.raises(ValueError, match="a size is written like"):
        parsers.size(text)


@pytest.mark.parametrize(
    ("text", "address", "is_loopback"),
    [
        ("127.0.0.1:10464", Address("127.0.0.1", 10464), True),
        ("127.9.9.9:1", Address("127.9.9.9", 1), True),
        ("[::1]:10464", Address("::1", 10464), True),
        ("[::1%lo]:10464", Address("::1", 10464), True),
        ("[0:0::0:1]:10464", Address("::1", 10464), True),
        ("[::ffff:127.0.0.1]:10464", Address("127.0.0.1", 10464), True),
        ("[::ffff:192.0.2.7]:80", Address("192.0.2.7", 80), False),
        ("[::ffff:0.0.0.0]:80", Address("0.0.0.0", 80), False),
        ("127.1:80", Address("127.0.0.1", 80), True),
        ("0:80", Address("0.0.0.0", 80), False),
        ("LocalHost:1", Address("localhost", 1), True),
        ("[0::0]:80", Address("::", 80), False),
        ("[FE80::1%eth0]:80", Address("fe80::1%eth0", 80), False),
        ("localhost:0", Address("localhost", 0), True),
        (":10464", Address("", 10464), False),
        ("0.0.0.0:65535", Address("0.0.0.0", 65535), False),
        ("[::]:80", Address("::", 80), False),
        ("192.0.2.7:80", Address("192.0.2.7", 80), False),
        ("[2001:db8::7]:80", Address("2001:db8::7", 80), False),
        ("exporter.example:80", Address("exporter.example", 80), False),
        ("localhost.example:80", Address("localhost.example", 80), False),
        ("127.0.0.1.example:80", Address("127.0.0.1.example", 80), False),
    ],
)
def test_addresses(text: str, address: Address, is_loopback: bool) -> None:
    """An address is a host and a port. It is loopback if only this machine can reach it."""
    assert parsers.address(text) == address
    assert parsers.address(text).is_loopback is is_loopback


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        (":1", ":1", True),
        (":1", "[::]:1", True),
        (":1", "0.0.0.0:1", True),
        ("[::]:1", "0.0.0.0:1", True),
        ("[::]:1", "127.0.0.1:1", True),
        (":1", "exporter.example:1", True),
        ("0.0.0.0:1", "192.0.2.7:1", True),
        ("0.0.0.0:1", "[::ffff:192.0.2.7]:1", True),
        ("0.0.0.0:1", "localhost:1", True),
        ("localhost:1", "127.0.0.1:1", True),
        ("[::1]:1", "[::1%lo]:1", True),
        ("Exporter.example:1", "exporter.example:1", True),
        ("0.0.0.0:1", "[::1]:1", False),
        ("localhost:1", "[::1]:1", False),
        ("127.0.0.1:1", "[::1]:1", False),
        ("127.0.0.1:1", "127.0.0.2:1", False),
        ("[fe80::1%eth0]:1", "[fe80::1%eth1]:1", False),
        (":1", ":2", False),
        (":0", ":0", False),
        ("[::]:0", "0.0.0.0:0", False),
    ],
)
def test_overlapping_addresses(one: str, other: str, overlap: bool) -> None:
    """Two addresses overlap if a listener on one keeps the other from being listened on."""
    assert parsers.address(one).overlaps(parsers.address(other)) is overlap
    assert parsers.address(other).overlaps(parsers.address(one)) is overlap


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("[127.0.0.1]:80", id="ipv4-in-brackets"),
        pytest.param("10464", id="port-alone"),
        pytest.param("localhost", id="host-alone"),
        pytest.param("127.0.0.1:", id="no-port"),
        pytest.param("127.0.0.1:65536", id="port-too-large"),
        pytest.param("127.0.0.1:-1", id="negative-port"),
        pytest.param("127.0.0.1:http", id="named-port"),
        pytest.param("127.0.0.1:٣", id="digits-of-another-script"),
        pytest.param("::1:80", id="ipv6-without-brackets"),
        pytest.param("[::1]", id="ipv6-without-port"),
        pytest.param("[::1:80", id="bracket-not-closed"),
        pytest.param("[:80", id="bracket-alone"),
        pytest.param("[]:80", id="nothing-in-brackets"),
        pytest.param("[zz]:80", id="no-ipv6-in-brackets"),
        pytest.param(" 127.0.0.1:80", id="blank-before"),
        pytest.param("127.0.0.1:80 ", id="blank-after"),
        pytest.param("http://127.0.0.1:80", id="url"),
        pytest.param("127.0.0.1:80/metrics", id="path"),
    ],
)
def test_no_addresses(text: str) -> None:
    """Anything else is refused with how an address is written."""
    with pytest.raises(ValueError, match="an address is written like"):
        parsers.address(text)


@given(
    st.ip_addresses().map(str) | st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?(\.[a-z]{1,5})?", fullmatch=True),
    st.integers(0, 65535),
)
def test_an_address_is_read_as_it_is_shown(host: str, port: int) -> None:
    """An address that is written as text is parsed as the same address, and in the one spelling that it has."""
    read = parsers.address(str(Address(host, port)))
    assert parsers.address(str(read)) == read
    assert read == Address(host, port) or host.startswith("::ffff:")


@pytest.mark.parametrize("text", ["/metrics", "/a/b.c~d_e-f", "/1"])
def test_paths(text: str) -> None:
    """A plain path is returned unchanged."""
    assert parsers.url_path(text) == text


@pytest.mark.parametrize(
    "text", ["", "/", "metrics", "/metrics/", "/a b", "/a?b", "/a#b", "/a=b", "/{token}", "/%41", "/é", "/a\n"]
)
def test_no_paths(text: str) -> None:
    """A path that is not plain, or that the router would interpret, is refused."""
    with pytest.raises(ValueError, match="a path is written like"):
        parsers.url_path(text)


def test_booleans() -> None:
    """Only `true` and `false` are booleans. Every other word is refused."""
    assert parsers.boolean("true") is True
    assert parsers.boolean("false") is False
    for text in ("", "1", "0", "yes", "no", "True", "FALSE", " true"):
        with pytest.raises(ValueError, match="must be true or false"):
            parsers.boolean(text)


@pytest.mark.parametrize("text", ["x" * 16, "AZaz09._~-AZaz09", "0123456789abcdef" * 8])
def test_tokens(text: str) -> None:
    """A token can be a segment of a path, and is too long to be guessed."""
    assert parsers.token(text) == text


@pytest.mark.parametrize(
    "text", ["", "x" * 15, "x" * 16 + "/", "x" * 16 + " ", "x" * 16 + "\n", "x" * 16 + "é", "x" * 16 + "%2F"]
)
def test_no_tokens(text: str) -> None:
    """A token that is short, or that can't be a segment of a path, is refused."""
    with pytest.raises(ValueError, match="a token has at least 16 characters"):
        parsers.token(text)


@pytest.mark.parametrize("text", ["sqlite:///data/ledger.db", "sqlite:////var/lib/a=b.db"])
def test_ledger_urls(text: str) -> None:
    """A ledger's URL is returned unchanged."""
    assert parsers.ledger_url(text) == text


@pytest.mark.parametrize(
    "text", ["", "data/ledger.db", "sqlite://ledger.db", "sqlite:///", "sqlite:///data/", "mysql://db/x"]
)
def test_no_ledger_urls(text: str) -> None:
    """Any other URL is refused with how a ledger's URL is written."""
    with pytest.raises(ValueError, match="a ledger's URL is"):
        parsers.ledger_url(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a" * 16, ("a" * 16,)),
        (f"{'a' * 16},{'b' * 16}", ("a" * 16, "b" * 16)),
        (f" {'b' * 16} , {'a' * 16} ,{'b' * 16}", ("b" * 16, "a" * 16)),
    ],
)
def test_several_tokens(text: str, found: tuple[str, ...]) -> None:
    """Tokens are separated by commas, with white space or without. One that is there twice is there once."""
    assert parsers.tokens(text) == found


@pytest.mark.parametrize("text", ["", ",", "a" * 16 + ",", "a" * 16 + ",,", "a" * 16 + ",short", "a" * 16 + ";"])
def test_not_several_tokens(text: str) -> None:
    """Every part between commas must be a token."""
    with pytest.raises(ValueError, match="a token has at least 16 characters"):
        parsers.tokens(text)


def test_too_many_tokens() -> None:
    """At most 100 different tokens are compared with each request."""
    texts = [f"token-number-{number:05}" for number in range(101)]
    assert parsers.tokens(",".join([*texts[1:], texts[1]])) == tuple(texts[1:])
    with pytest.raises(ValueError, match="at most 100 tokens"):
        parsers.tokens(",".join(texts))


@pytest.mark.parametrize(
    "content",
    [
        "0123456789abcdef\nfedcba9876543210\n",
        "\ufeff0123456789abcdef\r\n\r\n fedcba9876543210\t\r\n",
        "# old, until the end of March\n0123456789abcdef\n  # new\n\nfedcba9876543210\n0123456789abcdef",
    ],
)
def test_files_of_several_tokens(tmp_path: Path, content: str) -> None:
    """A file has one token a line. White space, blank lines and lines that begin with # are left out."""
    file = tmp_path / "tokens"
    file.write_bytes(content.encode())
    assert parsers.token_file(str(file)) == ("0123456789abcdef", "fedcba9876543210")


def test_the_line_of_a_wrong_token(tmp_path: Path) -> None:
    """A message about a file of tokens names the line, as an editor counts it."""
    file = tmp_path / "tokens"
    file.write_text("0123456789abcdef\n\n# new\nshort\n")
    with pytest.raises(ValueError, match="line 4: a token has at least"):
        parsers.token_file(str(file))


def test_token_files(tmp_path: Path) -> None:
    """The result is what the file holds. A folder, a long name and a file without a token are refused."""
    file = tmp_path / "token"
    file.write_text("0123456789abcdef\n")
    assert parsers.token_file(str(file)) == ("0123456789abcdef",)
    for text in ("", str(tmp_path), str(tmp_path / "none"), str(file / "below"), str(tmp_path / ("x" * 300)), "nul\0"):
        with pytest.raises(ValueError, match="file"):
            parsers.token_file(text)
    for content in (b"", b"too short", b"\xff" * 20, b"two lines of\ntext in one file"):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"token has|no token|read as text"):
            parsers.token_file(str(file))


def test_files(tmp_path: Path) -> None:
    """The result is the path of the file. A folder, a name that is too long and a missing file are refused."""
    file = tmp_path / "file"
    file.touch()
    assert parsers.existing_file(str(file)) == file
    for text in ("", str(tmp_path), str(tmp_path / "none"), str(tmp_path / ("x" * 300)), "nul\0"):
        with pytest.raises(ValueError, match="file"):
            parsers.existing_file(text)


PARSERS: list[Callable[[str], object]] = [
    parsers.duration,
    parsers.size,
    parsers.address,
    parsers.url_path,
    parsers.boolean,
    parsers.ledger_url,
    parsers.token,
    parsers.tokens,
    parsers.token_file,
    parsers.existing_file,
    parsers.client_ids,
    parsers.keys_url,
    parsers.external_url,
    parsers.tenant,
]


def refusal(parser: Callable[[str], object], text: str) -> str:
    """The message that refuses a text. Empty if it is accepted."""
    try:
        parser(text)
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.__name__)
@given(before=st.text(max_size=20), after=st.text(max_size=20))
def test_no_message_repeats_the_text(parser: Callable[[str], object], before: str, after: str) -> None:
    """A text is accepted, or refused with a ValueError that repeats nothing of it, because it may be a secret."""
    assert "s3cret" not in refusal(parser, f"{before}s3cret{after}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("24h", timedelta(hours=24)),
        ("0s", timedelta()),
        ("2026-11-30T22:15:00Z", datetime(2026, 11, 30, 22, 15, tzinfo=UTC)),
        ("2026-11-30t22:15:00z", datetime(2026, 11, 30, 22, 15, tzinfo=UTC)),
        ("2026-11-30 23:15:00.250+01:00", datetime(2026, 11, 30, 22, 15, 0, 250_000, tzinfo=UTC)),
        ("0001-01-01T00:00:00+14:00", datetime.fromisoformat("0001-01-01T00:00:00+14:00")),
    ],
)
def test_moments(text: str, expected: timedelta | datetime) -> None:
    """A time is RFC 3339, or a duration back from now."""
    assert parsers.moment(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *["", "now", "-1h", "2026-11-30", "2026-11-30T22:15:00", "2026-11-30T22:15Z", "20261130T221500Z", "1796076900"],
        *["2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-11-30T24:00:01Z", "2026-11-30T22:15:00+24:00", "24h\n"],
        "2026-11-30T22:15:00Z\n",
    ],
)
def test_what_is_no_moment(text: str) -> None:
    """Anything else is refused with how a time is written, also a time without its zone."""
    with pytest.raises(ValueError, match="a time is written like"):
        parsers.moment(text)


@pytest.mark.parametrize("parse", [parsers.flow_id, parsers.stored_text])
def test_texts_that_a_ledger_can_have(parse: Callable[[str], str]) -> None:
    """The space around a text is left out. Bytes that were no text are refused."""
    assert parse(" a b ") == "a b"
    with pytest.raises(ValueError, match="not valid Unicode"):
        parse("\udcff")


@pytest.mark.parametrize("text", ["", "0", "-1", "501", "1e2", "1000", "\u0661", "5\n"])
def test_limits_of_lists(text: str) -> None:
    """A list has from 1 to 500 items."""
    assert [parsers.page_limit(good) for good in ("1", "050", "500")] == [1, 50, 500]
    with pytest.raises(ValueError, match="from 1 to 500"):
        parsers.page_limit(text)
