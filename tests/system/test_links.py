"""Every link of alerts, dashboards, the runbook and the documents, followed on a running exporter.

Ids and sandboxes have characters that addresses must encode. Alerts are rendered by a real Prometheus: each alert of
`prometheus/alerts.yml` with its own annotations, and with an expression that holds for every flow.
"""

import contextlib
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, quote, unquote, urlsplit

import httpx
import pytest
import yaml

from grafana.build import rendered
from tests.grafana.dashboards import PROVISIONING, Window, everything, links_of, panels, variables
from tests.prometheus.files import FOLDER, RULE_FILES, Rule, alerts, load, sections
from tests.prometheus.promql import parse, recorded, result_labels
from tests.system.processes import JOB, PATIENCE, Exporter, Process, Prometheus, free_port, program, until

ROOT: Final = Path(__file__).parents[2]
ORG: Final = "0B7D41C65E2F93A80C1D2E3F@AdobeOrg"
PLATFORM: Final = "https://experience.adobe.com/#/"
GRAFANA: Final = "https://grafana.example/monitoring"
HOUR: Final = 3600
AWKWARD: Final = "a/b%20c \"d\" 'e' <f>&g=h?i#j+k;l"
LONG: Final = "long-" * 40
"""Longer than a label may be, so that the label is cut and ends in a digest."""
FLOWS: Final = ("orders", AWKWARD, "\u00fc (1)!*", LONG)
SANDBOXES: Final = ("prod", "dev & t\u00e4st/2")
ONLY_ALERTED: Final = "only-alerted"
"""A flow that only an alert of Adobe's names."""
SLOTS: Final = len(FLOWS) * len(SANDBOXES) + 1
"""The largest number of flows with series of their own. The runs of others are counted under `other`."""
CODES: Final = ("CONNECTOR-2001-500", "INGEST-1205-400")

EXPRESSIONS: Final = {
    ("flow_id", "job", "sandbox"): "max by (job, flow_id, sandbox) (aep_flow_consecutive_failures)",
    ("error_code", "flow_id", "job", "sandbox"): "flow:aep_flow_failing:cause",
    ("alert", "flow_id", "job", "sandbox"): "max by (job, alert, flow_id, sandbox) (aep_alert_firing)",
    ("error_code", "job", "sandbox"): "sum by (job, sandbox, error_code) (aep_flow_run_errors_total)",
    ("job", "sandbox"): "group by (job, sandbox) (aep_flow_runs_total)",
    ("instance", "job"): "group by (job, instance) (up)",
    ("job",): "group by (job) (up)",
}
"""By the labels of an alert: an expression that holds for all series that have these labels."""


Ended = tuple[int, str, tuple[str, ...]]
"""How many hours ago a run ended, its status and its error codes."""


def event(number: int, node: dict[str, Any]) -> dict[str, Any]:
    """A notification of Adobe."""
    return {"event_id": f"event-{number}", "event": {"imsOrgId": ORG, **node}}


EARLIER: Final[tuple[Ended, ...]] = ((3, "success", ()), (2, "failed", CODES[:1]))
LATEST: Final[tuple[Ended, ...]] = ((1, "failed", CODES),)


def runs(number: int, flow: str, sandbox: str, ended_runs: tuple[Ended, ...]) -> Iterator[dict[str, Any]]:
    """Runs of a flow. `number` and those up to three above it belong to their events."""
    now = int(time.time())
    for hours, status, codes in ended_runs:
        ended = now - hours * HOUR
        errors = [{"code": code, "message": "made up"} for code in codes]
        node = {
            "id": f"{hours} {flow[:40]} {sandbox}",
            "flowId": flow,
            "flowName": f"Name of {flow}",
            "sandboxName": sandbox,
            "metrics": {
                "statusSummary": {"status": status, "errors": errors},
                "durationSummary": {"startedAtUTC": (ended - 60) * 1000, "completedAtUTC": ended * 1000},
                "recordSummary": {"inputRecordCount": 100, "failedRecordCount": 10},
            },
            "header": {"_adobeio": {"imsOrgId": ORG, "eventCode": "sources_flow_run_success"}},
        }
        yield event(number + hours, node)


