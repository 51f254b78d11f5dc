"""Alertmanager, a receiver of its pages, and the project's rules with times that fit a scrape every second."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import yaml

from tests.system.processes import Process, free_port, http_server, program

RULES = Path(__file__).parents[2] / "prometheus"
FASTER = 30
"""Tests scrape every second instead of every 30 s, so all times of the rules are divided by this."""
EVALUATIONS = "test:evaluations"
"""A series that each group of the rules has in the tests: a sample for each evaluation of the group."""

_DURATION = re.compile(r"(?<![\w.])(\d+)(s|m|h|d)(?!\w)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def faster(text: str) -> str:
    """Rules or a configuration with every duration divided by FASTER."""
    return _DURATION.sub(lambda found: f"{int(found[1]) * _SECONDS[found[2]] * 1000 // FASTER}ms", text)


def fast_rules(folder: Path) -> Path:
    """Write the project's rules, made faster, into a folder. Each group also records its evaluations."""
    folder.mkdir()
    for name in ("alerts.yml", "rules.yml"):
        rules = yaml.safe_load(faster((RULES / name).read_text(encoding="utf-8")))
        for group in rules["groups"]:
            group["rules"].append({"record": EVALUATIONS, "expr": "vector(1)", "labels": {"group": group["name"]}})
        (folder / name).write_text(yaml.safe_dump(rules, sort_keys=False), encoding="utf-8")
    return folder


class Paged:
    """The receiver of pages. It holds every notification that Alertmanager sent."""

    def __init__(self) -> None:
        self.url = ""
        self._lock = threading.Lock()
        self._pages: list[dict[str, Any]] = []

    def take(self, page: dict[str, Any]) -> None:
        """Add a page that arrived."""
        with self._lock:
            self._pages.append(page)

    def flows(self, alertname: str, status: str) -> list[str]:
        """The flow of each alert in each page that has this name and status ("firing" or "resolved")."""
        return [alert["labels"].get("flow_id", "") for alert in self.alerts(alertname, status)]

    def alerts(self, alertname: str, status: str) -> list[dict[str, Any]]:
        """Each alert in each page that has this name and status, as Alertmanager sent it."""
        with self._lock:
            return [
                alert
                for page in self._pages
                for alert in page["alerts"]
                if (alert["labels"]["alertname"], alert["status"]) == (alertname, status)
            ]


@contextmanager
def paged() -> Iterator[Paged]:
    """Run a receiver of pages."""
    somebody = Paged()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            somebody.take(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            """Log nothing."""

    with http_server(Handler) as url:
        somebody.url = url + "/"
        yield somebody


class Alertmanager(Process):
    """Alertmanager with the project's example configuration, made faster. It sends all pages to one receiver."""

    def __init__(self, folder: Path, receiver: str, *, path: str | None = None) -> None:
        super().__init__(folder, "alertmanager")
        self.port = free_port()
        config = folder / "alertmanager.yml"
        text = faster((RULES / "alertmanager.yml").read_text(encoding="utf-8"))
        config.write_text(re.sub(r"url: .*", f"url: {receiver}", text), encoding="utf-8")
        self.start(
            path or program("prometheus-alertmanager"),
            f"--config.file={config}",
            f"--storage.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--cluster.listen-address=",
            "--log.level=warn",
        )
        self.until_ready(f"http://127.0.0.1:{self.port}/-/ready")
