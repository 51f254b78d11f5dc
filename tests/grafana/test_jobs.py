"""The dashboard AEP exporter shows the jobs of exporters, also while they are down, and no other jobs."""

import re
from pathlib import Path

import pytest

from grafana.queries import EXPORTER_SCOPE, MEMORY
from tests.grafana.dashboards import targets
from tests.grafana.promtool import check

pytestmark = pytest.mark.system

BUILD = 'aep_exporter_build_info{job="aep",instance="a"}'
FLOWS = 'aep_last_notification_timestamp_seconds{job="aep",instance="aep-flows"}'
UP, UP_OF_FLOWS, UP_OF_ANOTHER = (
    f'up{{job="{job}",instance="{instance}"}}' for job, instance in (("aep", "a"), ("aep", "aep-flows"), ("aep", "b"))
)
ANOTHER_JOB = 'up{job="node",instance="a"}'
ALWAYS = "1x60"
UNTIL_LATELY = "1x40 _x20"
DOWN_LATELY = "1x40 0x20"


@pytest.mark.parametrize(
    ("series", "scraped"),
    [
        pytest.param({BUILD: ALWAYS, UP: ALWAYS}, [({}, 1)], id="up"),
        pytest.param({BUILD: UNTIL_LATELY, UP: DOWN_LATELY}, [({}, 0)], id="down"),
        pytest.param({BUILD: ALWAYS, UP: ALWAYS, ANOTHER_JOB: DOWN_LATELY}, [({}, 1)], id="another job is down"),
        pytest.param({BUILD: ALWAYS, UP: ALWAYS, UP_OF_ANOTHER: "0x60"}, [({}, 1)], id="another program in its job"),
        pytest.param(
            {BUILD: ALWAYS, UP: ALWAYS, FLOWS: UNTIL_LATELY, UP_OF_FLOWS: DOWN_LATELY}, [({}, 0)], id="flow half down"
        ),
        pytest.param({ANOTHER_JOB: ALWAYS}, [], id="no exporter"),
    ],
)
def test_scraped_is_about_exporters(
    tmp_path: Path, series: dict[str, str], scraped: list[tuple[dict[str, str], float]]
) -> None:
    """The panel shows whether both halves of all exporters are scraped, whatever else Prometheus scrapes."""
    (target,) = [each for each in targets() if (each.dashboard, each.panel) == ("AEP exporter", "Scraped")]
    check(tmp_path, series, target.expression, scraped)


def test_process_metrics_are_those_of_exporters(tmp_path: Path) -> None:
    """Process metrics such as memory are only read from exporters, not from other programs."""
    series = [
        BUILD,
        'process_resident_memory_bytes{job="aep",instance="a"}',
        'process_resident_memory_bytes{job="node",instance="a"}',
        'process_resident_memory_bytes{job="aep",instance="b"}',
    ]
    expression = f"max by (job, instance) ({EXPORTER_SCOPE.only_exporters(EXPORTER_SCOPE.select(MEMORY))})"
    check(tmp_path, series, expression, [({"instance": "a", "job": "aep"}, 1)])


def test_metrics_that_other_jobs_have_are_restricted_to_exporters() -> None:
    """Every query of `up` or of process metrics is restricted to exporters."""
    for target in targets():
        if re.search(r"\b(up|process_\w+)\{", target.expression):
            assert "and on (job, instance) (last_over_time(aep_exporter_build_info{" in target.expression, str(target)
