"""Every page in a real browser: its links, its accessibility, its width, and what it does with hostile texts."""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta, timezone
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Page

from tests.system.browser import (
    DESK,
    HEIGHT,
    NARROW,
    NARROWEST,
    PLATFORM,
    Crawl,
    Theme,
    Watched,
    behind_prefix,
    overflow,
    shape,
    violations,
    watched,
)
from tests.system.organisation import HOSTILE_FLOW_PAGE, HOSTILE_RUN_PAGE, PAGES, TOKEN
from tests.system.processes import PATIENCE, Exporter, until

PREFIX = "/monitoring/aep"
HOSTILE_PAGES = (HOSTILE_FLOW_PAGE, HOSTILE_RUN_PAGE, "/", "/flows", "/runs", "/notifications", "/status")
KEYBOARD_PAGES = (
    "/",
    "/flows",
    "/flows/orders?sandbox=prod",
    "/runs?limit=20",
    "/runs/orders-failed-3-of-4",
    "/errors",
    "/notifications",
    "/status",
)
LOCAL = re.compile(r" \([^()]* here\)")
CONTRAST = ("color-contrast",)
AXE_RUNS: Final[tuple[tuple[int, Theme, tuple[str, ...]], ...]] = (
    (DESK, "light", ()),
    (DESK, "dark", CONTRAST),
    (NARROW, "dark", ()),
)
"""Widths and themes, and the rules of axe-core that are applied. Without rules it is all of them."""
FOCUSABLE = "a[href], summary, input:not([type=hidden]), select, button"


@pytest.fixture(scope="module")
def crawl(browser: Browser, organisation: Exporter) -> Crawl:
    """All pages that links lead to from `/`."""
    crawl = Crawl(organisation.url + "/")
    opened = Watched(browser)
    crawl.run(opened)
    opened.close()
    return crawl


@pytest.fixture(scope="module")
def samples(crawl: Crawl, organisation: Exporter) -> list[str]:
    """Pages that differ much from each other, and one of each further kind that a link leads to."""
    known = {urlsplit(shape(path)).path for path in PAGES.values()}
    further = [url for url in crawl.samples() if urlsplit(shape(url)).path not in known]
    return [*(organisation.url + path for path in PAGES.values()), *further]


def check_links(crawl: Crawl) -> None:
    """Check that no link leads nowhere, and that the only others that links lead to are Experience Platform's pages."""
    assert {url: status for url, status in crawl.opened.items() if status != 200} == {}
    assert crawl.faults == []
    assert crawl.dangling == []
    assert [link for link in crawl.outward if not link.target.startswith(PLATFORM)] == []
    assert crawl.outward
    for url in crawl.platform[:20]:
        answer = httpx.get(url, timeout=PATIENCE)
        assert (answer.status_code, answer.headers["location"].startswith(PLATFORM)) == (302, True), url
    shapes = {urlsplit(shape(url)).path.removeprefix(PREFIX) for url in crawl.html}
    assert {"/", "/flows", "/flows/*", "/runs", "/runs/*", "/errors", "/notifications", "/status"} <= shapes


def test_every_link_leads_somewhere(crawl: Crawl) -> None:
    """From the first page on each link leads to a page, each fragment to a part of it, and no page reports an error."""
    check_links(crawl)


@pytest.mark.parametrize("is_absolute", [True, False], ids=["external-url", "relative"])
def test_every_link_leads_somewhere_behind_a_prefix(
    browser: Browser, organisation: Exporter, is_absolute: bool
) -> None:
    """The same is true behind a proxy that takes a prefix off the path, with --web.external-url and without it."""
    ports = [organisation.port]
    with behind_prefix(lambda: ports[-1], PREFIX) as url, watched(browser) as opened:
        crawl = Crawl(url + "/", of_a_shape=1)
        if is_absolute:
            flags = (f"--web.external-url={url}", "--series.hold=0s", f"--webhook.token={TOKEN}")
            with Exporter(organisation.folder, *flags) as second:
                ports.append(second.port)
                crawl.run(opened)
                check_links(crawl)
        else:
            crawl.run(opened)
            check_links(crawl)
    assert [address for address in opened.requests if not address.startswith((url + "/", "data:"))] == []


def test_pages_are_accessible(browser: Browser, samples: list[str]) -> None:
    """axe-core finds nothing wrong with any page, light and dark, on a desk and on a telephone."""
    found: list[str] = []
    with watched_pages(browser) as opened:
        for url in samples:
            opened.open(url)
            open_details(opened.page)
            for width, theme, rules in AXE_RUNS:
                opened.page.set_viewport_size({"width": width, "height": HEIGHT})
                opened.page.emulate_media(color_scheme=theme)
                found += [f"{theme}, {width}: {violation}" for violation in violations(opened.page, rules)]
    assert found == []


