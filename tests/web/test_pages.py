"""The pages as a browser gets them."""

import base64
import json
import re
import threading
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import bcrypt
import httpx
import pytest

from exporter.commands.serve_settings import PAGE_PATHS
from exporter.errors import LedgerUnavailableError
from exporter.ledger.sqlite_queries import SqliteQueries
from exporter.pages import asking
from exporter.pages.site import NAVIGATION
from exporter.web.config import WebConfig
from tests.web.conftest import Application, Make

PAGES: Final = ("/", "/flows", "/runs", "/errors", "/notifications", "/status")
HTML: Final = {"accept": "text/html,application/xhtml+xml"}
OPEN: Final = ("--web.listen-address=:10464", "--webhook.allow-unauthenticated")
"""Flags of a listener that other machines can reach."""
VOID: Final = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    """What a browser makes of a page: elements, links, and the text of each element. Its tags must be balanced."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.bodies: list[str] = []
        self.attributes: set[str] = set()
        self._open: list[str] = []
        self.feed(response.text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag != "link" or ("rel", "stylesheet") in attrs:
            self.links += [value or "" for name, value in attrs if name in {"href", "src"}]
        if tag == "pre":
            self.bodies.append("")
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """The innermost element ends."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Text of the innermost element."""
        self.text += data
        if "pre" in self._open:
            self.bodies[-1] += data


def page(application: Application, path: str, status: int = 200, **headers: str) -> Page:
    """A page, which has no script but its own one, and nothing else that a page here never has."""
    response = application.request("GET", path, headers={**HTML, **headers})
    assert response.status_code == status
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    parsed = Page(response)
    assert not {"iframe", "style", "object", "embed"} & set(parsed.tags)
    assert parsed.tags.count("script") == 1
    assert re.search(r'<script src="[./]*/static/[0-9a-f]+/local-times[.]js" defer></script>', response.text)
    assert not {name for name in parsed.attributes if name.startswith("on") or name == "style"}
    return parsed


def failed(run_id: str, *codes: str) -> str:
    """The body of a run that failed with these codes just now."""
    now = 1_000 * int(time.time())
    errors = [{"code": code, "message": f"the secret of {code}"} for code in codes]
    metrics = {
        "statusSummary": {"status": "failed", "errors": errors},
        "durationSummary": {"startedAtUTC": now - 60_000, "completedAtUTC": now - 1_000},
    }
    return json.dumps({"id": run_id, "flowId": "flow", "sandboxName": "prod", "metrics": metrics})


@pytest.mark.parametrize("path", PAGES)
def test_every_link_of_a_page_leads_somewhere(application: Application, path: str) -> None:
    """Each page has a title, a way past the navigation, and links that are answered, its stylesheet among them."""
    found = page(application, path)
    assert {"title", "main", "nav", "h1"} <= set(found.tags)
    assert found.links[0].endswith(".css")
    assert "#content" in found.links
    for link in found.links:
        target = urljoin(f"http://localhost{path}", link)
        if urlsplit(target).netloc == "localhost":
            parts = urlsplit(target)
            assert application.request("GET", f"{parts.path}?{parts.query}").status_code == 200, link


def test_navigation_lists_the_pages() -> None:
    """Each page is in the navigation, and no webhook or metrics can take its path."""
    assert tuple(item.path for item in NAVIGATION) == PAGES
    assert set(PAGES[1:]) <= set(PAGE_PATHS)


@pytest.mark.parametrize("path", [*PAGES, "/nothing"])
def test_headers(application: Application, path: str) -> None:
    """A page may load its own stylesheet and nothing else, and may be in no frame. HEAD has the same headers."""
    answers = [application.request(method, path, headers=HTML) for method in ("GET", "HEAD")]
    for response in answers:
        assert response.headers["content-security-policy"] == (
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; base-uri 'none'; "
            "form-action 'self'; frame-ancestors 'none'"
        )
    assert answers[0].headers == answers[1].headers
    assert answers[0].status_code == answers[1].status_code


def test_the_stylesheet_is_kept(application: Application) -> None:
    """The stylesheet's address has a digest, so browsers may keep it. An address of another version is not found."""
    address = urlsplit(urljoin("http://localhost/errors", page(application, "/errors").links[0])).path
    response = application.request("GET", address)
    assert response.headers["content-type"] == "text/css; charset=utf-8"
    assert "immutable" in response.headers["cache-control"]
    assert application.request("GET", address.replace("/style", "0/style")).status_code == 404
    assert "http" not in response.text.lower()


