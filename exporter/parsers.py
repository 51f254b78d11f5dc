"""Parses what a person writes in flags and variables: durations, sizes, addresses, paths, tokens and others.

Each function takes the text and returns the value. It raises ValueError with a message that shows how such a value is
written. No message repeats the text, because it may be a secret.
"""

import ipaddress
import re
import socket
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from exporter.ledger.queries import MAX_LIMIT
from exporter.ledger.urls import sqlite_path

_DURATION = re.compile(
    r"(?:([0-9]+)y)?(?:([0-9]+)w)?(?:([0-9]+)d)?(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+)s)?(?:([0-9]+)ms)?"
)
_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_DURATION_UNITS: Final = (31_536_000_000, 604_800_000, 86_400_000, 3_600_000, 60_000, 1_000, 1)
_SIZE = re.compile(r"([0-9]+) *([KMGT]i?)?B?")
_SIZE_UNITS: Final[dict[str | None, int]] = {
    None: 1,
    **{f"{letter}i": 1024**power for power, letter in enumerate("KMGT", start=1)},
    **{letter: 1000**power for power, letter in enumerate("KMGT", start=1)},
}
_MAX_DURATION: Final = timedelta(days=36500)
_ADDRESS = re.compile(r"(?:\[(?P<ipv6>[^\]]+)\]|(?P<host>[A-Za-z0-9_.-]*)):(?P<port>[0-9]{1,5})")
_CLIENT_ID = re.compile(r"[A-Za-z0-9._@-]{1,128}")
_TOKEN = re.compile(r"[A-Za-z0-9._~-]+")
_MIN_TOKEN: Final = 16
_MAX_TOKENS: Final = 100
_EXTERNAL_URL = re.compile(
    r"https?://(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::[0-9]{1,5})?(?P<path>(?:/[A-Za-z0-9._~-]+)*)/?"
)
_TENANT = re.compile(r"@?([A-Za-z0-9][A-Za-z0-9._-]{0,99}(?:@AdobeOrg)?)")
_SPEED = re.compile(r"[0-9]{1,7}(?:\.[0-9]{1,6})?")


def duration(text: str) -> timedelta:
    """A duration as Prometheus writes it: `90s`, `1h30m`, `45d`, `0s`."""
    match = _DURATION.fullmatch(text)
    if not match or not any(match.groups()):
        raise ValueError("a duration is written like 90s, 1h30m or 45d")
    milliseconds = sum(int(part) * unit for part, unit in zip(match.groups("0"), _DURATION_UNITS, strict=True))
    if milliseconds > _MAX_DURATION // timedelta(milliseconds=1):
        raise ValueError("a duration is at most 100y")
    return timedelta(milliseconds=milliseconds)


def size(text: str) -> int:
    """A size in bytes: `4MiB`, `500KB`, `1024`."""
    match = _SIZE.fullmatch(text)
    if not match:
        raise ValueError("a size is written like 4MiB, 500KB or 1024")
    return int(match[1]) * _SIZE_UNITS[match[2]]


def count(text: str) -> int:
    """A whole number from 1 to 999999999."""
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) == 0:
        raise ValueError("must be a whole number from 1 to 999999999")
    return int(text)


def flow_id(text: str) -> str:
    """The id of a flow, without the space around it."""
    if not text.strip():
        raise ValueError("must be the id of a flow, as in the label flow_id")
    return stored_text(text)


def stored_text(text: str) -> str:
    """A text as the ledger can have it, without the space around it: the name of a sandbox, an error code."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("is not valid Unicode: check the encoding of the terminal") from None
    if not text.strip():
        raise ValueError("must not be empty")
    return text.strip()


def page_limit(text: str) -> int:
    """The number of items of a list, from 1 to MAX_LIMIT."""
    if not re.fullmatch(r"[0-9]{1,3}", text) or not 1 <= int(text) <= MAX_LIMIT:
        raise ValueError(f"must be a whole number from 1 to {MAX_LIMIT}")
    return int(text)


def moment(text: str) -> timedelta | datetime:
    """A time: RFC 3339 (`2026-11-30T22:15:00Z`), or a duration back from now (`24h`)."""
    if _DURATION.fullmatch(text) and text:
        return duration(text)
    try:
        if _RFC3339.fullmatch(text):
            return datetime.fromisoformat(text.upper())
    except ValueError:
        pass
    raise ValueError("a time is written like 2026-11-30T22:15:00Z or, back from now, like 24h or 7d")


class Address(NamedTuple):
    """An address to listen on. An empty host means every address of the machine, and so does `::`."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def overlaps(self, other: "Address") -> bool:
        """Whether the system can't give both to listeners: they are the same, or one of them includes the other.

        Port 0 is any free port, so it never overlaps. What a name stands for is not looked up, but for localhost.
        """
        if self.port != other.port or not self.port:
            return False
        hosts = [_LOCALHOST if host == "localhost" else host for host in (self.host, other.host)]
        return hosts[0] == hosts[1] or _includes(hosts[0], hosts[1]) or _includes(hosts[1], hosts[0])

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


