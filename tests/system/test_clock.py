"""The program under a wall clock that is set while it runs, and before it starts."""

import json
import time
from pathlib import Path

import pytest

from tests.system.processes import Exporter, cannot_run, family_values, until

_LIBRARIES = (
    *Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"),
    *Path("/usr/lib").glob("faketime/libfaketimeMT.so.1"),
)


class Host:
    """An exporter whose wall clock is ahead of this host's, by the number of seconds in a file."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        if not _LIBRARIES:
            cannot_run("faketime is not installed (see .ci/run for the packages)")
        self._file = folder / "clock"
        self.set(0)
        monkeypatch.setenv("LD_PRELOAD", str(_LIBRARIES[0]))
        monkeypatch.setenv("FAKETIME_TIMESTAMP_FILE", str(self._file))
        monkeypatch.setenv("FAKETIME_NO_CACHE", "1")
        monkeypatch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        self.exporter = Exporter(folder / "exporter", "--series.hold=0s")
        self._runs = 0

    def set(self, days: float) -> None:
        """Set the wall clock."""
        # Replaced at once, because the library reads the file at any moment.
        new = self._file.with_suffix(".new")
        new.write_text(f"{days * 86_400:+.0f}\n")
        new.replace(self._file)

    def post(self, flow: str) -> None:
        """A run of this flow fails now, by the right clock."""
        self._runs += 1
        now = round(time.time() * 1000)
        metrics = {
            "statusSummary": {"status": "failed"},
            "durationSummary": {"startedAtUTC": now - 1000, "completedAtUTC": now},
        }
        body = {"id": f"run-{self._runs}", "flowId": flow, "sandboxName": "prod", "metrics": metrics}
        assert self.exporter.post(json.dumps(body).encode()) == 200

    def failures(self) -> dict[str, float]:
        """The number of failed runs by flow."""
        found = family_values(self.exporter.flows(), "aep_flow_runs_total")
        return {flow: value for flow in "abc" for key, value in found.items() if f'"{flow}"' in key and "failed" in key}

    def corrections(self) -> float:
        """The number of corrections of the clock that the exporter has written."""
        text = self.exporter.get("/metrics?collect[]=exporter").text
        return float(text.partition("\naep_exporter_clock_corrections_total ")[2].partition("\n")[0])


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host with the right clock, and an exporter that shows two flows."""
    made = Host(tmp_path, monkeypatch)
    made.post("a")
    made.post("b")
    assert made.failures() == {"a": 1, "b": 1}
    return made


@pytest.mark.parametrize("days", [0.1, 46, 400])
def test_a_start_with_a_clock_that_is_ahead(host: Host, days: float) -> None:
    """After a start with a clock that is ahead and one with the right clock, everything is shown as it was."""
    with host.exporter as exporter:
        exporter.stop()
        host.set(days)
        exporter.run()
        host.failures()
        host.post("a")
        host.post("c")
        exporter.stop()
        host.set(0)
        exporter.run()
        assert host.failures() == {"a": 2, "b": 1, "c": 1}
        assert host.corrections() == 1
        assert "the clock was wrong" in exporter.get("/-/ready").text
        assert "the clock was wrong" in exporter.output()
        host.post("b")
        assert host.failures() == {"a": 2, "b": 2, "c": 1}


@pytest.mark.parametrize("days", [46, -400])
def test_a_clock_that_is_set_while_it_runs(host: Host, days: float) -> None:
    """A clock that is set wrong and right again while the program runs changes no number afterwards."""
    with host.exporter:
        host.set(days)
        until(lambda: host.corrections() == 1, "the first correction")
        assert host.failures() == {"a": 1, "b": 1}
        host.post("a")
        host.post("c")
        host.set(0)
        until(lambda: host.corrections() == 2, "the second correction")
        assert host.failures() == {"a": 2, "b": 1, "c": 1}
