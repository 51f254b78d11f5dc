"""Chromium, and what can be asked of a page in it.

Chromium is Debian's. Playwright drives it, and fetches nothing.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler
from importlib import resources
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import parse_qsl, urldefrag, urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from tests.system.processes import PATIENCE, http_server, program

DESK: Final = 1180
TELEPHONE: Final = 390
NARROW: Final = 360
NARROWEST: Final = 320
"""Widths in CSS pixels."""
HEIGHT: Final = 900
PLATFORM: Final = "https://experience.adobe.com/"

_AXE: Final = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
_MAX_PAGES: Final = 400

Theme = Literal["light", "dark"]
THEMES: Final[tuple[Theme, ...]] = ("light", "dark")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run Chromium without a window. CI is root, for whom its sandbox does not work.

    While it runs, the thread must not run another event loop.
    """
    path = program("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


class Watched:
    """A page in the browser, with what went wrong in it."""

    def __init__(self, browser: Browser, width: int = DESK, tolerated: Sequence[str] = (), **options: Any) -> None:
        """Messages of the console that hold one of `tolerated` are no faults. `options`: as of `new_context`."""
        self._tolerated = tolerated
        self.context = browser.new_context(viewport={"width": width, "height": HEIGHT}, **options)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE * 1000)
        self.faults: list[str] = []
        """Messages of the console, errors of scripts, requests that failed, and dialogs."""
        self.requests: list[str] = []
        """The addresses that pages asked for."""
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.faults.append(f"{self.page.url}: {error}"))
        self.page.on("requestfailed", lambda request: self.faults.append(f"{request.url}: {request.failure}"))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("dialog", self._dialog)

    def open(self, url: str) -> int:
        """Open an address and return the status of the answer."""
        response = self.page.goto(url, wait_until="load")
        return 0 if response is None else response.status

    def close(self) -> None:
        """Close the page."""
        self.context.close()

    def _console(self, message: ConsoleMessage) -> None:
        # Chromium asks for the icon of an answer that is text and names none.
        is_icon = message.location["url"].endswith("/favicon.ico")
        if not is_icon and not any(text in message.text for text in self._tolerated):
            self.faults.append(f"{self.page.url}: {message.type}: {message.text}")

    def _dialog(self, dialog: Any) -> None:
        self.faults.append(f"{self.page.url}: a dialog: {dialog.message}")
        dialog.dismiss()


@contextmanager
def watched(browser: Browser, width: int = DESK, tolerated: Sequence[str] = (), **options: Any) -> Iterator[Watched]:
    """A page that is closed at the end. In the meantime nothing may have gone wrong in it."""
    made = Watched(browser, width, tolerated, **options)
    try:
        yield made
        assert made.faults == []
    finally:
        made.close()


class Link(NamedTuple):
    """Where a link leads, and where it is."""

    target: str
    text: str
    page: str


def links(page: Page) -> list[Link]:
    """All links of the page, also those of its charts, with absolute addresses."""
    found = page.evaluate(
        """() => [...document.querySelectorAll("a")].map(link => [
            typeof link.href === "string" ? link.href : new URL(link.href.baseVal, document.baseURI).href,
            link.textContent,
        ])"""
    )
    return [Link(target, text, page.url) for target, text in found]


def has_target(page: Page, fragment: str) -> bool:
    """Whether a fragment, as it is in the address, leads to something on the page."""
    # This is how browsers find it: the fragment as it is, else decoded.
    return bool(
        page.evaluate(
            """fragment => [fragment, decodeURIComponent(fragment)]
                .some(name => name === "" || document.getElementById(name) !== null)""",
            fragment,
        )
    )


def shape(url: str) -> str:
    """What addresses of like pages have in common: the path without ids, and the names of parameters."""
    parts = urlsplit(url)
    segments = parts.path.split("/")
    for base in ("flows", "runs"):
        if base in segments[:-1]:
            segments[segments.index(base) + 1] = "*"
    names = sorted({name for name, _ in parse_qsl(parts.query, keep_blank_values=True)})
    return "/".join(segments) + "?" + "&".join(names)


