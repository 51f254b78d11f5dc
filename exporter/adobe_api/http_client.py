"""HTTP clients for requests to Adobe: the one way in which this program requests anything of Adobe.

The environment is read when the clients are prepared, and only for the hosts that will be requested. What it gives that
can't be used is one error at the start. httpx itself reads no variable. Redirects are not followed.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import certifi
import httpx
import structlog

from exporter.adobe_api.clock_skew import ClockSkew
from exporter.adobe_api.failures import explain
from exporter.adobe_api.proxies import Host, Proxy, UnusableProxyError, choose, host_of, not_understood
from exporter.client_tls import client_context
from exporter.errors import NoAnswerError, SettingsError

_log: structlog.stdlib.BoundLogger = structlog.get_logger("http")


class AdobeClient:
    """A client for the requests of one purpose to one host."""

    def __init__(
        self,
        url: str,
        transport: httpx.AsyncBaseTransport,
        clock_skew: ClockSkew,
        *,
        proxy: Proxy | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`url`: any URL of the host. `transport` connects, through the `proxy` if there is one.

        `wall`: this machine's clock in seconds since 1970. It is compared with the dates of answers.
        """
        self._client = httpx.AsyncClient(transport=transport, trust_env=False, follow_redirects=False, timeout=None)  # noqa: S113 - `stream` has a deadline
        self._clock_skew = clock_skew
        self._proxy = proxy
        self._wall = wall
        host = host_of(url)
        self.where: Final = f"{host} through the proxy {proxy} ({proxy.variable})" if proxy is not None else str(host)
        """Host and port, and those of the proxy. For logs. It has no secrets."""

    @asynccontextmanager
    async def stream(
        self, method: str, url: str, seconds: float, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[httpx.Response]:
        """Send a request. The body of the answer can be read in the block.

        `seconds`: how long the request and the whole block may take. Raises NoAnswerError.
        """
        sent_at = self._wall()
        opened = _Opened()
        has_answered = False
        try:
            async with (
                asyncio.timeout(seconds),
                self._client.stream(method, url, headers=headers, extensions={"trace": opened.trace}) as response,
            ):
                has_answered = True
                self._clock_skew.observe(
                    response.headers.get("date"), response.headers.get("age"), sent_at, self._wall()
                )
                yield response
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            raise NoAnswerError(explain(error, seconds, through_proxy=self._proxy is not None)) from None
        finally:
            if not has_answered:
                await opened.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


class _Opened:
    """The connections that a request has opened.

    httpcore leaves a connection open if the request is cancelled during the TLS handshake, as it is after the deadline.
    """

    def __init__(self) -> None:
        self._streams: list[Any] = []

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Take an event of httpcore (the extension "trace")."""
        if event == "connection.connect_tcp.complete":
            self._streams.append(info["return_value"])

    async def close(self) -> None:
        """Close the connections. They have no answer, so nothing else uses them."""
        for stream in self._streams:
            await stream.aclose()


class AdobeClients:
    """Makes the clients of this process, by what the environment says when it is made."""

    def __init__(
        self,
        environment: Mapping[str, str],
        urls: Iterable[str],
        clock_skew: ClockSkew,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`urls`: one of each host that will be requested. Without any, nothing of the environment is read.

        `transport` replaces the network, in tests. Raises SettingsError, which names every variable that can't be used.
        """
        self.clock_skew: Final = clock_skew
        self._transport = transport
        self._context: ssl.SSLContext | None = None
        hosts = {host_of(url): url for url in urls}
        self._proxies, mistakes = _choose_all(environment, hosts)
        if hosts:
            try:
                self._context = client_context(environment, _load_certifi)
            except SettingsError as error:
                mistakes.append(str(error))
        if mistakes:
            raise SettingsError("\n".join(mistakes))

    def client(self, url: str) -> AdobeClient:
        """A new client for the host of one of the URLs."""
        proxy = self._proxies[host_of(url)]
        transport = self._transport or httpx.AsyncHTTPTransport(
            verify=self._context or True, trust_env=False, proxy=self._proxy_of_httpx(proxy)
        )
        return AdobeClient(url, transport, self.clock_skew, proxy=proxy)

    def _proxy_of_httpx(self, proxy: Proxy | None) -> httpx.Proxy | None:
        if proxy is None:
            return None
        context = self._context if proxy.scheme == "https" else None
        return httpx.Proxy(proxy.url, auth=proxy.credentials, ssl_context=context)


def _choose_all(
    environment: Mapping[str, str], hosts: Mapping[Host, str]
) -> tuple[dict[Host, Proxy | None], list[str]]:
    """The proxy of each host, and what is wrong with the variables that give them."""
    proxies: dict[Host, Proxy | None] = {}
    unusable: dict[str, list[str]] = {}
    for host, url in hosts.items():
        try:
            proxies[host] = choose(environment, url)
        except UnusableProxyError as error:
            unusable.setdefault(str(error), []).append(host.name)
    left_out = not_understood(environment) if any(proxies.values()) else []
    if left_out:
        _log.warning("parts of NO_PROXY are not understood and left out", parts=left_out)
    return proxies, [
        f"{variable} gives no proxy that can be used for {' and '.join(names)}: write one like "
        "http://proxy.example:3128 (http or https, special characters of the password like %40), unset the variable, "
        "or add the name to NO_PROXY"
        for variable, names in unusable.items()
    ]


def _load_certifi(context: ssl.SSLContext) -> None:
    context.load_verify_locations(certifi.where())
