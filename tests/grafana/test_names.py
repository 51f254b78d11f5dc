"""Prometheus evaluates the queries for flow names and links, also while a flow is being renamed."""

import json
from pathlib import Path

import pytest

from grafana.queries import FLOWS_SCOPE
from tests.grafana.promtool import check

pytestmark = pytest.mark.system

FAILURES = "max by (flow_id, sandbox) (aep_flow_consecutive_failures)"
ORG = "5@AdobeOrg"


def info(flow_id: str, instance: str = "a", **labels: str) -> str:
    """A series of aep_flow_info with these labels."""
    both = {"flow_id": flow_id, "sandbox": "dev emea", "job": "x", "instance": instance, **labels}
    return f"aep_flow_info{{{','.join(f'{name}={json.dumps(value)}' for name, value in both.items())}}}"


def test_a_rename_breaks_no_panel(tmp_path: Path) -> None:
    """A join with names gives one row per flow, even if two instances export two names and two copies of it."""
    series = [
        info("f", flow_name="Orders", kind="source", org=ORG),
        info("f", "b", flow_name="Orders", kind="source", org=ORG),
        *(
            f'aep_flow_consecutive_failures{{flow_id="f",sandbox="dev emea",job="x",instance="{each}"}}'
            for each in "ab"
        ),
    ]
    expected = [({"flow_id": "f", "name": "Orders", "sandbox": "dev emea"}, 1)]
    check(tmp_path, series, FLOWS_SCOPE.with_names(FAILURES), expected)
    renamed = [*series[:1], info("f", "b", flow_name="Orders by hour", kind="source", org=ORG), *series[2:]]
    check(tmp_path, renamed, f"count by (flow_id) ({FLOWS_SCOPE.with_names(FAILURES)})", [({"flow_id": "f"}, 1)])


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("", "f"),
        ("Orders", "Orders"),
        ("a;b", "a;b"),
        (";a", ";a"),
        ("a;", "a;"),
        (";", ";"),
        ('say "x"', 'say "x"'),
    ],
)
def test_a_flow_without_a_name_has_its_id_as_name(tmp_path: Path, given: str, shown: str) -> None:
    """The label `name` is the flow's name, whatever characters it has, or the flow's id if it has no name."""
    expected = [({"flow_id": "f", "name": shown, "sandbox": "dev emea"}, 1)]
    check(tmp_path, [info("f", **({"flow_name": given} if given else {}))], FLOWS_SCOPE.names(), expected)


@pytest.mark.parametrize("org", [ORG, ""])
def test_rows_say_whether_the_organisation_is_known(tmp_path: Path, org: str) -> None:
    """The rows of failing flows have the flow's kind, and its organisation if that is known."""
    expected = {"flow_id": "f", "kind": "source", "name": "Orders", "org": org, "sandbox": "dev emea"}
    series = [info("f", flow_name="Orders", kind="source", **({"org": org} if org else {}))]
    check(
        tmp_path,
        series,
        FLOWS_SCOPE.names_kinds_and_orgs(),
        [({name: value for name, value in expected.items() if value}, 1)],
    )
