"""Which proxy a request goes through, by the variables of the environment."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.adobe_api.proxies import UnusableProxyError, choose, host_of, not_understood
from tests.adobe import failing

KEYS = "https://static.adobeioevents.com"
PROXY = "http://proxy.corp:3128"
SECRET = "s3cret"


def proxy_of(url: str, **environment: str) -> str | None:
    """The address of the proxy for a URL, None if there is none."""
    proxy = choose(environment, url)
    return proxy.url if proxy is not None else None


VARIABLES: dict[str, tuple[dict[str, str], str | None]] = {
    "none": ({}, None),
    "upper case": ({"HTTPS_PROXY": PROXY}, PROXY),
    "lower case": ({"https_proxy": PROXY}, PROXY),
    "lower case comes first": ({"https_proxy": PROXY, "HTTPS_PROXY": "http://other:1"}, PROXY),
    "empty is not set": ({"https_proxy": " ", "HTTPS_PROXY": PROXY}, PROXY),
    "all empty": ({"https_proxy": "", "HTTPS_PROXY": "", "ALL_PROXY": ""}, None),
    "for all": ({"ALL_PROXY": PROXY}, PROXY),
    "for all in lower case": ({"all_proxy": PROXY}, PROXY),
    "its own before that for all": ({"ALL_PROXY": "socks5://other", "HTTPS_PROXY": PROXY}, PROXY),
    "the other scheme's": ({"HTTP_PROXY": PROXY, "http_proxy": PROXY}, None),
    "without a scheme": ({"HTTPS_PROXY": "proxy.corp:3128"}, PROXY),
    "without a port": ({"HTTPS_PROXY": "http://proxy.corp"}, "http://proxy.corp:80"),
    "over TLS without a port": ({"HTTPS_PROXY": "https://proxy.corp"}, "https://proxy.corp:443"),
    "with a slash": ({"HTTPS_PROXY": PROXY + "/"}, PROXY),
    "with blanks around it": ({"HTTPS_PROXY": f" {PROXY}\n"}, PROXY),
    "in capitals": ({"HTTPS_PROXY": "HTTP://PROXY.corp:3128"}, PROXY),
    "an address": ({"HTTPS_PROXY": "http://192.0.2.1:3128"}, "http://192.0.2.1:3128"),
    "an IPv6 address": ({"HTTPS_PROXY": "http://[2001:db8::1]:3128"}, "http://[2001:db8::1]:3128"),
    "credentials are not in the address": ({"HTTPS_PROXY": f"http://me:{SECRET}@proxy.corp:3128"}, PROXY),
}


def test_variables() -> None:
    """A host's proxy comes from the variable of its scheme, else from ALL_PROXY."""

    def check(case: str) -> None:
        environment, expected = VARIABLES[case]
        assert proxy_of(KEYS, **environment) == expected

    assert failing({case: case for case in VARIABLES}, check) == {}


UNUSABLE: dict[str, str] = {
    "socks": "socks5://proxy.corp:1080",
    "socks with names": "socks5h://proxy.corp",
    "another scheme": "ftp://proxy.corp",
    "no host": "http://",
    "no host but a port": "http://:3128",
    "a port too large": "http://proxy.corp:70000",
    "port 0": "http://proxy.corp:0",
    "a port of letters": "proxy.corp:x",
    "half an IPv6 address": "http://[::1",
    "a blank": "http://proxy corp:3128",
    "a control character": "http://proxy\x1b.corp:3128",
    "nonsense": "*",
    "a password that is not encoded": f"http://me:{SECRET}#1@proxy.corp:3128",
    "a password with a slash": f"http://me:{SECRET}/@proxy.corp:3128",
}


def test_unusable_proxies() -> None:
    """A proxy of another kind, and nonsense, is an error that names the variable and no part of the value."""

    def check(value: str) -> None:
        with pytest.raises(UnusableProxyError) as raised:
            choose({"ALL_PROXY": value}, KEYS)
        assert str(raised.value) == "ALL_PROXY"
        assert raised.value.__cause__ is None

    assert failing(UNUSABLE, check) == {}


def test_credentials() -> None:
    """User and password are decoded, and neither text nor representation of a proxy contains them."""
    proxy = choose({"HTTPS_PROXY": f"http://me%40corp:{SECRET}%2F%3A@proxy.corp:3128"}, KEYS)
    assert proxy is not None
    assert proxy.credentials == ("me@corp", SECRET + "/:")
    assert SECRET not in f"{proxy} {proxy!r} {proxy.url}"
    assert str(proxy) == "proxy.corp:3128"


