"""compose.yaml: Docker Compose accepts it, and its services work together on the loopback that they share.

No container engine is needed: the services are started as programs of this machine in one network namespace, with the
command, the variables and the files that compose.yaml gives them. Grafana is not among them, as Debian has none.
"""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.deploy.files import IMAGE, ROOT, SERVICES, mounts
from tests.system.alerting import faster
from tests.system.processes import EXPORTER, Process, needs_root, newest_program, program, run, until


def test_docker_compose_accepts_it() -> None:
    """The services share one network, whose ports are published on this machine's loopback address only."""
    compose = newest_program("docker-compose", "libexec/docker/cli-plugins")
    read = json.loads(run(compose, "--file", ROOT / "compose.yaml", "config", "--format=json"))
    assert read["services"].keys() == SERVICES.keys()
    published = {name: each["ports"] for name, each in read["services"].items() if "ports" in each}
    assert published.keys() == {"loopback"}
    assert {port["host_ip"] for port in published["loopback"]} == {"127.0.0.1"}
    networks = {name: each.get("network_mode") for name, each in read["services"].items()}
    assert networks == {name: None if name == "loopback" else "service:loopback" for name in SERVICES}


_SCHEME = "sqlite:///"


class Service(Process):
    """A service's program. Other folders stand in for those of its container."""

    def __init__(self, folder: Path, name: str, network: int, folders: dict[str, Path]) -> None:
        super().__init__(folder / name, name)
        self._service = SERVICES[name]
        self._network = network
        self._folders = folders

    def run(self, path: str | Path) -> None:
        """Start the program, or start it again."""
        given = self._service.get("environment", {})
        if self._service["image"] == "aep-flow-exporter":
            given = IMAGE | given
        self.start(
            *("nsenter", f"--net=/proc/{self._network}/ns/net", path),
            *map(self._here, self._service.get("command", ["serve"])),
            environment={name: self._here(value) for name, value in given.items()},
        )

    def _here(self, word: str) -> str:
        """A word of the command with the container's paths replaced by paths of this machine."""
        before, equals, value = word.rpartition("=")
        path = value.removeprefix(_SCHEME)
        scheme = value.removesuffix(path)
        for target, folder in self._folders.items():
            if path == target or path.startswith(target + "/"):
                return f"{before}{equals}{scheme}{folder}{path.removeprefix(target)}"
        return word


class System:
    """All services except Grafana."""

    def __init__(self, folder: Path) -> None:
        # First, so that the test ends before anything runs where a program is not installed.
        self._paths: dict[str, str | Path] = {
            "exporter": EXPORTER,
            "simulate": EXPORTER,
            "prometheus": newest_program("prometheus"),
            "alertmanager": newest_program("prometheus-alertmanager"),
        }
        self._folder = folder
        self._loopback = Process(folder / "loopback", "loopback")
        self.services: dict[str, Service] = {}

    def begin(self) -> None:
        """Start the network, and all services in it."""
        self._loopback.start("unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec sleep infinity")
        until(lambda: self._loopback.output() == "up\n", "the network")
        for name in SERVICES:
            if name not in {"loopback", "grafana"}:
                folders = _folders(self._folder, name)
                self.services[name] = Service(self._folder, name, self._loopback.pid, folders)
                self.start(name)

    def start(self, name: str) -> None:
        """Start a service, or start it again."""
        self.services[name].run(self._paths[name])

    def ask(self, port: int, path: str) -> Any:
        """The JSON that a service answers to a request from within the network. None while it does not answer."""
        network = f"--net=/proc/{self._loopback.pid}/ns/net"
        script = 'curl --silent --fail "$1" || echo null'
        return json.loads(run("nsenter", network, "sh", "-c", script, "sh", f"http://127.0.0.1:{port}{path}"))

    def value(self, expression: str) -> float | None:
        """The value of a query of Prometheus whose result is one series. None if there is none or several."""
        answer = self.ask(9090, f"/api/v1/query?query={quote(expression)}")
        found = answer["data"]["result"] if answer else []
        return float(found[0]["value"][1]) if len(found) == 1 else None

    def alerts(self) -> set[str]:
        """The names of the alerts that Alertmanager has."""
        return {each["labels"]["alertname"] for each in self.ask(9093, "/api/v2/alerts") or ()}

    def until_it_works(self, since: float) -> None:
        """Wait until both halves are scraped and Prometheus has a notification that was recorded after a time."""
        until(lambda: self.value("min(up) == 1 and count(up) == 2"), "both halves to be scraped")
        until(lambda: (self.value("max(aep_last_notification_timestamp_seconds)") or 0) > since, "notifications")

    def end(self) -> None:
        """End all processes that still run."""
        for each in (*self.services.values(), self._loopback):
            if each.is_running():
                each.stop(signal.SIGKILL)


def _folders(folder: Path, name: str) -> dict[str, Path]:
    """The folders that stand in for those of a container: volumes, and copies of its configuration, made faster."""
    found = {}
    for source, target, *_ in mounts(name):
        there = folder / name / Path(source).name
        there.mkdir(parents=True, exist_ok=True)
        found[target] = there
        if source.startswith("."):
            for file in (ROOT / source).glob("*.yml"):
                (there / file.name).write_text(faster(file.read_text(encoding="utf-8")), encoding="utf-8")
    return found


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    """The running services."""
    needs_root("a network namespace")
    for name in ("unshare", "nsenter", "ip", "curl"):
        program(name)
    found = System(tmp_path)
    try:
        found.begin()
        yield found
    finally:
        found.end()


def test_the_services_work_together(system: System) -> None:
    """Both halves are scraped, also after kill -9 of the exporter, and alerts reach Alertmanager."""
    system.until_it_works(0)
    until(system.alerts, "an alert in Alertmanager")
    exporter = system.services["exporter"]
    assert exporter.stop(signal.SIGKILL) != 0
    until(lambda: system.value("max(up)") == 0, "failed scrapes")
    restarted = time.time()
    system.start("exporter")
    system.until_it_works(restarted)
    assert all(each.is_running() for each in system.services.values())