def test_errors(application: Application) -> None:
    """The list has each code with what it means, how many runs of a day reported it, and since when."""
    assert "No run in the ledger reported an error code." in page(application, "/errors").text
    for number, codes in enumerate([("CONNECTOR-1001-500",), ("CONNECTOR-1001-500", "INGEST-1205-400")]):
        application.post(failed(f"run-{number}", *codes))
    response = application.request("GET", "/errors")
    rows = [row.split("</tr>")[0] for row in response.text.split('<tr id="code-')[1:]]
    cells = {row.partition('"')[0]: row for row in rows}
    assert set(cells) == {"CONNECTOR-1001-500", "INGEST-1205-400"}
    assert '"number">2</td>' in cells["CONNECTOR-1001-500"]
    assert '"number">1</td>' in cells["INGEST-1205-400"]
    assert all(row.count("<time datetime=") == 3 and row.count("<p") == 2 for row in rows)
    assert all("1 flow<" in row for row in rows)
    assert "the secret of" not in response.text


HOSTILE: Final = (
    b'{"x": "</pre></details><script>alert(1)</script><img src=x onerror=alert(1)>"}',
    b'{"x": "{{ 7 * 7 }} {% include \'x\' %} &lt;b&gt; &#0;"}',
    '{"x": "\u202egnirts\u2066 \u200b"}'.encode(),
    b'{"x": "nul \x00 and \x1b[31m and \xff\xfe"}',
    b"\x00\x01\x02 not JSON",
    b'{"x": "' + b"y" * 90_000 + b'"}',
    b'{"x": "' + b"<" * 90_000 + b'"}',
    b"[" * 20_000,
)


@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_bodies(application: Application, body: bytes) -> None:
    """A body is shown as it was received, at most 64 KiB of it. It becomes no markup, and hides nothing."""
    assert application.post(body).status_code == 200
    found = page(application, "/notifications")
    (shown,) = found.bodies
    assert not set("\x00\x1b\u202e\u2066\u200b") & set(found.text)
    assert ("The first 64 KiB of" in found.text) == (len(body) > 64 * 1024)
    (kept,) = application.bodies()
    if kept.isascii() and kept.decode().isprintable():
        # HTML leaves out the first line feed of a `pre`, and this parser does not.
        assert shown.removeprefix("\n") == kept[: 64 * 1024].decode()


def test_a_hostile_event_code(application: Application) -> None:
    """An event code of a stranger is text, cut to a line."""
    code = '"><script>alert(1)</script>' + "x" * 1000
    application.post('{"x": 1}', **{"x-adobe-event-code": code})
    found = page(application, "/notifications")
    assert '"><script>' in found.text
    assert "x" * 100 not in found.text


def test_notifications_have_reasons(application: Application) -> None:
    """Each entry has the word that logs and metrics have, and a sentence. The newest is first."""
    bodies = ['{"x": 1}', "nothing", '{"id": "r", "metrics": {"statusSummary": {"status": "success"}}}']
    for body in bodies:
        application.post(body)
    found = page(application, "/notifications").text
    words = ("no_flow_id", "unreadable", "unknown_shape")
    assert all(word in found for word in words)
    assert sorted(words, key=found.index) == list(words)
    assert "It is not a JSON object." in found


def test_a_long_list_goes_on(application: Application) -> None:
    """The list of notifications has pages, which together have every entry once."""
    for number in range(45):
        application.post(json.dumps({"number": number}))
    path, numbers = "/notifications", []
    while path:
        found = page(application, path)
        numbers += [json.loads(body)["number"] for body in found.bodies]
        following = [link for link in found.links if "cursor=" in link]
        path = following[0].removeprefix(".") if following else ""
    assert numbers == list(range(44, -1, -1))


@pytest.mark.parametrize("cursor", ["x", "", "%00", "a" * 5000, "%f0%9f%98%80"])
def test_a_made_up_cursor(application: Application, cursor: str) -> None:
    """An address that somebody changed has a page that says so."""
    assert "from its beginning" in page(application, f"/notifications?cursor={cursor}", 400).text


@pytest.mark.parametrize("path", ["/errors", "/notifications"])
def test_unknown_parameters_are_ignored(application: Application, path: str) -> None:
    """Mail programs add parameters to links, which do no harm."""
    page(application, f"{path}?utm_source=mail&utm_source=<script>")