# NO_PROXY, a URL, and whether NO_PROXY excludes it.
EXCEPTIONS: list[tuple[str, str, bool]] = [
    ("*", KEYS, True),
    ("other.example, *", KEYS, True),
    ("static.adobeioevents.com", KEYS, True),
    ("STATIC.AdobeIOEvents.com", KEYS, True),
    ("adobeioevents.com", KEYS, True),
    (".adobeioevents.com", KEYS, True),
    ("*.adobeioevents.com", KEYS, True),
    ("adobeioevents.com.", KEYS, True),
    (".com", KEYS, True),
    ("events.com", KEYS, False),
    ("adobeioevents", KEYS, False),
    ("x.static.adobeioevents.com", KEYS, False),
    ("a,b  static.adobeioevents.com\tc", KEYS, True),
    ("static.adobeioevents.com:443", KEYS, True),
    ("static.adobeioevents.com:8443", KEYS, False),
    ("static.adobeioevents.com:8443", "https://static.adobeioevents.com:8443/x", True),
    (".corp", "https://mirror.corp.", True),
    ("192.0.2.1", "https://192.0.2.1", True),
    ("192.0.2.1", "https://192.0.2.11", False),
    ("192.0.2.0/24", "https://192.0.2.11", True),
    ("192.0.2.7/24", "https://192.0.2.11", True),
    ("192.0.2.0/24", "https://192.0.3.1", False),
    ("192.0.2.1:443", "https://192.0.2.1", True),
    ("192.0.2.1:444", "https://192.0.2.1", False),
    ("0.0.0.0/0", KEYS, False),
    ("fd00::/8", "https://[fd00::1]", True),
    ("fd00::/8", "https://[fe00::1]", False),
    ("[fd00::1]", "https://[fd00::1]", True),
    ("[fd00::1]:443", "https://[FD00::1]", True),
    ("[fd00::1]:444", "https://[fd00::1]", False),
    ("[fd00::]/8", "https://[fd00::1]", True),
    ("fd00:0::1", "https://[fd00::1]", True),
    ("192.0.2.1", "https://[::ffff:192.0.2.1]", True),
    ("::ffff:192.0.2.0/120", "https://192.0.2.1", True),
    ("::1/128,fd00::/8", KEYS, False),
    ("https://static.adobeioevents.com", KEYS, False),
    ("", KEYS, False),
]


def test_exceptions() -> None:
    """NO_PROXY excludes names with all below them, addresses, ranges and ports."""

    def check(case: tuple[str, str, bool]) -> None:
        text, url, is_excluded = case
        for name in ("NO_PROXY", "no_proxy"):
            assert (choose({"ALL_PROXY": PROXY, name: text}, url) is None) is is_excluded

    assert failing({f"{each[0]!r} for {each[1]}": each for each in EXCEPTIONS}, check) == {}


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8080",
        "http://localhost",
        "https://[::1]:1",
        "http://keys.localhost",
        "https://[::ffff:127.0.0.1]",
    ],
)
def test_this_machine_is_asked_directly(url: str) -> None:
    """No proxy is used for this machine, even if the variable is nonsense."""
    assert choose({"ALL_PROXY": "socks5://x", "HTTP_PROXY": PROXY, "HTTPS_PROXY": PROXY}, url) is None


def test_an_excluded_host_needs_no_proxy() -> None:
    """A variable that can't be used is no mistake for a host that NO_PROXY excludes."""
    assert choose({"ALL_PROXY": "socks5://x", "NO_PROXY": ".adobeioevents.com"}, KEYS) is None


def test_what_is_not_understood() -> None:
    """What has no meaning in NO_PROXY is named, except that a part with a password is not shown."""
    text = f"corp, [::1, 10.0.0.0/99,http://x,a..b, u:{SECRET}@x, host:port, ::1/128, *, münchen.de"
    assert not_understood({"no_proxy": text}) == [
        "[::1",
        "10.0.0.0/99",
        "http://x",
        "a..b",
        "(a part with @)",
        "host:port",
        "münchen.de",
    ]
    assert not_understood({}) == []


@given(st.text(), st.text())
def test_any_text(proxy: str, exceptions: str) -> None:
    """Whatever the variables hold, there is a proxy, or none, or the one error."""
    environment = {"HTTPS_PROXY": proxy, "NO_PROXY": exceptions}
    not_understood(environment)
    with contextlib.suppress(UnusableProxyError):
        choose(environment, KEYS)


def test_hosts() -> None:
    """A host has the port of its URL, or that of the scheme."""
    urls = ("https://a", "http://A.:80/x", "https://[::1]:9/")
    assert [str(host_of(url)) for url in urls] == ["a:443", "a:80", "[::1]:9"]