class Crawl:
    """All pages that links lead to from a first one, of each shape some, breadth first."""

    def __init__(self, home: str, of_a_shape: int = 3) -> None:
        """`home` is an address that those of all pages begin with. `of_a_shape`: pages of one shape to open."""
        self._home = home
        self._of_a_shape = of_a_shape
        self.opened: dict[str, int] = {}
        """The status of each page."""
        self.html: list[str] = []
        """The addresses of those that are HTML, in the order in which they were found."""
        self.platform: list[str] = []
        """Our own addresses that lead into Experience Platform."""
        self.outward: list[Link] = []
        self.dangling: list[Link] = []
        """Links with a fragment that is not on the page to which they lead."""
        self.faults: list[str] = []
        """What went wrong in the pages."""

    def run(self, browser: Watched) -> None:
        """Follow the links."""
        waiting = deque([self._home])
        fragments: dict[str, dict[str, Link]] = {}
        seen = {self._home}
        shapes: Counter[str] = Counter()
        while waiting and len(self.opened) < _MAX_PAGES:
            url = waiting.popleft()
            self.opened[url] = browser.open(url)
            if browser.page.evaluate("document.contentType") == "text/html":
                self.html.append(url)
            for link in links(browser.page):
                target, fragment = urldefrag(link.target)
                if not target.startswith(self._home):
                    self.outward.append(link)
                    continue
                if fragment:
                    fragments.setdefault(target, {}).setdefault(fragment, link)
                if target in seen:
                    continue
                seen.add(target)
                if urlsplit(target).path.endswith("/platform"):
                    self.platform.append(target)
                    continue
                shapes[shape(target)] += 1
                if shapes[shape(target)] <= self._of_a_shape:
                    waiting.append(target)
        for target, wanted in fragments.items():
            browser.open(target)
            self.dangling += [link for fragment, link in wanted.items() if not has_target(browser.page, fragment)]
        self.faults += browser.faults

    def samples(self) -> list[str]:
        """The first page that was found of each path, whatever its parameters are."""
        return list({shape(url).partition("?")[0]: url for url in reversed(self.html)}.values())[::-1]


def violations(page: Page, rules: Sequence[str] = ()) -> list[str]:
    """What axe-core finds wrong with the page: the rule, the element, and what to do. Without rules it applies all."""
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate(_AXE)
    # Without `preload` it does not fetch the stylesheet again.
    options = {"resultTypes": ["violations"], "preload": False, **({"runOnly": list(rules)} if rules else {})}
    result = page.evaluate("options => axe.run(options)", options)
    return [
        f"{page.url}: {violation['id']}: {node['target']}: {node['failureSummary']}"
        for violation in result["violations"]
        for node in violation["nodes"]
    ]


def overflow(page: Page) -> list[str]:
    """The elements that run out of the screen at its right side. Parts that scroll in themselves do not."""
    found: list[str] = page.evaluate(
        """() => {
            const root = document.scrollingElement;
            if (root.scrollWidth <= root.clientWidth) return [];
            const scrolls = element => element !== null && element !== root && (
                ["auto", "scroll", "hidden"].includes(getComputedStyle(element).overflowX)
                || scrolls(element.parentElement));
            return [`${root.scrollWidth} of ${root.clientWidth}`, ...[...document.body.querySelectorAll("*")]
                .filter(each => each.getBoundingClientRect().right > root.clientWidth + 0.5 && !scrolls(each))
                .slice(-3)
                .map(each => each.outerHTML.slice(0, 200))];
        }"""
    )
    return [f"{page.url}: {each}" for each in found]


@contextmanager
def behind_prefix(port: Callable[[], int], prefix: str) -> Iterator[str]:
    """Run a proxy that takes a prefix off the path, and give the address of its pages.

    `port` is called for each request and gives the port of this machine to pass it on to.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.startswith(prefix + "/"):
                self.send_error(404)
                return
            connection = HTTPConnection("127.0.0.1", port(), timeout=PATIENCE)
            try:
                passed = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
                connection.request("GET", self.path.removeprefix(prefix), headers=passed)
                response = connection.getresponse()
                content = response.read()
                self.send_response(response.status)
                for name, value in response.getheaders():
                    if name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                        self.send_header(name, value)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            finally:
                connection.close()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            """Log nothing."""

    with http_server(Handler) as url:
        yield url + prefix
