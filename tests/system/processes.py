"""Programs as processes: the exporter and the real servers around it, on loopback and on free ports.

No test may depend on how busy the machine is. Deadlines here only end a test that has failed, so they are long.
"""

import contextlib
import http.client
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar

import httpx
import pytest

_Value = TypeVar("_Value")

JOB = "aep-flow-exporter"
EXPORTER = Path(sys.executable).with_name("aep-flow-exporter")


PATIENCE = 120.0
"""Seconds to wait for something that takes one or two seconds when the machine is idle."""


def until(condition: Callable[[], _Value | None], what: str, seconds: float = PATIENCE) -> _Value:
    """Call the condition until it returns something that is true, and return that."""
    deadline = time.monotonic() + seconds
    pause = 0.01
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        # Tests sleep nowhere else.
        time.sleep(pause)
        pause = min(pause * 1.5, 0.25)
    raise AssertionError(f"waited {seconds} s in vain for {what}")


def cannot_run(reason: str) -> NoReturn:
    """Skip the test because of something that this machine lacks. In CI fail it."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def needs_root(what: str) -> None:
    """Skip the test where it does not run as root. In CI fail it."""
    if os.geteuid() != 0:
        cannot_run(f"{what} needs root")


def program(name: str) -> str:
    """The path of a program that a test needs. Where it is missing the test is skipped, and in CI it fails."""
    return shutil.which(name) or cannot_run(f"{name} is not installed (see .ci/run for the packages)")


def run(*command: str | Path, cwd: Path | None = None, seconds: float | None = None) -> str:
    """Run a program and return its standard output. It must end with status 0, within so many seconds."""
    words = [str(word) for word in command]
    ran = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False, timeout=seconds)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


NEWEST = Path(os.environ.get("AEP_NEWEST") or Path(__file__).parents[2] / ".tools" / "newest")
"""The folder into which .ci/newest unpacks."""


def newest_program(name: str, folder: str = "bin") -> str:
    """The path of a program of Debian's newest suite, such as Prometheus 3. `folder` is below /usr."""
    return program(str(NEWEST / "usr" / folder / name))


@contextlib.contextmanager
def http_server(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Run a server in this process and give its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    # The argument is how often, in seconds, the server looks whether it was shut down.
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def free_port() -> int:
    """A port that nobody listens on.

    It is below those that the kernel gives to connections (from 32768 on), so that no connection takes the port while
    a server that listened on it is restarted. It is chosen at random, because tests run in several processes.
    """
    while True:
        port = random.SystemRandom().randrange(10_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def whole_answer(connection: socket.socket) -> bytes:
    """Read one answer to its end. It is empty or cut off where the connection was closed."""
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
        """Start the program. Its output is appended to the log."""
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
        """Whether the process was started and has not ended."""
        return self._child is not None and self._child.poll() is None

    def send(self, number: int) -> None:
        """Send a signal."""
        assert self._child is not None
        self._child.send_signal(number)

    def wait(self, seconds: float = PATIENCE) -> int:
        """Wait for the end of the process and return the exit status."""
        assert self._child is not None
        return self._child.wait(seconds)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, wait for the end of the process and return the exit status."""
        self.send(number)
        return self.wait()

    def until_ready(self, url: str) -> None:
        """Wait until an address answers 200. If it does not, end the process and raise."""
        try:
            until(lambda: self._answers(url), f"{url}: {self.output()}")
        except BaseException:
            if self.is_running():
                self.stop(signal.SIGKILL)
            raise

    def _answers(self, url: str) -> bool:
        assert self.is_running(), (self._child and self._child.returncode, self.output())
        try:
            return httpx.get(url, timeout=PATIENCE).status_code == 200
        except httpx.TransportError:
            return False

    def output(self) -> str:
        """Everything that the process has printed."""
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

    def __init__(self, folder: Path, *flags: str, host: str = "127.0.0.1") -> None:
        """`host` is the one to listen on. If it is empty, that is every address of the machine."""
        super().__init__(folder, "exporter")
        self._host = host
        self.ledger = folder / "ledger.db"
        self._flags = flags
        self.port = free_port()
        self.run()

    def run(self, probe: str = "/-/ready") -> None:
        """Start the exporter, or start it again, and wait until it answers a probe with 200."""
        self.start(
            EXPORTER,
            "serve",
            f"--web.listen-address={self._host}:{self.port}",
            f"--ledger.url=sqlite:///{self.ledger}",
            *self._flags,
        )
        self.until_ready(self.url + probe)

    @property
    def url(self) -> str:
        """The address on which it listens."""
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, **options: Any) -> httpx.Response:
        """Send one GET request."""
        return httpx.get(self.url + path, timeout=PATIENCE, **options)

    def post(self, body: bytes, path: str = "/webhook") -> int:
        """Post one delivery and return the status of the answer."""
        return httpx.post(self.url + path, content=body, timeout=PATIENCE).status_code

    def flows(self) -> str:
        """The half of the metrics that is about flows."""
        return self.get("/metrics?collect[]=flows").text


class Sender:
    """A connection that posts deliveries one after the other and collects the names of those acknowledged."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.acknowledged: list[str] = []

    def send(self, deliveries: list[tuple[str, bytes]]) -> None:
        """Post until all are sent or the server is gone."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
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
    """A Prometheus server that scrapes one target, or several of one job, every second."""

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
        exporter_url: str = "",
    ) -> None:
        """`replica` is a label that distinguishes the servers of a pair and shifts their scrapes.

        `path` is the program of another Prometheus than the one that is installed. `exporter_url` is what links in
        alerts begin with.
        """
        super().__init__(folder, "prometheus")
        self.port = free_port()
        config = folder / "prometheus.yml"
        labels = {"replica": replica, "aep_exporter_url": exporter_url}
        given = ", ".join(f"{name}: '{value}'" for name, value in labels.items() if value)
        external = f", external_labels: {{{given}}}" if given else ""
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
        """The result of an instant query. It is empty while the server is not up."""
        try:
            answer = httpx.get(
                f"http://127.0.0.1:{self.port}/api/v1/query", params={"query": expression}, timeout=PATIENCE
            )
        except httpx.TransportError:
            return []
        found: list[dict[str, Any]] = answer.json()["data"]["result"] if answer.status_code == 200 else []
        return found

    def value(self, expression: str) -> float | None:
        """The value of an instant query whose result is one series. None if there is none or several."""
        found = self.query(expression)
        return float(found[0]["value"][1]) if len(found) == 1 else None

    def until_scraped(self, targets: int = 1) -> None:
        """Wait for two more good scrapes of each of so many targets."""
        scrapes = f'min(sum_over_time(up{{job="{JOB}"}}[1h])) and count(up{{job="{JOB}"}}) == {targets}'
        before = self.value(scrapes) or 0
        until(lambda: (self.value(scrapes) or 0) >= before + 2, "two more scrapes")


def memory(pid: int) -> int:
    """The resident memory of a process in kilobytes."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))


def family_values(text: str, name: str) -> dict[str, float]:
    """The values of one name in a text exposition, by the text in the braces."""
    pattern = re.compile(rf"^{re.escape(name)}\{{(.*)\}} (\S+)$", re.MULTILINE)
    return {labels: float(value) for labels, value in pattern.findall(text)}