_LOCALHOST: Final = "127.0.0.1"
"""What localhost stands for where something listens on it: of its two addresses that of IPv4 comes first."""


def _includes(host: str, other: str) -> bool:
    """Whether who listens on a host has all of another one's addresses, too."""
    return host in {"", "::"} or (host == "0.0.0.0" and ":" not in other)  # noqa: S104 - compared, not listened on


def address(text: str) -> Address:
    """An address to listen on: `127.0.0.1:10464`, `[::1]:10464`, or `:10464` for every address of the machine.

    One address has one spelling in the result: `[0::1]` is `::1`, `[::ffff:127.0.0.1]` and `127.1` are `127.0.0.1`.
    """
    match = _ADDRESS.fullmatch(text)
    host = _canonical_host(match) if match else None
    if not match or int(match["port"]) > 65535 or host is None:
        raise ValueError("an address is written like 127.0.0.1:10464, [::1]:10464 or :10464")
    return Address(host, int(match["port"]))


def _canonical_host(match: re.Match[str]) -> str | None:
    """The host of an address. None if there is no IPv6 address in the brackets."""
    in_brackets: str | None = match["ipv6"]
    literal = _literal(in_brackets or match["host"])
    if in_brackets is not None and (literal is None or ":" not in in_brackets):
        return None
    if literal is None:
        return str(match["host"]).lower()
    # Whatever the interface, the loopback address is on one only.
    return "::1" if literal.is_loopback and literal.version == 6 else str(literal)


def url_path(text: str) -> str:
    """The path of a route: `/metrics`. It has no characters that the router would interpret."""
    if not re.fullmatch(r"(?:/[A-Za-z0-9._~-]+)+", text) or text.startswith("/-/"):
        raise ValueError("a path is written like /metrics: it begins with /, does not end with /, and is not below /-/")
    return text


def boolean(text: str) -> bool:
    """`true` or `false`."""
    if text not in {"true", "false"}:
        raise ValueError("must be true or false")
    return text == "true"


def ledger_url(text: str) -> str:
    """The URL of a ledger, unchanged."""
    if sqlite_path(text) is None:
        raise ValueError("a ledger's URL is sqlite:///relative/path.db or sqlite:////absolute/path.db")
    return text


def token(text: str) -> str:
    """A secret that can be a segment of a URL's path."""
    if not _TOKEN.fullmatch(text) or len(text) < _MIN_TOKEN:
        raise ValueError(f"a token has at least {_MIN_TOKEN} characters, each of A-Z a-z 0-9 . _ ~ -")
    return text


def tokens(text: str) -> tuple[str, ...]:
    """Tokens, separated by commas. Each is there once."""
    return _bounded(token(part.strip()) for part in text.split(","))


def _bounded(found: Iterable[str]) -> tuple[str, ...]:
    unique = tuple(dict.fromkeys(found))
    if len(unique) > _MAX_TOKENS:
        raise ValueError(f"at most {_MAX_TOKENS} tokens are compared with each request: remove those that are not used")
    return unique


def client_ids(text: str) -> frozenset[str]:
    """Client ids, separated by commas."""
    found = frozenset(part.strip() for part in text.split(","))
    if not all(_CLIENT_ID.fullmatch(part) for part in found):
        raise ValueError("client ids are written like 0123abcd, separated by commas")
    return found


def client_id(text: str) -> str:
    """One client id."""
    if not _CLIENT_ID.fullmatch(text):
        raise ValueError("a client id is written like 0123abcd")
    return text


