"""The committed dashboards are built from their sources, and the build reports wrong arguments."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from exporter.metrics.catalogue import LAST_RUN, NOTIFICATION_DELAY, RUN_DURATION, RUNS, TYPICAL_DURATION, Metric
from grafana.build import FOLDER, rendered
from grafana.queries import FLOW_BY_NAME, FLOWS_SCOPE
from tests.grafana.dashboards import FILES, load, option

PROVISIONING = FOLDER.parent / "provisioning"


def test_the_committed_dashboards_are_up_to_date() -> None:
    """grafana/dashboards has exactly the files that grafana.build writes."""
    committed = {path.name: path.read_text(encoding="utf-8") for path in FILES}
    assert committed == rendered(), "run make dashboards, and read the difference"


def test_links_lead_to_the_given_exporter(tmp_path: Path) -> None:
    """With --exporter-url the build writes the same dashboards with another address."""
    command = [sys.executable, "-m", "grafana.build", "--exporter-url=https://aep.example.com/x/", str(tmp_path)]
    subprocess.run(command, check=True, cwd=FOLDER.parents[1], timeout=60)
    for path in FILES:
        there = (tmp_path / path.name).read_text(encoding="utf-8")
        assert there.replace("https://aep.example.com/x", "http://127.0.0.1:10464") == path.read_text(encoding="utf-8")
    assert "https://aep.example.com/x" in (tmp_path / "aep-flows.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--exporter-url=aep.example.com", "'aep.example.com' is not an address: write https://host"),
        ("--exporter-url=https://aep.example.com/?a=b", "is not an address: write https://host"),
        ("no/such/folder", "no/such/folder is not a folder: create it first"),
    ],
)
def test_a_wrong_argument_is_reported(argument: str, message: str) -> None:
    """The build reports a wrong address or a missing folder in one sentence, and exits with status 2."""
    command = [sys.executable, "-m", "grafana.build", argument]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, cwd=FOLDER.parents[1], timeout=60)
    assert ran.returncode == 2
    assert message in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_dashboards_match_the_schema(path: Path) -> None:
    """A dashboard that the SDK reads and writes again is unchanged, so it has no fields that the schema lacks."""
    again = Dashboard.from_json(load(path))
    for link in again.links or ():
        # The SDK sets a default that the file does not have.
        link.placement = None  # type: ignore[assignment]
    assert JSONEncoder(sort_keys=True, indent=2).encode(again) + "\n" == path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("metric", "matchers", "suffix"),
    [
        pytest.param(RUNS, ('state="failed"',), "", id="no such label"),
        pytest.param(RUNS, ("status=failed",), "", id="not a matcher"),
        pytest.param(RUNS, (), "_sum", id="no such samples of a counter"),
        pytest.param(RUN_DURATION, (), "", id="no such samples of a histogram"),
        pytest.param(NOTIFICATION_DELAY, ('flow_id="x"',), "_sum", id="not by flow"),
        pytest.param(LAST_RUN, (), "_total", id="no such samples of a gauge"),
        pytest.param(TYPICAL_DURATION, ('status="success"',), "", id="not by status"),
    ],
)
def test_unknown_labels_and_samples_are_refused(metric: Metric, matchers: tuple[str, ...], suffix: str) -> None:
    """A label or a sample name that the catalogue does not have raises ValueError when dashboards are built."""
    with pytest.raises(ValueError, match=metric.name):
        FLOWS_SCOPE.select(metric, *matchers, suffix=suffix)


@pytest.mark.parametrize(
    ("flow_id", "name"),
    [("f", "Orders"), ("f+2", 'say "x"'), ('say "f"', "Orders"), ("f", 'a",b="c'), ("f", "{Orders}")],
)
def test_flows_are_chosen_by_name(flow_id: str, name: str) -> None:
    """The flow variable finds id and name in Grafana's text of a series, although Grafana does not escape it."""
    series = {"metric": {"flow_id": flow_id, "name": name}, "value": [1764000000, "1"]}
    found = option({"regex": FLOW_BY_NAME}, series)
    assert found is not None
    assert (found["value"], found["text"]) == (flow_id, name)


def test_the_data_source_links_exemplars_to_runs() -> None:
    """The data source links the exemplar label flow_run_id to the run's page, and escapes Grafana's variable."""
    (source,) = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yml").read_text("utf-8"))["datasources"]
    (link,) = source["jsonData"]["exemplarTraceIdDestinations"]
    assert (source["type"], link["name"]) == ("prometheus", "flow_run_id")
    assert link["url"].endswith("/runs/$${__value.raw:percentencode}")


def test_the_data_source_has_the_scrape_interval_of_the_example() -> None:
    """The data source has the scrape interval of prometheus.yml, from which Grafana derives the width of bars."""
    (source,) = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yml").read_text("utf-8"))["datasources"]
    example = yaml.safe_load((FOLDER.parents[1] / "prometheus" / "prometheus.yml").read_text("utf-8"))
    assert source["jsonData"]["timeInterval"] == example["global"]["scrape_interval"]


def test_provisioned_dashboards_are_read_only() -> None:
    """Provisioned dashboards can't be changed in Grafana, because the next update would overwrite the changes."""
    (found,) = yaml.safe_load((PROVISIONING / "dashboards" / "aep-flow-exporter.yml").read_text("utf-8"))["providers"]
    assert (found["type"], found["allowUiUpdates"]) == ("file", False)
