"""Programs as processes: the exporter and the real servers around it, on loopback and on free ports."""

import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import pytest

_Value = TypeVar("_Value")

JOB = "aep-flow-exporter"
EXPORTER = Path(sys.executable).with_name("aep-flow-exporter")


def until(condition: Callable[[], _Value | None], what: str, seconds: float = 20.0) -> _Value:
    """Wait for a condition to give something that is true."""
    deadline = time.monotonic() + seconds
    pause = 0.01
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        # The one place that sleeps: between two looks at a condition.
        time.sleep(pause)
        pause = min(pause * 1.5, 0.25)
    raise AssertionError(f"waited {seconds} s in vain for {what}")


def program(name: str) -> str:
    """The path of a server that the tests need; a desk without it skips, CI fails."""
    path = shutil.which(name)
    if path is None:
        message = f"{name} is not installed (see .ci/run for the packages)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return path


def run(*command: str | Path, cwd: Path | None = None, seconds: float | None = None) -> str:
    """What a program says that ends well, within so many seconds."""
    words = [str(word) for word in command]
    ran = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False, timeout=seconds)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


NEWEST = Path(os.environ.get("AEP_NEWEST") or Path(__file__).parents[2] / ".tools" / "newest")
"""Where .ci/newest unpacks."""


def newest_program(name: str, folder: str = "bin") -> str:
    """The same of Debian's newest suite, such as Prometheus 3; `folder` is one below /usr."""
    return program(str(NEWEST / "usr" / folder / name))


@contextmanager
def http_server(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """A server in this process, for as long; its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def whole_answer(connection: socket.socket) -> bytes:
    """One answer to its end; nothing where the connection was closed."""
    answer = b""
    while True:
        head, end, body = answer.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if end and len(body) >= int(length):
            return answer
        part = connection.recv(65536)
        if not part:
            return answer
        answer += part


class Process:
    """A child process with its output in a file."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.log = folder / f"{name}.log"
        self._child: subprocess.Popen[bytes] | None = None

    def start(self, *command: str | Path, environment: dict[str, str] | None = None) -> None:
        """Start it; its output is appended to the log."""
        clean = {key: value for key, value in os.environ.items() if not key.startswith("AEP_EXPORTER_")}
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={**clean, **(environment or {})},
            )

    @property
    def pid(self) -> int:
        """The child's process id."""
        assert self._child is not None
        return self._child.pid

    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._child is not None and self._child.poll() is None

    def send(self, number: int) -> None:
        """Send a signal."""
        assert self._child is not None
        self._child.send_signal(number)

    def wait(self, seconds: float = 15.0) -> int:
        """Wait for its end; the exit status."""
        assert self._child is not None
        return self._child.wait(seconds)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit status."""
        self.send(number)
        return self.wait()

    def until_ready(self, url: str) -> None:
        """Wait until an address answers 200; a process that does not come so far is ended."""
        try:
            until(lambda: self._answers(url), f"{url}: {self.output()}")
        except BaseException:
            if self.is_running():
                self.stop(signal.SIGKILL)
            raise

    def _answers(self, url: str) -> bool:
        assert self.is_running(), self.output()
        try:
            return httpx.get(url, timeout=10).status_code == 200
        except httpx.TransportError:
            return False

    def output(self) -> str:
        """What it has printed."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.is_running():
            self.stop(signal.SIGKILL)


class Exporter(Process):
    """aep-flow-exporter on a ledger of its own."""

    def __init__(self, folder: Path, *flags: str) -> None:
        super().__init__(folder, "exporter")
        self.ledger = folder / "ledger.db"
        self._flags = flags
        self.port = free_port()
        self.run()

    def run(self) -> None:
        """Start it (again) and wait until it is ready."""
        self.start(
            EXPORTER,
            "serve",
            f"--web.listen-address=127.0.0.1:{self.port}",
            f"--ledger.url=sqlite:///{self.ledger}",
            *self._flags,
        )
        self.until_ready(self.url + "/-/ready")

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, **options: Any) -> httpx.Response:
        """One request."""
        return httpx.get(self.url + path, timeout=10, **options)

    def post(self, body: bytes, path: str = "/webhook") -> int:
        """One delivery; the status."""
        return httpx.post(self.url + path, content=body, timeout=10).status_code

    def flows(self) -> str:
        """The flow half."""
        return self.get("/metrics?collect[]=flows").text


class Sender:
    """A connection that posts one delivery after the other and notes which were acknowledged."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.acknowledged: list[str] = []

    def send(self, deliveries: list[tuple[str, bytes]]) -> None:
        """Post until all are sent or the server is gone."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            for name, body in deliveries:
                connection.request("POST", "/webhook", body)
                response = connection.getresponse()
                response.read()
                if 200 <= response.status < 300:
                    self.acknowledged.append(name)
        except (OSError, http.client.HTTPException):
            return
        finally:
            connection.close()


class Prometheus(Process):
    """A Prometheus server that scrapes one target every second."""

    def __init__(
        self,
        folder: Path,
        target: str,
        *,
        protocols: str = "",
        rules: Path | None = None,
        alertmanager: str = "",
        replica: str = "",
        path: str = "",
        features: str = "exemplar-storage",
    ) -> None:
        """`replica`: a label that tells servers of a pair apart, and moves their scrapes against each other.

        `path`: another Prometheus than the one that is installed.
        """
        super().__init__(folder, "prometheus")
        self.port = free_port()
        config = folder / "prometheus.yml"
        external = f", external_labels: {{replica: {replica}}}" if replica else ""
        text = (
            f"global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s{external}}}\n"
            "scrape_configs:\n"
            f"- job_name: {JOB}\n  {protocols}\n  static_configs: [{{targets: ['{target}']}}]\n"
        )
        if rules is not None:
            text += f"rule_files: ['{rules}/*.yml']\n"
        if alertmanager:
            text += (
                "alerting:\n  alert_relabel_configs: [{action: labeldrop, regex: replica}]\n"
                f"  alertmanagers: [{{static_configs: [{{targets: ['{alertmanager}']}}]}}]\n"
            )
        config.write_text(text)
        self.start(
            path or program("prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            f"--enable-feature={features}",
            "--log.level=warn",
        )

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The result of an instant query; empty while the server is not up."""
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.port}/api/v1/query", params={"query": expression}, timeout=5)
        except httpx.TransportError:
            return []
        found: list[dict[str, Any]] = answer.json()["data"]["result"] if answer.status_code == 200 else []
        return found

    def value(self, expression: str) -> float | None:
        """The one value of an instant query."""
        found = self.query(expression)
        return float(found[0]["value"][1]) if len(found) == 1 else None

    def until_scraped(self) -> None:
        """Wait for two good scrapes from now."""
        scrapes = f'count_over_time(up{{job="{JOB}"}}[1h])'
        until(lambda: self.value(scrapes), "the first scrape", 30)
        before = self.value(scrapes) or 0
        until(lambda: (self.value(scrapes) or 0) >= before + 2, "two more scrapes")
        assert self.value(f'up{{job="{JOB}"}}') == 1, self.query("scrape_samples_scraped")


def family_values(text: str, name: str) -> dict[str, float]:
    """The samples of one name in a text exposition, by what stands in the braces."""
    pattern = re.compile(rf"^{re.escape(name)}\{{(.*)\}} (\S+)$", re.MULTILINE)
    return {labels: float(value) for labels, value in pattern.findall(text)}
