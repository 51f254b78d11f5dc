"""Which proxy a request goes through, by the variables HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY. No I/O.

httpx reads these variables as well, but it fails on values that are usual in containers, such as `NO_PROXY=fd00::/8`,
also where nothing is requested. So the variables are read here, for the hosts that are requested.

The rules are those of curl: lower-case names come first, an empty variable is not set, ALL_PROXY is for what has no
variable of its own, and a name in NO_PROXY stands for itself and for all names below it. As in Go, this machine is
never asked through a proxy. NO_PROXY may also hold ranges of addresses and ports. Names are not resolved, so a range
excludes only hosts that are written as addresses.
"""

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

DEFAULT_PORTS: Final = {"http": 80, "https": 443}
"""The schemes of the proxies that can be used, and of the hosts that are requested."""
_NAME = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
_HOST_AND_PORT = re.compile(r"(?:\[(?P<ipv6>[^\[\]]*)\]|(?P<host>[^:\[\]]*))(?::(?P<port>[0-9]{1,5}))?")
_BRACKETED = re.compile(r"\[([^\[\]]*)\](/[0-9]{1,3})?")

_IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class UnusableProxyError(Exception):
    """The variable that gives the proxy of a host has a value that can't be used. The text is the variable's name."""


@dataclass(frozen=True, slots=True)
class Host:
    """A host that is requested."""

    name: str
    """Lower-case, without brackets and without a dot at its end."""
    port: int

    @property
    def address(self) -> _IpAddress | None:
        """The address, if the host is written as one."""
        return _address(self.name)

    @property
    def is_this_machine(self) -> bool:
        """Whether it is a loopback address or a name of this machine."""
        if self.address is not None:
            return self.address.is_loopback
        return self.name == "localhost" or self.name.endswith(".localhost")

    def __str__(self) -> str:
        return _with_port(self.name, self.port)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """A proxy. Only `str` of it may be shown: the user and the password are secrets."""

    variable: str
    """The name of the variable that gives it."""
    scheme: str
    host: str
    port: int
    credentials: tuple[str, str] | None = field(default=None, repr=False)
    """User and password."""

    @property
    def url(self) -> str:
        """The address without the credentials."""
        return f"{self.scheme}://{self}"

    def __str__(self) -> str:
        return _with_port(self.host, self.port)


def host_of(url: str) -> Host:
    """The host that requests of a URL go to. Raises ValueError for a URL without a host."""
    parts = urlsplit(url)
    if not parts.hostname:
        raise ValueError("a URL without a host")
    return Host(parts.hostname.removesuffix("."), parts.port or DEFAULT_PORTS[parts.scheme])


def choose(environment: Mapping[str, str], url: str) -> Proxy | None:
    """The proxy for requests of a URL. None if they go to the host directly. Raises UnusableProxyError."""
    host = host_of(url)
    variable = _first_set(environment, f"{urlsplit(url).scheme}_proxy", "all_proxy")
    if variable is None or host.is_this_machine or any(rule.covers(host) for rule in _exceptions(environment)):
        return None
    return _parse(variable, environment[variable])


def not_understood(environment: Mapping[str, str]) -> list[str]:
    """The parts of NO_PROXY that have no meaning here and are left out. One that may hold a password is not shown."""
    parts = [part for part in _parts(environment) if _exception(part) is None]
    return [part if "@" not in part else "(a part with @)" for part in parts]


@dataclass(frozen=True, slots=True)
class _Exception:
    """One part of NO_PROXY: hosts that are asked directly."""

    name: str | None = None
    """A name, and all names below it."""
    network: _Network | None = None
    """A range of addresses, or a single one. If there is neither a name nor a range, it covers every host."""
    port: int | None = None

    def covers(self, host: Host) -> bool:
        """Whether a host is one of them."""
        if self.port not in {None, host.port}:
            return False
        if self.network is not None:
            return host.address is not None and host.address in self.network
        return self.name is None or host.name == self.name or host.name.endswith("." + self.name)


def _first_set(environment: Mapping[str, str], *names: str) -> str | None:
    """The first variable that is not empty. Each name is tried in lower case and then in upper case."""
    tried = (each for name in names for each in (name, name.upper()))
    return next((each for each in tried if environment.get(each, "").strip()), None)


def _exceptions(environment: Mapping[str, str]) -> Iterator[_Exception]:
    return (found for part in _parts(environment) if (found := _exception(part)) is not None)


def _parts(environment: Mapping[str, str]) -> list[str]:
    variable = _first_set(environment, "no_proxy")
    return environment[variable].replace(",", " ").split() if variable is not None else []


def _exception(part: str) -> _Exception | None:
    """What a part of NO_PROXY says. None if it can't be understood."""
    if part == "*":
        return _Exception()
    network = _network(_BRACKETED.sub(r"\1\2", part) if _BRACKETED.fullmatch(part) else part)
    if network is not None:
        return _Exception(network=network)
    matched = _HOST_AND_PORT.fullmatch(part)
    if matched is None:
        return None
    port = int(matched["port"]) if matched["port"] else None
    network = _network(matched["ipv6"] or matched["host"] or "")
    if network is not None:
        return _Exception(network=network, port=port)
    name = (matched["host"] or "").lower().removeprefix("*").removeprefix(".").removesuffix(".")
    return _Exception(name=name, port=port) if _NAME.fullmatch(name) else None


def _network(text: str) -> _Network | None:
    try:
        found = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
    # A host in such a range is compared as the IPv4 address that it stands for.
    mapped = found.network_address.ipv4_mapped if found.version == 6 else None
    if mapped is not None and found.prefixlen >= 96:
        return ipaddress.ip_network((mapped, found.prefixlen - 96))
    return found


def _address(text: str) -> _IpAddress | None:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return found.ipv4_mapped or found if found.version == 6 else found


def _parse(variable: str, value: str) -> Proxy:
    """The proxy that a variable gives. A value without a scheme is a host of the scheme http."""
    text = value.strip()
    try:
        parts = urlsplit(text if "://" in text else "http://" + text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise UnusableProxyError(variable) from None
    is_host = _NAME.fullmatch(host.removesuffix(".")) or _address(host)
    if parts.scheme not in DEFAULT_PORTS or not is_host or port == 0 or not text.isprintable() or " " in text:
        raise UnusableProxyError(variable)
    credentials = None
    if parts.username or parts.password:
        credentials = (unquote(parts.username or ""), unquote(parts.password or ""))
    return Proxy(
        variable=variable,
        scheme=parts.scheme,
        host=host,
        port=port if port is not None else DEFAULT_PORTS[parts.scheme],
        credentials=credentials,
    )


def _with_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
