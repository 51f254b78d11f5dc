"""A simulated organisation posts to the running exporter, which counts exactly what was posted."""

import re
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.model import Status
from tests.system.processes import EXPORTER, Exporter, Process, family_values, free_port, until

CLIENT_ID = "our-client-id"
OUTCOMES = {str(status) for status in Status if status.is_outcome}
FOUR_HOURS_IN_SECONDS = ("--duration=4h", "--speed=1800")


class Simulated(Process):
    """The command `simulate` as a process."""

    def __init__(self, folder: Path, url: str, *flags: str) -> None:
        super().__init__(folder, "simulate")
        self.start(EXPORTER, "simulate", f"--url={url}", "--flows=24", *flags)

    def rows(self) -> dict[str, int]:
        """The table that it prints at its end."""
        found = re.findall(r"^([a-z][a-z_0-9 ]*?) +([0-9]+)$", self.output(), re.MULTILINE)
        return {word: int(number) for word, number in found}


def told(rows: dict[str, int]) -> Counter[str]:
    """How many runs with each outcome were posted."""
    return Counter({status: rows.get(f"sent {status}", 0) for status in OUTCOMES})


def counted(exporter: Exporter) -> Counter[str]:
    """How many runs with each outcome the exporter counts."""
    found: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
    for labels, value in family_values(exporter.flows(), "aep_flow_runs_total").items():
        found[labels.partition('status="')[2].partition('"')[0]] += int(value)
    return found


def counters(exporter: Exporter) -> dict[str, dict[str, float]]:
    """All counters that runs move."""
    text = exporter.flows()
    names = ("runs", "run_errors", "records", "bytes", "files")
    return {name: family_values(text, f"aep_flow_{name}_total") for name in names}


@pytest.fixture
def keys_port() -> int:
    """The port of the key server."""
    return free_port()


@pytest.fixture
def signed(keys_port: int, tmp_path: Path) -> Iterator[Exporter]:
    """An exporter that takes only what the simulation signs."""
    flags = (f"--adobe.keys-url=http://127.0.0.1:{keys_port}", f"--webhook.client-id={CLIENT_ID}", "--series.hold=0s")
    with Exporter(tmp_path / "exporter", *flags) as running:
        yield running


def test_what_is_told_is_what_is_counted(signed: Exporter, keys_port: int, tmp_path: Path) -> None:
    """Each run of a signed day is counted once, also when the same day is posted again under new keys."""
    flags = (
        *("--seed=7", "--since=1d", "--duration=0s", "--sign", f"--client-id={CLIENT_ID}"),
        f"--keys.listen-address=127.0.0.1:{keys_port}",
    )
    with Simulated(tmp_path / "first", signed.url + "/webhook", *flags) as first:
        assert first.wait() == 0, first.output()
    rows = first.rows()
    assert counted(signed) == told(rows)
    assert sum(told(rows).values()) > 300
    assert rows["duplicate"] > 0
    before = counters(signed)
    with Simulated(tmp_path / "again", signed.url + "/webhook", *flags) as again:
        assert again.wait() == 0, again.output()
    assert again.rows()["notifications"] == rows["notifications"]
    # Alerts and what is not understood have other times in the second run, so they are other facts. Runs are the same.
    others = sum(count for word, count in rows.items() if word.startswith(("sent alert", "sent other")))
    assert rows["notifications"] - again.rows()["duplicate"] <= others
    assert counters(signed) == before


def test_unsigned_notifications_are_refused(signed: Exporter, tmp_path: Path) -> None:
    """Without signatures everything is refused, and the simulation reports that and ends with status 1."""
    with Simulated(tmp_path / "unsigned", signed.url + "/webhook", "--since=1h", "--duration=0s") as unsigned:
        assert unsigned.wait() == 1
    rows = unsigned.rows()
    assert rows["notifications"] == 0
    assert rows["refused with 401"] > 0
    assert sum(counted(signed).values()) == 0


def test_a_receiver_that_is_killed_loses_nothing(exporter: Exporter, tmp_path: Path) -> None:
    """Notifications wait while the exporter is down, and when it is back every run is counted once."""
    url = exporter.url + "/webhook"
    with Simulated(tmp_path / "simulate", url, "--seed=3", *FOUR_HOURS_IN_SECONDS) as running:
        until(lambda: sum(counted(exporter).values()) > 10, "the first runs")
        exporter.stop(signal.SIGKILL)
        until(lambda: "can't be delivered to" in running.output(), "the simulation to notice")
        exporter.run()
        assert running.wait() == 0, running.output()
    assert running.rows()["undelivered"] == 0
    assert counted(exporter) == told(running.rows())
    assert "the receiver answers again" in running.output()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_it_is_told_to(exporter: Exporter, tmp_path: Path, number: int) -> None:
    """A simulation without an end prints its table on a signal and ends with status 0."""
    with Simulated(tmp_path / "simulate", exporter.url + "/webhook", "--speed=3600") as running:
        until(lambda: sum(counted(exporter).values()) > 5, "the first runs")
        assert running.stop(number) == 0
    assert counted(exporter) == told(running.rows())
    assert "Traceback" not in running.output()


def test_it_waits_for_the_webhook(tmp_path: Path) -> None:
    """While nothing listens at the URL the simulation logs that and tries again until something does."""
    port = free_port()
    with Simulated(tmp_path / "simulate", f"http://127.0.0.1:{port}/webhook", "--since=1h", "--duration=0s") as running:
        until(lambda: "can't be delivered to" in running.output(), "the simulation to notice")
        with Process(tmp_path / "exporter", "exporter") as exporter:
            exporter.start(
                EXPORTER,
                "serve",
                f"--web.listen-address=127.0.0.1:{port}",
                f"--ledger.url=sqlite:///{tmp_path}/ledger.db",
            )
            assert running.wait() == 0, running.output()
    assert running.rows()["recorded"] > 0
