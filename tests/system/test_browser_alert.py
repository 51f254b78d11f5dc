"""From a page that Alertmanager sends to the message of the error: one click."""

import contextlib
import re
import time
from pathlib import Path

from playwright.sync_api import Browser

from exporter.pages.explanations import explain
from tests.system.alerting import Alertmanager, fast_rules, paged
from tests.system.browser import DESK, HEIGHT, TELEPHONE, watched
from tests.system.organisation import COPY, HOSTILE_ID, HOUR, TOKEN, Notice, flow_run, post_all
from tests.system.processes import Exporter, Prometheus, until

MESSAGE = "Copy from SFTP failed: the path /out/orders/2026-11-27 does not exist."
ALERTS = {"orders": "AEPFlowRunFailed", HOSTILE_ID: "AEPFlowFailingRepeatedly"}
"""The alert that fires for each flow."""


def failures(flow_id: str, count: int) -> list[Notice]:
    """So many failed runs of a flow. They ended so long ago that they are no incident of several flows."""
    now = int(time.time() * 1000)
    return [
        flow_run(flow_id, f"{flow_id}-{ago}", "failed", now - ago * HOUR, name="Orders", errors=((COPY, MESSAGE),))
        for ago in range(7, 7 + count)
    ]


def test_one_click_from_the_alert_to_the_message(browser: Browser, tmp_path: Path) -> None:
    """The link in an alert's description opens the flow, with code, message and meaning on the first screen."""
    with contextlib.ExitStack() as stack:
        exporter = stack.enter_context(
            Exporter(tmp_path / "exporter", "--series.hold=0s", f"--webhook.token={TOKEN}"),
        )
        receiver = stack.enter_context(paged())
        alertmanager = stack.enter_context(Alertmanager(tmp_path / "alertmanager", receiver.url))
        stack.enter_context(
            Prometheus(
                tmp_path / "prometheus",
                f"127.0.0.1:{exporter.port}",
                rules=fast_rules(tmp_path / "rules"),
                alertmanager=f"127.0.0.1:{alertmanager.port}",
                exporter_url=exporter.url,
            )
        )
        post_all(exporter, [*failures("orders", 1), *failures(HOSTILE_ID, 3)])
        for flow_id, alertname in ALERTS.items():
            told = until(lambda: receiver.alerts(alertname, "firing"), f"a page: {alertname}")  # noqa: B023
            description = told[0]["annotations"]["description"]
            link = next(each for each in re.findall(r"https?://\S+", description) if "/platform" not in each)
            for width in (DESK, TELEPHONE):
                with watched(browser, width) as opened:
                    assert opened.open(link) == 200
                    for text in (COPY, MESSAGE, explain(COPY).meaning):
                        box = opened.page.locator("main").get_by_text(text).first.bounding_box()
                        assert box is not None, text
                        assert box["y"] + box["height"] <= HEIGHT, text
                    assert opened.page.get_by_text(flow_id).count() > 0