def notifications(ended_runs: tuple[Ended, ...]) -> Iterator[dict[str, Any]]:
    """These runs of all flows in all sandboxes, alerts of Adobe's, and the runs of one flow too many."""
    number = 0
    for sandbox in SANDBOXES:
        for flow in FLOWS:
            number += 10
            yield from runs(number, flow, sandbox, ended_runs)
    for about in ({"flowId": "orders"}, {"flowId": AWKWARD}, {"flowId": ONLY_ALERTED}, {}):
        number += 10
        alert = {"id": f"alert-{number}", "status": "FIRING", "name": "sources_flow_run_delay", "severity": "high"}
        yield event(number, {**alert, "sandboxName": "prod", "value": "181", **about})
    yield from runs(number + 10, "too many", "prod", ended_runs)


class Rendering(Prometheus):
    """A Prometheus that renders every alert for all series of an exporter."""

    def __init__(self, folder: Path, exporter: Exporter) -> None:
        Process.__init__(self, folder, "prometheus")
        self.port = free_port()
        for name in RULE_FILES:
            groups = load(name)
            for group in groups["groups"]:
                group["interval"] = "1s"
                group["rules"] = [always(rule) for rule in group["rules"]]
            (folder / name).write_text(yaml.safe_dump(groups, sort_keys=False), encoding="utf-8")
        labels = {"aep_exporter_url": f"{exporter.url}/", "aep_grafana_url": f"{GRAFANA}/"}
        target = {"job_name": JOB, "static_configs": [{"targets": [f"127.0.0.1:{exporter.port}"]}]}
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s", "external_labels": labels},
            "rule_files": list(RULE_FILES),
            "scrape_configs": [target],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
        self.start(
            program("prometheus"),
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--enable-feature=exemplar-storage",
            "--log.level=warn",
        )
        self.until_scraped()

    def api(self, path: str, **parameters: Any) -> Any:
        """The data of an answer."""
        answer = httpx.get(f"http://127.0.0.1:{self.port}/api/v1/{path}", params=parameters, timeout=PATIENCE)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def firing(self) -> list[dict[str, Any]]:
        """The alerts that fire."""
        return [each for each in self.api("alerts")["alerts"] if each["state"] == "firing"]


def always(rule: dict[str, Any]) -> dict[str, Any]:
    """An alert with an expression that holds for every flow. Other rules stay as they are."""
    if "alert" not in rule:
        return rule
    labels = result_labels(parse(rule["expr"]), recorded())
    kept = {key: value for key, value in rule.items() if key not in {"for", "keep_firing_for"}}
    return {**kept, "expr": EXPRESSIONS[tuple(sorted(labels))]}


