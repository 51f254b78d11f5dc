"""Refuses requests that a web page may have caused, where nothing else authenticates a request.

A listener on a loopback address is reached by every page in a browser on this machine. A page can post a form to it.
After it has pointed its own host name at 127.0.0.1 (DNS rebinding), it can also read the answers. So a request must
name this machine in its Host header, and a request that changes something must not come from a page of another site.
Links from other sites to a page stay possible. A request without these headers comes from no browser.

The check applies only to what `service` puts it around: never to a listener that other machines can reach, where Host
may be anything, nor to the health probes.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import urlsplit

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from exporter.errors import CrossSiteError, ExporterError, ForeignHostError, ForeignOriginError
from exporter.logs import LogThrottle
from exporter.web.responses import peer_of, refuse

REFUSALS: Final = (ForeignHostError.reason, ForeignOriginError.reason, CrossSiteError.reason)
"""Every reason for which a request is refused here."""

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""
_AUTHORITY: Final = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{0,5})?", re.ASCII)
"""A host with or without a port."""
_MAX_LOGGED: Final = 100
"""Characters of a foreign host or origin in the log."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("origin")


class OriginCheck:
    """ASGI middleware that passes a request on only where no page of another site may have caused it."""

    def __init__(self, app: ASGIApp, rule: "OriginRule", is_needed: Callable[[], bool] = lambda: True) -> None:
        """`is_needed`: whether nothing else authenticates a request now."""
        self._app = app
        self._rule = rule
        self._is_needed = is_needed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 421 or 403."""
        try:
            if self._is_needed():
                self._rule.check(scope)
        except ExporterError as error:
            await refuse(send, error)
        else:
            await self._app(scope, receive, send)


class OriginRule:
    """Decides about requests, counts the refused ones and logs few of them."""

    def __init__(
        self, count: Callable[[str, str], None], monotonic: Callable[[], float], advice: str, also: Iterable[str] = ()
    ) -> None:
        """`count` is called with the reason of each refusal and the address of the sender.

        `advice`: what the operator can set instead.

        `also`: hosts besides those of this machine, such as the one under which a proxy shows the pages.
        """
        self._count = count
        self._advice = advice
        self._also = frozenset(host.lower() for host in also)
        self._throttle = LogThrottle(monotonic)

    def check(self, scope: Scope) -> None:
        """Raise ForeignHostError, ForeignOriginError or CrossSiteError where the request must be refused."""
        found = self._find(scope)
        if found is not None:
            error, value = found
            self._count(error.reason, peer_of(scope))
            self._report(error, value)
            raise error

    def _find(self, scope: Scope) -> tuple[ExporterError, str] | None:
        """The error, and the value of the header that causes it. None if the request may pass."""
        headers = scope["headers"]
        for host in _values(headers, b"host"):
            if not self._is_ours(host):
                return ForeignHostError(f"this address answers requests to localhost only: {self._advice}"), host
        if scope["method"] in _SAFE:
            return None
        for origin in _values(headers, b"origin"):
            if not self._is_our_origin(origin):
                return ForeignOriginError("a page of another site may not post here"), origin
        for site in _values(headers, b"sec-fetch-site"):
            if site.lower() == "cross-site":
                return CrossSiteError("a page of another site may not post here"), site
        return None

    def _is_our_origin(self, origin: str) -> bool:
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        return parts.scheme in {"http", "https"} and self._is_ours(parts.netloc)

    def _is_ours(self, authority: str) -> bool:
        host = host_of(authority)
        return host is not None and (is_local(host) or host in self._also)

    def _report(self, error: ExporterError, value: str) -> None:
        suppressed = self._throttle.allow(error.reason)
        if suppressed is not None:
            _log.warning(
                "request refused",
                reason=error.reason,
                detail=str(error),
                value=value[:_MAX_LOGGED],
                more_like_it=suppressed,
            )


def host_of(authority: str) -> str | None:
    """The host of a Host header, in lower case, without its port and a dot at its end. None if it is not one."""
    match = _AUTHORITY.fullmatch(authority)
    return match[1].lower().removesuffix(".") if match else None


def is_local(host: str) -> bool:
    """Whether a host, as `host_of` returns it, is this machine: localhost, a name below it, or a loopback address."""
    if host == "localhost":
        return True
    if host.endswith(".localhost"):
        return all(host.split("."))
    try:
        address = ipaddress.ip_address(host[1:-1] if host.startswith("[") else host)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    return address.is_loopback


def _values(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[str]:
    return [value.decode("latin-1").strip() for each, value in headers if each == name]
