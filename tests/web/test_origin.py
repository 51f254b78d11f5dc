"""Which requests are refused because a web page may have caused them."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.errors import CrossSiteError, ExporterError, ForeignHostError, ForeignOriginError
from exporter.web.origin import REFUSALS, OriginRule, host_of, is_local

LOCAL: Final = (
    "localhost",
    "localhost:10464",
    "localhost:",
    "LOCALHOST:80",
    "localhost.",
    "localhost.:10464",
    "grafana.localhost",
    "a.b.localhost:1",
    "127.0.0.1",
    "127.0.0.1:10464",
    "127.0.0.1.",
    "127.1.2.3:1",
    "[::1]",
    "[::1]:10464",
    "[0:0:0:0:0:0:0:1]:80",
    "[::ffff:127.0.0.1]:80",
)
FOREIGN: Final = (
    "",
    ":10464",
    "evil.example",
    "evil.example:10464",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "evil-localhost",
    "notlocalhost",
    ".localhost",
    "a..localhost",
    "localhost..",
    "localhost@evil.example",
    "evil.example@localhost",
    "localhost, evil.example",
    "localhost evil.example",
    "localhost:80:80",
    "localhost:http",
    "localhost:123456",
    "localhost/",
    "http://localhost",
    "0.0.0.0",
    "0.0.0.0:10464",
    "[::]",
    "[::1",
    "::1",
    "[::1]evil.example",
    "[::ffff:192.0.2.1]",
    "192.0.2.1",
    "10.0.0.1:10464",
    "128.0.0.1",
    "127.1",
    "2130706433",
    "0x7f.0.0.1",
    "exporter:10464",
    "local\xe9host",
    "localhost%00",
)


def refusal(method: str, *headers: tuple[str, str], also: tuple[str, ...] = ()) -> type[ExporterError] | None:
    """The kind of error with which a request is refused. None if it is passed on. It is counted once."""
    counted: list[str] = []
    rule = OriginRule(lambda reason, _: counted.append(reason), lambda: 0.0, "advice", also)
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    try:
        rule.check({"method": method, "headers": encoded})
    except ExporterError as error:
        refused: list[ExporterError] = [error]
    else:
        refused = []
    assert counted == [error.reason for error in refused]
    assert set(counted) <= set(REFUSALS)
    return type(refused[0]) if refused else None


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
@pytest.mark.parametrize("host", LOCAL)
def test_this_machine(host: str, method: str) -> None:
    """A request that names this machine is passed on, however it is written and with any port."""
    assert refusal(method, ("host", host)) is None


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("host", FOREIGN)
def test_another_host(host: str, method: str) -> None:
    """A request that names another host, or no host at all in its Host header, is refused."""
    assert refusal(method, ("host", host)) is ForeignHostError


def test_no_host() -> None:
    """A request without Host comes from no browser, so it is passed on."""
    assert refusal("GET") is None


@pytest.mark.parametrize("hosts", [("localhost", "evil.example"), ("evil.example", "localhost"), ("localhost", "")])
def test_several_hosts(hosts: tuple[str, str]) -> None:
    """Of several Host headers each must name this machine."""
    assert refusal("GET", *(("host", host) for host in hosts)) is ForeignHostError
    assert refusal("GET", ("host", "localhost"), ("host", "127.0.0.1")) is None


def test_the_host_of_a_proxy() -> None:
    """A host that is configured is ours, in a Host and in an Origin."""
    headers = (("host", "Exporter.example:443"), ("origin", "https://exporter.example"))
    assert refusal("POST", *headers) is ForeignHostError
    assert refusal("POST", *headers, also=("exporter.EXAMPLE",)) is None


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "http://evil.example",
        "https://localhost.evil.example",
        "http://192.0.2.1:10464",
        "localhost",
        "file://",
        "chrome-extension://abc",
        "http://[::1",
        "http://localhost@evil.example",
    ],
)
def test_a_foreign_origin(origin: str) -> None:
    """A POST from a page of another origin is refused, and a GET is not."""
    assert refusal("POST", ("host", "localhost"), ("origin", origin)) is ForeignOriginError
    assert refusal("GET", ("host", "localhost"), ("origin", origin)) is None
    assert refusal("POST", ("host", "localhost"), ("origin", "http://localhost"), ("origin", origin)) is not None


@pytest.mark.parametrize(
    "origin", ["http://localhost:10464", "http://127.0.0.1", "https://LOCALHOST", "http://[::1]:1"]
)
def test_our_origin(origin: str) -> None:
    """A POST from a page of this machine is passed on."""
    assert refusal("POST", ("host", "localhost"), ("origin", origin), ("sec-fetch-site", "same-origin")) is None


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("site", ["cross-site", "Cross-Site"])
def test_another_site(method: str, site: str) -> None:
    """A request of another site that changes something is refused. A link from another site is followed."""
    assert refusal(method, ("host", "localhost"), ("sec-fetch-site", site)) is CrossSiteError
    assert refusal("GET", ("host", "localhost"), ("sec-fetch-site", site), ("sec-fetch-mode", "navigate")) is None


@pytest.mark.parametrize("site", ["same-origin", "same-site", "none"])
def test_the_same_site(site: str) -> None:
    """A request that a person or a page of this machine caused is passed on."""
    assert refusal("POST", ("host", "localhost"), ("sec-fetch-site", site)) is None


@given(st.text(st.characters(max_codepoint=255)))
def test_any_host(text: str) -> None:
    """Whatever stands before a name, only names below localhost and loopback addresses are this machine."""
    host = host_of(text + "evil.example")
    assert host is None or not is_local(host)