def keys_url(text: str) -> str:
    """The base URL of Adobe's public keys: https, or http on this machine."""
    message = "the URL of the keys is written like https://static.adobeioevents.com"
    try:
        parts = urlsplit(text)
        is_usable = parts.port != 0 and text.isascii() and text.isprintable() and " " not in text
    except ValueError:
        raise ValueError(message) from None
    is_local = parts.scheme == "http" and parts.hostname in {"127.0.0.1", "::1", "localhost"}
    if (
        not is_usable
        or not parts.hostname
        or not (parts.scheme == "https" or is_local)
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
    ):
        raise ValueError(message)
    return text.rstrip("/")


def webhook_url(text: str) -> str:
    """The URL of a webhook that notifications are posted to."""
    message = "a webhook's address is written like http://127.0.0.1:10464/webhook, without user, password or query"
    try:
        parts = urlsplit(text)
        is_usable = parts.port != 0 and bool(parts.hostname) and text.isascii() and text.isprintable()
    except ValueError:
        raise ValueError(message) from None
    if not is_usable or parts.scheme not in {"http", "https"} or "@" in parts.netloc or set("#? ") & set(text):
        raise ValueError(message)
    return text


def external_url(text: str) -> str:
    """The URL under which people open the pages, without the slash at its end. It can have a path."""
    match = _EXTERNAL_URL.fullmatch(text)
    try:
        is_usable = match is not None and bool(urlsplit(text).hostname) and urlsplit(text).port != 0
    except ValueError:
        is_usable = False
    if match is None or not is_usable or {".", ".."} & {*match["path"].split("/")}:
        raise ValueError(
            "an external URL is written like https://monitoring.example/aep, without user, password or query"
        )
    return text.rstrip("/")


def tenant(text: str) -> str:
    """The name of a tenant, or the id of an organisation. An `@` before it is left out."""
    match = _TENANT.fullmatch(text)
    if not match:
        raise ValueError("a tenant is written like acme: the name behind @ in the addresses of Experience Platform")
    return match[1]


def is_nearby(url: str) -> bool:
    """Whether a URL's host is this machine, or a name without dots, such as another service of one Compose file."""
    host = (urlsplit(url).hostname or "").removesuffix(".")
    literal = _literal(host)
    if literal is None:
        return "." not in host
    return literal.is_loopback or literal.is_unspecified


def _literal(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address that a host is written as, also in a short form (127.1, 2130706433). None for a name."""
    try:
        if ":" not in host:
            return ipaddress.IPv4Address(socket.inet_aton(host))
        found = ipaddress.IPv6Address(host)
    except (OSError, ValueError):
        return None
    return found.ipv4_mapped or found


def seed(text: str) -> int:
    """A whole number from 0, of at most 18 digits."""
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise ValueError("a seed is a whole number from 0, of at most 18 digits")
    return int(text)


def speed(text: str) -> float:
    """How many times faster than real time: `1`, `672`, `0.5`."""
    if not _SPEED.fullmatch(text) or float(text) == 0:
        raise ValueError("a speed is a number above 0, such as 1 or 672")
    return float(text)


def existing_file(text: str) -> Path:
    """The path of a file that can be read."""
    path = Path(text)
    try:
        with path.open("rb"):
            return path
    except (OSError, ValueError):
        raise ValueError("there is no such file, or it can't be read") from None


def token_file(text: str) -> tuple[str, ...]:
    """The tokens that a file holds, one a line. The file is read only once, so it may be a pipe.

    White space around a line, blank lines and lines that begin with # are left out.
    """
    try:
        # utf-8-sig, because some editors begin a file with a byte order mark.
        content = Path(text).read_text(encoding="utf-8-sig")
    except (OSError, ValueError):
        raise ValueError("there is no such file, or it can't be read as text") from None
    lines = [(number, line.strip()) for number, line in enumerate(content.split("\n"), start=1)]
    found = [(number, line) for number, line in lines if line and not line.startswith("#")]
    if not found:
        raise ValueError("there is no token in it: write one a line")
    return _bounded(_token_of_line(number, line) for number, line in found)


def _token_of_line(number: int, line: str) -> str:
    try:
        return token(line)
    except ValueError as error:
        raise ValueError(f"line {number}: {error}") from None