@pytest.mark.parametrize(
    ("flags", "mode"),
    [
        ((), "full"),
        (OPEN, "summary"),
        (("--web.pages=summary",), "summary"),
        ((*OPEN, "--web.pages=full"), "full"),
    ],
)
def test_only_full_pages_show_what_others_wrote(make: Make, flags: tuple[str, ...], mode: str) -> None:
    """A page that anybody may open has reasons and no bodies, and no event code that Adobe does not document."""
    application = make(*flags)
    application.post('{"private": "value"}', **{"x-adobe-event-code": "private_code"})
    application.post(failed("r", "CONNECTOR-1001-500"))
    found = page(application, "/notifications")
    assert "other_topic" in found.text
    assert ("private" in found.text) == (mode == "full")
    assert bool(found.bodies) == (mode == "full")
    assert "CONNECTOR-1001-500" in page(application, "/errors").text


def test_pages_can_be_off(make: Make) -> None:
    """Without pages only `/` is there, which names the routes."""
    application = make("--web.pages=off")
    for path in ("/errors", "/notifications"):
        response = application.request("GET", path, headers=HTML)
        assert (response.status_code, response.text) == (404, "not found\n")
    assert not {"./errors", "./notifications"} & set(page(application, "/").links)


def test_pages_need_the_password(make: Make) -> None:
    """Passwords of the web configuration cover pages and stylesheet, and with them pages on an open port are full."""
    application = make(*OPEN)
    application.post('{"private": "value"}')
    stylesheet = urljoin("/errors", page(application, "/errors").links[0])
    users = {"somebody": bcrypt.hashpw(b"made up", bcrypt.gensalt(4)).decode()}
    application._app.use_web_config(WebConfig(users=users))
    for path in (*PAGES, stylesheet, "/nothing"):
        assert application.request("GET", path, headers=HTML).status_code == 401
    credentials = "Basic " + base64.b64encode(b"somebody:made up").decode()
    assert "private" in page(application, "/notifications", authorization=credentials).text


@pytest.mark.parametrize("path", PAGES)
def test_pages_are_kept_from_other_sites(application: Application, path: str) -> None:
    """Without passwords a page is not read under a foreign name, and a link from another site to it works."""
    assert application.request("GET", path, headers={"host": "evil.example"}).status_code == 421
    headers = {**HTML, "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert application.request("GET", path, headers=headers).status_code == 200


def test_links_have_the_external_url(make: Make) -> None:
    """Behind a proxy links lead to the address that people know, and the stylesheet is beside the page."""
    application = make("--web.external-url=https://monitor.example/aep/")
    stylesheet, script, *links = page(application, "/errors").links
    assert stylesheet.startswith("./static/")
    assert script.startswith("./static/")
    assert [link for link in links if link != "#content"] == [
        "https://monitor.example/aep/",
        *(f"https://monitor.example/aep{path}" for path in PAGES),
    ]


@pytest.mark.parametrize("path", ["/nothing", "/errors/", "/a/b/c", "/%3Cscript%3E", "//evil.example/"])
def test_a_page_that_does_not_exist(application: Application, path: str) -> None:
    """A browser gets a page that says so, with working links. Other clients get a line of text."""
    url = f"http://localhost{path}"
    found = page(application, url, 404)
    assert "There is no page with this address." in found.text
    assert all(urlsplit(urljoin(url, link)).netloc == "localhost" for link in found.links)
    assert application.request("GET", url).text == "not found\n"
    assert application.request("GET", url, headers={"accept": "*/*"}).text == "not found\n"


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Questions to the ledger wait until this is set."""
    gate = threading.Event()

    def wait(*_: Any) -> tuple[()]:
        gate.wait(60)
        return ()

    monkeypatch.setattr(SqliteQueries, "codes", wait)
    yield gate
    gate.set()


def test_slow_pages_hold_up_nothing_else(make: Make, held: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the ledger answers no page, pages get 503 with Retry-After. Deliveries and scrapes get their answers."""
    monkeypatch.setattr(asking.Asking.__init__, "__kwdefaults__", {"wait": 0.05, "answer": 0.2})
    application = make()
    for _ in range(asking.AT_ONCE + 1):
        response = application.request("GET", "/errors", headers=HTML)
        assert (response.status_code, response.headers["retry-after"]) == (503, "5")
        assert "try again" in Page(response).text
    assert application.post(failed("r", "CONNECTOR-1001-500")).status_code == 200
    assert "aep_flow_runs_total" in application.metrics()
    held.set()


def test_a_ledger_that_can_not_be_read(application: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page says what is wrong, as the log does, and asks to come back."""

    def fail(*_: object) -> None:
        raise LedgerUnavailableError("the disk is gone <b>")

    monkeypatch.setattr(SqliteQueries, "codes", fail)
    assert "The disk is gone <b>." in page(application, "/errors", 503).text
