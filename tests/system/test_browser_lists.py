"""Lists in a real browser: going on to older runs while new ones arrive, and filters."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.system.browser import watched
from tests.system.organisation import HOUR, MINUTE, TOKEN, flow_run, post_all
from tests.system.processes import Exporter

RUNS = 70
CODE = "INGEST-1205-400"


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Exporter]:
    """An exporter with runs of two flows. Each third one failed."""
    with Exporter(tmp_path / "exporter", "--series.hold=0s", f"--webhook.token={TOKEN}") as running:
        tell(running, range(RUNS), int(time.time() * 1000) - 3 * HOUR)
        yield running


def tell(exporter: Exporter, numbers: range, ended_at: int) -> None:
    """Post runs with these numbers, one a minute, the last of which ended at a time."""
    post_all(
        exporter,
        [
            flow_run(
                "even flow" if number % 2 == 0 else "odd/flow",
                f"run-{number}",
                "success" if number % 3 else "failed",
                ended_at - (numbers[-1] - number) * MINUTE,
                sandbox="dev emea" if number % 2 else "prod",
                errors=() if number % 3 else ((CODE, "No such field."),),
            )
            for number in numbers
        ],
    )


def shown_runs(page: Page) -> list[str]:
    """The runs in the list, by the links to their pages."""
    links = page.locator("tbody a[href*='runs/run-']").evaluate_all("all => all.map(each => each.pathname)")
    return list(dict.fromkeys(path.rpartition("/")[2] for path in links))


def test_no_run_is_missing_or_repeated_while_runs_arrive(browser: Browser, filled: Exporter) -> None:
    """Whoever goes on to older runs sees each run once, and the runs that came since are on the first page."""
    with watched(browser) as opened:
        page = opened.page
        opened.open(filled.url + "/runs?limit=20")
        seen = shown_runs(page)
        arrived = range(RUNS, RUNS + 10)
        while page.get_by_role("link", name="Older runs").count():
            # Some are newer than all others, and some have ended long ago.
            tell(filled, arrived, int(time.time() * 1000) - (HOUR if arrived[0] % 20 else 90 * MINUTE))
            arrived = range(arrived.stop, arrived.stop + 10)
            page.get_by_role("link", name="Older runs").click()
            seen += shown_runs(page)
        assert seen == [f"run-{number}" for number in reversed(range(RUNS))]
        page.get_by_role("link", name="Newest runs").click()
        assert not set(shown_runs(page)) & set(seen)


def test_the_form_filters(browser: Browser, filled: Exporter) -> None:
    """The form leads to the runs that it names, a filter can be taken away, and the next page keeps the others."""
    with watched(browser) as opened:
        page = opened.page
        opened.open(filled.url + "/runs?limit=10")
        page.get_by_label("Outcome").select_option("failed")
        page.get_by_label("Sandbox").fill("dev emea")
        page.get_by_label("Error code").fill(CODE)
        page.get_by_label("Flow").fill("odd/flow")
        page.get_by_role("button", name="Filter").click()
        expected = [f"run-{number}" for number in reversed(range(RUNS)) if number % 2 and number % 3 == 0]
        assert shown_runs(page) == expected[:10]
        page.get_by_role("link", name="Older runs").click()
        assert shown_runs(page) == expected[10:]
        page.get_by_role("link", name="odd/flow").filter(has_text="remove").click()
        assert page.get_by_label("Flow").input_value() == ""
        assert page.get_by_label("Sandbox").input_value() == "dev emea"


def test_the_form_works_with_the_keyboard_and_without_scripts(browser: Browser, filled: Exporter) -> None:
    """Enter in a field of the form sends it."""
    with watched(browser, java_script_enabled=False) as opened:
        page = opened.page
        opened.open(filled.url + "/runs")
        page.get_by_label("Sandbox").fill("prod")
        page.get_by_label("Sandbox").press("Enter")
        page.wait_for_url("**sandbox=prod*")
        assert shown_runs(page) == [f"run-{number}" for number in reversed(range(RUNS)) if number % 2 == 0][:100]