class Site:
    """The running exporter and a Prometheus that renders its alerts. Answers are kept, because many links are alike."""

    def __init__(self, exporter: Exporter, prometheus: Rendering) -> None:
        self.exporter = exporter
        self.prometheus = prometheus
        self._answers: dict[str, httpx.Response] = {}

    def wrong(self, link: str) -> str:
        """What is wrong with a link. Empty if it leads where it should."""
        if not link.startswith(f"{self.exporter.url}/"):
            return f"{link}: not an address of the exporter"
        address, _, fragment = link.partition("#")
        if address not in self._answers:
            self._answers[address] = self.exporter.get(
                address.removeprefix(self.exporter.url), headers={"accept": "text/html"}
            )
        answer = self._answers[address]
        if urlsplit(address).path.endswith("/platform"):
            is_right = answer.status_code == 302 and answer.headers["location"].startswith(PLATFORM)
        else:
            is_right = answer.status_code == 200
        if not is_right:
            return f"{link}: {answer.status_code}"
        if fragment and f'id="{fragment}"' not in answer.text and f'id="{unquote(fragment)}"' not in answer.text:
            return f"{link}: the page has no such place"
        return ""

    def check(self, links: set[str], *, at_least: int) -> None:
        """Check that there are so many links, and that all of them lead where they should."""
        assert len(links) >= at_least
        assert "\n".join(sorted(filter(None, map(self.wrong, links)))) == ""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Everything runs, every alert fires, and the last evaluation is complete."""
    folder = tmp_path_factory.mktemp("links")
    names = {alert.name for alert in alerts()}
    with contextlib.ExitStack() as stack:
        flags = ("--series.hold=0s", f"--series.max-flows={SLOTS}")
        exporter = stack.enter_context(Exporter(folder / "exporter", *flags))
        post(exporter, EARLIER)
        prometheus = stack.enter_context(Rendering(folder / "prometheus", exporter))
        # Only now, so that counters rise after their first scrape.
        post(exporter, LATEST)
        until(lambda: prometheus.query("increase(aep_flow_run_errors_total[10m]) > 0"), "counters to rise")
        until(lambda: {each["labels"]["alertname"] for each in prometheus.firing()} == names, "every alert")
        until(lambda: prometheus.query('aep_flow_runs_total{flow_id="other"}'), "more flows than there are slots")
        until(lambda: codes_of(prometheus.firing()) == {",".join(CODES)}, "the codes of both failed runs")
        yield Site(exporter, prometheus)


def post(exporter: Exporter, ended_runs: tuple[Ended, ...]) -> None:
    """Deliver these runs of all flows."""
    assert exporter.post(json.dumps(list(notifications(ended_runs))).encode()) == 200


def codes_of(firing: list[dict[str, Any]]) -> set[str]:
    """The error codes of all alerts about flows whose latest run failed."""
    return {each["annotations"]["error_codes"] for each in firing if each["labels"]["alertname"] == "AEPFlowRunFailed"}


def urls(alert: dict[str, Any]) -> set[str]:
    """The links of an alert that fires, except those to the runbook and to Grafana."""
    given = alert["annotations"]
    found = {
        given["page_url"],
        given.get("experience_platform_url", ""),
        *re.findall(r"https?://\S+", given["description"]),
    }
    return found - {""}


def test_links_of_alerts(site: Site) -> None:
    """Every link of every alert about every flow leads to a page, or through the exporter into Experience Platform."""
    firing = site.prometheus.firing()
    about = {each["labels"].get("flow_id", "") for each in firing if "error_codes" in each["annotations"]}
    assert about >= {*FLOWS[:3], ONLY_ALERTED, ""}
    site.check(set().union(*map(urls, firing)), at_least=20)


def test_the_page_of_an_alert_is_in_its_description(site: Site) -> None:
    """The description of each alert has the same links to the exporter as its annotations for programs."""
    for each in site.prometheus.firing():
        given = each["annotations"]
        assert urls(each) == set(re.findall(r"https?://\S+", given["description"])), each["labels"]["alertname"]


def test_annotations_for_programs(site: Site) -> None:
    """An alert about a flow has the flow's name and all its error codes, in the order of the alphabet."""
    about = {
        each["labels"]["flow_id"]: each["annotations"]
        for each in site.prometheus.firing()
        if each["labels"]["alertname"] == "AEPFlowRunFailed" and each["labels"]["sandbox"] == "prod"
    }
    assert set(about) >= set(FLOWS[:3])
    for flow in FLOWS[:3]:
        assert about[flow]["flow_name"] == f"Name of {flow}"
        assert about[flow]["error_codes"] == ",".join(CODES)


def test_links_of_alerts_to_dashboards(site: Site) -> None:
    """Links of alerts to Grafana name a dashboard that exists, and choose its flow and sandbox by its variables."""
    dashboards = {name.removesuffix(".json"): json.loads(content) for name, content in rendered().items()}
    found = 0
    for each in site.prometheus.firing():
        link = each["annotations"].get("dashboard_url")
        if not link:
            assert not each["labels"].get("flow_id")
            continue
        found += 1
        parts = urlsplit(link)
        uid = parts.path.removeprefix(f"{urlsplit(GRAFANA).path}/d/")
        chosen = {name.removeprefix("var-"): values for name, values in parse_qs(parts.query).items()}
        assert link.startswith(f"{GRAFANA}/d/")
        assert set(chosen) <= set(variables(dashboards[uid]))
        assert chosen == {
            name: [each["labels"][label]] for name, label in (("flow", "flow_id"), ("sandbox", "sandbox"))
        }
    assert found >= len(FLOWS)


def encoded(value: str) -> str:
    """A value as Grafana's `percentencode` writes it."""
    return quote(value, safe="")


def filled(link: str, row: dict[str, str], exporter_url: str) -> str:
    """A link of a dashboard with the values of a row or a series, as Grafana fills it."""
    values = {"exporter_url:raw": exporter_url, "flow:percentencode": encoded(row.get("flow_id", ""))}
    for label, value in row.items():
        values[f"__data.fields.{label}:percentencode"] = encoded(value)
        values[f"__field.labels.{label}:percentencode"] = encoded(value)
    values["__value.raw:percentencode"] = encoded(row.get("error_code", ""))
    # A row without a field has an empty one in Grafana.
    return re.sub(r"\$\{([^}]*)\}", lambda found: values.get(found[1], ""), link)


