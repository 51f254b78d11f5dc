"""`runs` and `flows` beside a running exporter on the same ledger."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.system.processes import EXPORTER, Exporter, run

pytestmark = pytest.mark.system


def notification(number: int) -> bytes:
    """A run that failed."""
    status = {"status": "failed", "errors": [{"code": "CONNECTOR-2001-500", "message": "It broke."}]}
    made = {"id": f"run-{number}", "flowId": "flow", "sandboxName": "prod", "metrics": {"statusSummary": status}}
    return json.dumps(made).encode()


def listed(command: str, ledger: Path) -> list[dict[str, Any]]:
    """The items of a list as JSON."""
    out = run(EXPORTER, command, f"--ledger.url=sqlite:///{ledger}", "--output=json", seconds=120)
    items: list[dict[str, Any]] = json.loads(out)["items"]
    return items


def test_lists_beside_a_running_exporter(tmp_path: Path) -> None:
    """Each list has what was acknowledged before, changes no byte of the ledger, and the exporter goes on."""
    with Exporter(tmp_path / "exporter") as exporter:
        log = exporter.ledger.with_name(exporter.ledger.name + "-wal")
        for number in (1, 2):
            assert exporter.post(notification(number)) == 200
            before = exporter.ledger.read_bytes(), log.read_bytes()
            assert [item["run_id"] for item in listed("runs", exporter.ledger)] == [
                f"run-{n}" for n in (2, 1)[-number:]
            ]
            assert [item["consecutive_failures"] for item in listed("flows", exporter.ledger)] == [number]
            assert (exporter.ledger.read_bytes(), log.read_bytes()) == before
        assert 'aep_flow_consecutive_failures{flow_id="flow",sandbox="prod"} 2' in exporter.flows()
        assert exporter.stop() == 0
    stopped = {each.name: each.read_bytes() for each in exporter.ledger.parent.iterdir() if each != exporter.log}
    assert [item["consecutive_failures"] for item in listed("flows", exporter.ledger)] == [2]
    assert len(listed("runs", exporter.ledger)) == 2
    assert {
        each.name: each.read_bytes() for each in exporter.ledger.parent.iterdir() if each != exporter.log
    } == stopped