def test_pages_fit_a_telephone(browser: Browser, samples: list[str]) -> None:
    """No page has to be scrolled sideways, also where everything that is folded is open."""
    found: list[str] = []
    # Local times make lines longer.
    with watched_pages(browser, timezone_id="Asia/Tokyo") as opened:
        for url in samples:
            opened.open(url)
            for width in (DESK, NARROW, NARROWEST):
                opened.page.set_viewport_size({"width": width, "height": HEIGHT})
                found += overflow(opened.page)
                open_details(opened.page)
                found += overflow(opened.page)
    assert found == []


def test_the_keyboard_reaches_everything(browser: Browser, organisation: Exporter) -> None:
    """Tab reaches every link, form field and folded part, one after the other, and shows where it is.

    The bars of a strip are left out. The table beside it leads to the same runs, and a hundred stops would be too many.
    """
    with watched_pages(browser) as opened:
        for path in KEYBOARD_PAGES:
            opened.open(organisation.url + path)
            page = opened.page
            everything = page.locator(FOCUSABLE).evaluate_all(
                """all => all.filter(each => each.checkVisibility() && !each.matches(".strip a"))
                    .map((each, number) => { each.dataset.test = number; }).length"""
            )
            reached = list(tab_stops(page, everything + 20))
            assert reached[0]["text"] == "Skip to the content"
            numbers = [stop["number"] for stop in reached if stop["number"] is not None]
            assert len(numbers) == everything
            assert numbers == sorted(numbers, key=int), "the order of Tab is that of the page"
            assert [stop for stop in reached if not stop["isShown"]] == []


def test_the_skip_link_skips(browser: Browser, organisation: Exporter) -> None:
    """Enter on the skip link leads past the navigation."""
    with watched(browser) as opened:
        opened.open(organisation.url + "/")
        opened.page.keyboard.press("Tab")
        opened.page.keyboard.press("Enter")
        opened.page.keyboard.press("Tab")
        assert opened.page.evaluate("document.querySelector('main').contains(document.activeElement)")


def test_the_keyboard_leads_from_home_to_the_message(browser: Browser, organisation: Exporter) -> None:
    """Without a mouse: from the first page to the failing flow, its run, and the body as it was received."""
    with watched(browser) as opened:
        page = opened.page
        opened.open(organisation.url + "/")
        tab_to(page, "Nightly orders")
        page.keyboard.press("Enter")
        page.wait_for_url("**/flows/orders?*")
        assert page.get_by_text("the path /out/orders/2026-11-27 does not exist").first.is_visible()
        run = page.locator("main a[href*='runs/orders-failed-3-of-4']").first.inner_text()
        tab_to(page, run)
        page.keyboard.press("Enter")
        page.wait_for_url("**/runs/orders-failed-3-of-4")
        folded = page.locator("details", has=page.locator("pre")).last
        tab_to(page, folded.locator("summary").inner_text())
        page.keyboard.press("Enter")
        assert folded.locator("pre").is_visible()


@pytest.mark.parametrize("path", HOSTILE_PAGES)
def test_hostile_texts_are_only_shown(browser: Browser, organisation: Exporter, path: str) -> None:
    """Names, ids and messages add no element and run no script."""
    with watched(browser) as opened:
        assert opened.open(organisation.url + path) == 200
        open_details(opened.page)
        page = opened.page
        assert page.locator("#injected, img, iframe, object, embed, [onerror], [onclick], [style]").count() == 0
        assert page.locator("script").count() == 1
        sources = page.locator("script").evaluate_all("all => all.map(each => each.src)")
        assert all(source.startswith(organisation.url + "/static/") for source in sources)


@pytest.mark.parametrize("path", [HOSTILE_FLOW_PAGE, HOSTILE_RUN_PAGE])
def test_hostile_messages_can_be_read(browser: Browser, organisation: Exporter, path: str) -> None:
    """A message with HTML and control characters is on the page as text, with escapes for what can't be seen."""
    with watched(browser) as opened:
        opened.open(organisation.url + path)
        text = opened.page.locator("main").inner_text()
        assert "<script>alert('message')</script><img src=x onerror=alert(1)>" in text
        assert "<b id=injected>bold</b> {{ 7 * 7 }}" in text
        assert re.search(r"NUL \\(u0000|x00|0) bell \\(u0007|x07|a) left \\u202e over", text, re.IGNORECASE)
        assert "second line" in text
        assert not set("\u0000\u0007\u202e") & set(text)