def test_links_of_dashboards(site: Site) -> None:
    """Every link of every row and value of the dashboards leads to a page, or into Experience Platform."""
    now = time.time()
    window = Window(start=now - HOUR, end=now, scrape=1)
    found: dict[str, set[str]] = {}
    for content in rendered(site.exporter.url).values():
        dashboard = json.loads(content)
        for panel in panels(dashboard):
            links = [link for link in links_of(panel) if not link.startswith("/d/")]
            rows = _rows(site, dashboard, panel, window) if links else []
            for row in rows:
                # Runs without a code, and codes that are counted together, have no place of their own on the page.
                if row.get("error_code") not in {"none", "other"}:
                    found.setdefault(panel["title"], set()).update(
                        filled(link, row, site.exporter.url) for link in links
                    )
    assert set(found) >= {"Failing now", "Most failed runs", "Error codes", "Failing now, by code"}
    site.check(set().union(*found.values()), at_least=20)


def _rows(site: Site, dashboard: dict[str, Any], panel: dict[str, Any], window: Window) -> list[dict[str, str]]:
    """The labels of each row of a panel. On the dashboard of one flow every flow is chosen in turn."""
    everywhere = everything(dashboard)
    is_of_one = "allValue" not in variables(dashboard)["flow"]
    flows = (
        sorted({each["metric"]["flow_id"] for each in site.prometheus.query("aep_flow_info")}) if is_of_one else [""]
    )
    rows = []
    for flow in flows:
        chosen = {**everywhere, "flow": flow.replace("\\", "\\\\").replace('"', '\\"')} if flow else everywhere
        query = window.fill(panel["targets"][-1]["expr"], chosen, window.step(1000))
        rows += [{**each["metric"], **({"flow_id": flow} if flow else {})} for each in site.prometheus.query(query)]
    return rows


def test_exemplars_lead_to_runs(site: Site) -> None:
    """The data source's link for exemplars leads to the page of the run, whatever its id has in it."""
    (source,) = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yml").read_text("utf-8"))["datasources"]
    (link,) = source["jsonData"]["exemplarTraceIdDestinations"]
    template = link["url"].replace("$$", "$").replace("http://127.0.0.1:10464", site.exporter.url)
    now = time.time()
    found = site.prometheus.api("query_exemplars", query="aep_flow_run_errors_total", start=now - HOUR, end=now)
    runs = {exemplar["labels"][link["name"]] for series in found for exemplar in series["exemplars"]}
    assert any("/" in run for run in runs)
    site.check({template.replace("${__value.raw:percentencode}", encoded(run)) for run in runs}, at_least=3)


PAGE: Final = re.compile(r"`(/(?:(?:flows|runs|errors|notifications|status)(?:[/?#][^`\s]*)?|\?[^`\s]*)?)`")
"""The address of a page in a document."""
DOCUMENTS: Final = [
    ROOT / "README.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    FOLDER / "runbook.md",
]


def addresses(document: str, run: str) -> set[str]:
    """The pages that a document names, with a flow, a run and a code in place of the words that stand for them."""
    values = {"FLOW": "orders", "SANDBOX": "prod", "CODE": CODES[0], "RUN": encoded(run)}
    values |= {"<id>": "", "<sandbox>": "prod", "<code>": CODES[0], "...": ""}
    found = set()
    for address in PAGE.findall(document):
        of = "orders" if address.startswith("/flows/") else encoded(run)
        path = re.sub(r"FLOW|SANDBOX|CODE|RUN|<\w+>|\.\.\.|\{\w+\}", lambda word: values.get(word[0]) or of, address)  # noqa: B023
        found.add(path)
    return found


def test_pages_that_documents_name(site: Site) -> None:
    """Every page that the README, the runbook and the documents name is there."""
    run = "1 orders prod"
    found = set().union(*(addresses(document.read_text(encoding="utf-8"), run) for document in DOCUMENTS))
    site.check({site.exporter.url + path for path in found}, at_least=8)


def test_the_runbook_says_where_to_begin(site: Site) -> None:
    """Each section of the runbook names the page to which its alert leads, and what is on it."""
    for alert in alerts():
        page = _page(alert)
        assert page in PAGE.findall(sections()[alert.name]), f"{alert.name}: {page}"


def _page(alert: Rule) -> str:
    """The page of an alert, as the runbook names it."""
    template = re.sub(r"\{\{.*?\}\}", "", alert.annotations["page_url"])
    path = template.removeprefix("http://127.0.0.1:10464")
    words = {"/flows/?sandbox=": "/flows/FLOW?sandbox=SANDBOX", "/?sandbox=": "/?sandbox=SANDBOX"}
    return words.get(path, path.replace("sandbox=", "sandbox=SANDBOX").replace("error_code=", "error_code=CODE"))
