"""What a scrape and the readiness probe say of entries that were skipped, and of state that was dropped."""

import contextlib
import json
import sqlite3
from pathlib import Path

import pytest

from tests.web.conftest import Application

RUN = {"id": "r", "flowId": "f", "metrics": {"statusSummary": {"status": "failed"}}}


def run(run_id: str, status: str = "failed") -> str:
    """The body of a run."""
    return json.dumps(RUN | {"id": run_id, "metrics": {"statusSummary": {"status": status}}})


def test_an_entry_of_an_unknown_source(application: Application, tmp_path: Path) -> None:
    """Flows are shown without the entry, the error is counted, and the probe says 200 and how many were skipped."""
    application.post(run("r1"))
    application.post(run("r2"))
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.db")) as ledger, ledger:
        ledger.execute("UPDATE entry SET source = 'api' WHERE position = 1")
    response = application.request("GET", "/metrics?collect[]=flows")
    assert response.status_code == 200
    assert 'aep_flow_runs_total{flow_id="f",sandbox="",status="failed"} 1.0' in response.text
    text = application.metrics()
    assert 'aep_exporter_ledger_errors_total{operation="read"} 1.0' in text
    assert "aep_exporter_ledger_up 1.0" in text
    answer = application.request("GET", "/-/ready")
    assert (answer.status_code, answer.text) == (200, "ready, entries skipped: 1 (the log says why)\n")


def test_dropped_state_is_counted(application: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the fold dropped at its bounds is counted by kind, from 0."""
    monkeypatch.setattr("exporter.metrics.runs_in_progress.MAX_STARTS", 2)
    text = application.metrics()
    for kind in ("alert", "start", "ended_run"):
        assert f'aep_exporter_dropped_state_total{{kind="{kind}"}} 0.0' in text
    for number in range(5):
        application.post(run(f"r{number}", "in_progress"))
    assert 'aep_exporter_dropped_state_total{kind="start"} 3.0' in application.metrics()
    assert 'aep_exporter_dropped_state_total{kind="start"} 3.0' in application.metrics()
