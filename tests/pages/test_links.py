"""Addresses that pages link to."""

from urllib.parse import parse_qs, unquote, urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model import FlowKind
from exporter.pages.links import PLATFORM, OwnLinks, experience_platform, host_of_url, own_links, relative_root

ORG = "ABC123@AdobeOrg"
HERE = "https://experience.adobe.com/#/@acme/sname:prod/platform/"
HOSTILE = (
    '"><script>alert(1)</script>',
    "'onclick='x",
    "a/../../b",
    "../..",
    "a?b=c&d#e",
    "a\\b",
    "a b\tc\nd",
    "nul\x00",
    "%2e%2e",
    "\u202eright to left",
    "Größe 漢字 🙂",
    "javascript:alert(1)",
    "//evil.example/",
    "@evil.example",
)


@pytest.mark.parametrize(
    ("kind", "run_id", "expected"),
    [
        (FlowKind.SOURCE, "r", f"{HERE}source/dataflows/f/activity/r"),
        (FlowKind.SOURCE, "", f"{HERE}source/dataflows/f/activity"),
        *(
            (
                kind,
                "r",
                f"{HERE}monitoring/dashboard?pageType={kind.value}&flowId=f&runId=r&us_redirect=true",
            )
            for kind in (FlowKind.DESTINATION, FlowKind.PROFILE, FlowKind.IDENTITY)
        ),
        (
            FlowKind.DESTINATION,
            "",
            f"{HERE}monitoring/dashboard?pageType=destination&flowId=f&us_redirect=true",
        ),
        (FlowKind.SEGMENT, "r", f"{HERE}segment/overview"),
        (FlowKind.QUERY, "r", f"{HERE}home"),
        (FlowKind.UNKNOWN, "r", f"{HERE}home"),
    ],
)
def test_each_kind_has_its_page(kind: FlowKind, run_id: str, expected: str) -> None:
    """A run of each kind leads to the page that shows it in Experience Platform."""
    assert experience_platform(kind, owner="acme", sandbox="prod", flow_id="f", run_id=run_id) == expected


def test_the_owner_can_be_an_organisation() -> None:
    """An organisation's id and a sandbox with a blank are encoded."""
    link = experience_platform(FlowKind.SEGMENT, owner=ORG, sandbox="dev emea")
    assert link == "https://experience.adobe.com/#/@ABC123%40AdobeOrg/sname:dev%20emea/platform/segment/overview"


@pytest.mark.parametrize(
    "given_values",
    [
        {"owner": ""},
        {"sandbox": ""},
        {"flow_id": ""},
        {"flow_id": ".."},
        {"flow_id": "x" * 4096},
        {"run_id": "."},
        {"run_id": "\ud800"},
        {"sandbox": ".."},
    ],
)
def test_no_link_leads_nowhere(given_values: dict[str, str]) -> None:
    """Where Adobe can have no page for it, there is no link."""
    values = {"owner": "acme", "sandbox": "prod", "flow_id": "f", "run_id": "r", **given_values}
    assert experience_platform(FlowKind.SOURCE, **values) is None


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("kind", FlowKind)
def test_a_hostile_value_stays_where_it_belongs(kind: FlowKind, text: str) -> None:
    """A value from a payload changes neither the host nor the shape of Experience Platform's address."""
    link = experience_platform(kind, owner=text, sandbox=text, flow_id=text, run_id=text)
    plain = experience_platform(kind, owner="o", sandbox="s", flow_id="f", run_id="r")
    assert link is not None
    assert plain is not None
    assert link.startswith(PLATFORM)
    assert link.isascii()
    assert not set("\"'<> \\\n\t\x00") & set(link)
    for mark in "/?&#:=":
        assert link.count(mark) == plain.count(mark), mark


@given(st.text(max_size=60), st.text(max_size=60))
def test_own_links_can_be_read_back(flow_id: str, sandbox: str) -> None:
    """The page of a flow has the flow and the sandbox in its address, unchanged."""
    link = OwnLinks("https://monitor.example/aep/").flow(flow_id, sandbox)
    if flow_id in {"", ".", ".."}:
        assert link is None
        return
    assert link is not None
    parts = urlsplit(link)
    assert (parts.scheme, parts.netloc, parts.fragment) == ("https", "monitor.example", "")
    assert parts.path.startswith("/aep/flows/")
    assert parts.path.count("/") == 3
    assert unquote(parts.path.rpartition("/")[2]) == flow_id
    assert parse_qs(parts.query, keep_blank_values=True) == {"sandbox": [sandbox]}


@pytest.mark.parametrize("text", [*HOSTILE, "x" * 4096])
def test_the_page_of_a_run_is_one_segment(text: str) -> None:
    """Whatever a run's id is, its page is below /runs/."""
    link = OwnLinks("./").run(text)
    assert link is not None
    assert urljoin("http://localhost/errors", link).startswith("http://localhost/runs/")
    assert unquote(link.removeprefix("./runs/")) == text


@pytest.mark.parametrize("text", ["", ".", "..", "\ud800", "漢" * 4096])
def test_some_ids_have_no_page(text: str) -> None:
    """An id that no browser would send unchanged, or that is too long for an address, has no link."""
    assert OwnLinks("./").run(text) is None
    assert OwnLinks("./").flow(text, "prod") is None


@pytest.mark.parametrize("path", ["/", "/errors", "/flows/a%2Fb", "/runs/", "/a/b/c"])
@pytest.mark.parametrize("prefix", ["", "/monitor", "/a/b"])
def test_relative_links_work_behind_any_prefix(path: str, prefix: str) -> None:
    """A proxy may show the pages below a path that this program does not know."""
    page = f"https://proxy.example{prefix}{path}"
    assert urljoin(page, own_links(None, path).page("/errors")) == f"https://proxy.example{prefix}/errors"


def test_with_an_external_url_links_are_absolute() -> None:
    """The external URL and its path come before every link."""
    links = own_links("https://monitor.example/aep", "/errors")
    assert links.page("/") == "https://monitor.example/aep/"
    assert links.run("r") == "https://monitor.example/aep/runs/r"
    assert relative_root("/errors") == "./"


def test_a_path_of_slashes_makes_no_long_links() -> None:
    """The page that answers a made-up path stays small."""
    assert relative_root("/" * 60_000) == "/"


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://Monitor.example:8443/aep", "monitor.example"),
        ("http://[::1]:9000", "[::1]"),
        ("http://monitor.example.", "monitor.example"),
    ],
)
def test_the_host_of_a_url(url: str, host: str) -> None:
    """The host has the form that it has in a request's Host header."""
    assert host_of_url(url) == host
