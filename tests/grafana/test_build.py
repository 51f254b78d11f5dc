"""The committed dashboards are those that the sources make."""

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


def test_what_is_committed_is_what_is_built() -> None:
    """grafana/dashboards holds what grafana.build makes, and nothing else."""
    committed = {path.name: path.read_text(encoding="utf-8") for path in FILES}
    assert committed == rendered(), "run make dashboards, and read the difference"


def test_links_lead_to_the_exporter_that_was_named(tmp_path: Path) -> None:
    """With an address of the exporter's pages the same dashboards are written, but for that address."""
    command = [sys.executable, "-m", "grafana.build", "--exporter-url=https://aep.example.com/x/", str(tmp_path)]
    subprocess.run(command, check=True, cwd=FOLDER.parents[1], timeout=60)
    for path in FILES:
        there = (tmp_path / path.name).read_text(encoding="utf-8")
        assert there.replace("https://aep.example.com/x", "http://127.0.0.1:10464") == path.read_text(encoding="utf-8")
    assert "https://aep.example.com/x" in (tmp_path / "aep-flows.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("--exporter-url=aep.example.com", "'aep.example.com' is no address: write https://host"),
        ("--exporter-url=https://aep.example.com/?a=b", "is no address: write https://host"),
        ("no/such/folder", "no/such/folder is no folder: make it first"),
    ],
)
def test_what_is_wrong_is_said(word: str, said: str) -> None:
    """A bad address and a folder that is not there are told in one sentence, and nothing is written."""
    command = [sys.executable, "-m", "grafana.build", word]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, cwd=FOLDER.parents[1], timeout=60)
    assert ran.returncode == 2
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_sdk_reads_what_it_wrote(path: Path) -> None:
    """Read as a dashboard and written again, nothing is lost: there is nothing in it that the schema does not have."""
    again = Dashboard.from_json(load(path))
    for link in again.links or ():
        # What the SDK thinks where nothing is said.
        link.placement = None  # type: ignore[assignment]
    assert JSONEncoder(sort_keys=True, indent=2).encode(again) + "\n" == path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("metric", "matchers", "suffix"),
    [
        pytest.param(RUNS, ('state="failed"',), "", id="no such label"),
        pytest.param(RUNS, ("status=failed",), "", id="no matcher"),
        pytest.param(RUNS, (), "_sum", id="no such samples of a counter"),
        pytest.param(RUN_DURATION, (), "", id="no such samples of a histogram"),
        pytest.param(NOTIFICATION_DELAY, ('flow_id="x"',), "_sum", id="not by flow"),
        pytest.param(LAST_RUN, (), "_total", id="no such samples of a gauge"),
        pytest.param(TYPICAL_DURATION, ('status="success"',), "", id="not by status"),
    ],
)
def test_a_query_that_asks_for_what_is_not_exported_is_refused(
    metric: Metric, matchers: tuple[str, ...], suffix: str
) -> None:
    """A name or a label that the catalogue does not have is an error when dashboards are built."""
    with pytest.raises(ValueError, match=metric.name):
        FLOWS_SCOPE.select(metric, *matchers, suffix=suffix)


@pytest.mark.parametrize(
    ("flow_id", "name"),
    [("f", "Orders"), ("f+2", 'say "x"'), ('say "f"', "Orders"), ("f", 'a",b="c'), ("f", "{Orders}")],
)
def test_flows_are_chosen_by_name(flow_id: str, name: str) -> None:
    """A flow's id and name are read from what Grafana makes of a series, which is not escaped."""
    series = {"metric": {"flow_id": flow_id, "name": name}, "value": [1764000000, "1"]}
    found = option({"regex": FLOW_BY_NAME}, series)
    assert found is not None
    assert (found["value"], found["text"]) == (flow_id, name)


def test_the_data_source_leads_from_an_exemplar_to_its_run() -> None:
    """The label of exemplars is that of the data source's link, and Grafana's own variable survives provisioning."""
    (source,) = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yml").read_text("utf-8"))["datasources"]
    (link,) = source["jsonData"]["exemplarTraceIdDestinations"]
    assert (source["type"], link["name"]) == ("prometheus", "flow_run_id")
    assert link["url"].endswith("/runs/$${__value.raw}")


def test_the_data_source_is_scraped_as_often_as_the_example_says() -> None:
    """Grafana is told the scrape interval of prometheus.yml: else a bar's width is not what Prometheus makes of it."""
    (source,) = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yml").read_text("utf-8"))["datasources"]
    example = yaml.safe_load((FOLDER.parents[1] / "prometheus" / "prometheus.yml").read_text("utf-8"))
    assert source["jsonData"]["timeInterval"] == example["global"]["scrape_interval"]


def test_dashboards_are_provisioned_as_they_are() -> None:
    """What the provider loads can't be changed in Grafana, where nobody would find the change again."""
    (found,) = yaml.safe_load((PROVISIONING / "dashboards" / "aep-flow-exporter.yml").read_text("utf-8"))["providers"]
    assert (found["type"], found["allowUiUpdates"]) == ("file", False)