@pytest.mark.parametrize("path", HOSTILE_PAGES)
def test_names_from_right_to_left_are_isolated(browser: Browser, organisation: Exporter, path: str) -> None:
    """Letters that are written from right to left have an element of their own direction, so they turn no neighbour."""
    with watched(browser) as opened:
        opened.open(organisation.url + path)
        isolated = opened.page.evaluate(
            """() => {
                const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
                const found = [];
                while (texts.nextNode()) {
                    if (/[\u0590-\u08ff]/.test(texts.currentNode.data)) {
                        const holder = texts.currentNode.parentElement;
                        const isolate = ["isolate", "plaintext", "isolate-override"].includes(
                            getComputedStyle(holder).unicodeBidi);
                        found.push([holder.outerHTML.slice(0, 200), isolate]);
                    }
                }
                return found;
            }"""
        )
        assert [html for html, is_isolated in isolated if not is_isolated] == []
        if path in {HOSTILE_FLOW_PAGE, "/flows", "/"}:
            assert isolated != []


def test_a_page_says_the_same_without_scripts(browser: Browser, samples: list[str]) -> None:
    """Without JavaScript the same words are on each page. With it, times are added in the reader's own time zone."""
    with (
        watched_pages(browser, timezone_id="Asia/Tokyo") as tokyo,
        watched_pages(browser, java_script_enabled=False, timezone_id="Asia/Tokyo") as without,
    ):
        local_times = 0
        for url in samples:
            # What is said of the present differs if a second or a minute begins between the two requests.
            until(lambda: same_words(tokyo, without, url), f"{url} to say the same without scripts")  # noqa: B023
            local_times += len(LOCAL.findall(tokyo.page.locator("body").inner_text()))
            titles = tokyo.page.locator("time").evaluate_all("all => all.map(each => each.title)")
            assert all(title.endswith("in your time zone") for title in titles)
        assert local_times > 0


def test_local_times_are_right(browser: Browser, organisation: Exporter) -> None:
    """The added time is that of the reader's zone."""
    with watched(browser, timezone_id="Asia/Tokyo", locale="en-GB") as opened:
        opened.open(organisation.url + "/runs/orders-failed-3-of-4")
        shown = opened.page.locator("time.local-too").evaluate_all(
            "all => all.map(each => [each.dateTime, each.nextElementSibling?.innerText])"
        )
        assert shown
        for stamp, text in shown:
            moment = datetime.fromisoformat(stamp).astimezone(timezone(timedelta(hours=9)))
            assert text == f"({moment:%H:%M} here)"


def watched_pages(browser: Browser, **options: Any) -> AbstractContextManager[Watched]:
    """As `watched`. An address that does not exist is among the samples, and its status is no fault."""
    return watched(browser, tolerated=("404 (Not Found)",), **options)


def open_details(page: Page) -> None:
    """Unfold everything that is folded."""
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")


def tab_stops(page: Page, most: int) -> Iterator[dict[str, Any]]:
    """What has the focus after each press of Tab, until it begins again, at most so many."""
    for _ in range(most):
        page.keyboard.press("Tab")
        stop = page.evaluate(
            """() => {
                const focused = document.activeElement;
                if (focused === null || focused === document.body || focused.dataset.reached) return null;
                focused.dataset.reached = "yes";
                const style = getComputedStyle(focused);
                const box = focused.getBoundingClientRect();
                return {
                    text: focused.innerText ?? focused.textContent,
                    number: focused.dataset.test ?? null,
                    html: focused.outerHTML.slice(0, 200),
                    isShown: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2
                        && box.bottom > 0 && box.top < innerHeight,
                };
            }"""
        )
        if stop is None:
            return
        yield stop


def tab_to(page: Page, text: str) -> None:
    """Press Tab until something with this text has the focus."""
    seen = []
    for stop in tab_stops(page, 400):
        seen.append(stop["text"])
        if text.strip() in (stop["text"] or ""):
            return
    raise AssertionError(f"Tab does not reach {text!r}, but {seen}")


def same_words(with_scripts: Watched, without: Watched, url: str) -> bool:
    """Whether both show the same at an address, but for the local times."""
    with_scripts.open(url)
    without.open(url)
    texts = [each.page.locator("body").inner_text() for each in (with_scripts, without)]
    return LOCAL.sub("", texts[0]) == texts[1]
