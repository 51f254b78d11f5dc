"""The files for containers, systemd and Kubernetes fit the program and each other, and expose only what they should."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from exporter import __version__
from exporter.commands.main import load
from exporter.commands.serve_settings import ServeSettings
from exporter.commands.simulate import SimulateSettings
from exporter.errors import SettingsError
from exporter.parsers import Address, size
from grafana.build import LOCAL
from tests.deploy.files import COMPOSE, IMAGE, ROOT, SERVICES, mounts, text, variables
from tests.generated import hold

DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "systemd" / "aep-flow-exporter.service"
RULE = DEPLOY / "kubernetes" / "prometheusrule.yaml"
USER = 10464
LEDGER = "/var/lib/aep-flow-exporter"


def documents(name: str) -> list[dict[str, Any]]:
    """The documents of a Kubernetes file."""
    return list(yaml.safe_load_all(text(DEPLOY / "kubernetes" / name)))


def one(name: str, kind: str) -> Any:
    """The only document of this kind in a Kubernetes file."""
    (found,) = [each for each in documents(name) if each["kind"] == kind]
    return found


POD = one("exporter.yaml", "Deployment")["spec"]["template"]["spec"]
CONTAINER = POD["containers"][0]


def commands() -> Iterator[tuple[str, str, list[str], dict[str, str]]]:
    """Each place where the program is started: its name, the command, the flags and the variables."""
    yield "Dockerfile", "serve", [], IMAGE | {"AEP_EXPORTER_WEBHOOK_CLIENT_ID": "given"}
    for name in ("exporter", "simulate"):
        service = SERVICES[name]
        command, *flags = service.get("command", ["serve"])
        yield f"compose.yaml: {name}", command, flags, IMAGE | service.get("environment", {})
    command, *flags = CONTAINER["args"]
    given = {each["name"]: "given" for each in CONTAINER["env"]}
    yield "deploy/kubernetes", command, flags, IMAGE | given
    line = re.search(r"^ExecStart=\S+ (.*)$", text(UNIT), re.MULTILINE)
    assert line
    command, *flags = shlex.split(line[1])
    example = text(DEPLOY / "systemd" / "aep-flow-exporter.default")
    given = variables(re.sub("^#.*", "", text(UNIT) + example, flags=re.MULTILINE))
    yield "deploy/systemd", command, flags, given | {"AEP_EXPORTER_WEBHOOK_CLIENT_ID": "given"}


@pytest.mark.parametrize(
    ("command", "flags", "environment"), [pytest.param(*rest, id=name) for name, *rest in commands()]
)
def test_the_program_accepts_its_settings(command: str, flags: list[str], environment: dict[str, str]) -> None:
    """The program accepts the flags and variables of each file, and requires signatures on a public address."""
    values, words = load(command, flags, environment)
    assert not words
    if isinstance(values, ServeSettings) and values.web_listen_address.host != "127.0.0.1":
        assert values.authentication == "adobe"


def test_whole_pages_are_only_shown_where_few_can_read_them() -> None:
    """Each file chooses what pages show: everything on a loopback address, and no messages elsewhere."""
    chosen = {}
    for name, command, flags, environment in commands():
        if command == "serve" and name != "Dockerfile":
            values, _ = load(command, flags, environment)
            assert isinstance(values, ServeSettings)
            assert values.web_pages is not None, name
            assert values.web_pages == ("full" if values.web_listen_address.is_loopback else "summary"), name
            chosen[name] = values.web_pages
    assert set(chosen.values()) == {"full", "summary"}


def test_links_lead_to_the_ports_of_compose() -> None:
    """Links in alerts and pages begin with addresses that Compose publishes, and dashboards link to the same."""
    labels = yaml.safe_load(text(ROOT / "prometheus" / "prometheus.yml"))["global"]["external_labels"]
    assert labels["aep_exporter_url"] == SERVICES["exporter"]["environment"]["AEP_EXPORTER_WEB_EXTERNAL_URL"] == LOCAL
    published = {port.rpartition(":")[0] for port in SERVICES["loopback"]["ports"]}
    assert {url.removeprefix("http://") for url in labels.values()} <= published


def test_the_unit_requires_a_client_id() -> None:
    """With the unchanged example of its settings, the program reports that the client id is missing."""
    (given,) = [environment for name, *_, environment in commands() if name == "deploy/systemd"]
    del given["AEP_EXPORTER_WEBHOOK_CLIENT_ID"]
    with pytest.raises(SettingsError, match=r"needs --webhook\.client-id"):
        load("serve", [], given)


def test_the_linter_accepts_the_dockerfile() -> None:
    """Hadolint finds nothing in the Dockerfile."""
    linter = Path(sys.executable).with_name("hadolint")
    ran = subprocess.run([linter, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stdout + ran.stderr


def test_the_image() -> None:
    """The image has two stages, a numeric user, one volume, commands in exec form, and a health check in Python."""
    lines = text(ROOT / "Dockerfile").replace("\\\n", "").splitlines()
    words = [line.split(maxsplit=1) for line in lines if line and line[0].isupper()]
    instructions = [(word, rest) for word, rest in words if word != "RUN"]
    assert [word for word, _ in instructions].count("FROM") == 2
    assert ("USER", f"{USER}:{USER}") in instructions
    assert ("VOLUME", LEDGER) in instructions
    assert f"SQLITE_TMPDIR={LEDGER} " in dict(instructions)["ENV"]
    for word, rest in instructions:
        if word in {"ENTRYPOINT", "CMD"}:
            assert rest.startswith("["), word
    (health_check,) = [rest for word, rest in instructions if word == "HEALTHCHECK"]
    assert health_check.endswith('CMD ["python", "-m", "exporter.healthcheck"]')
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]+)"', text(ROOT / "Dockerfile")))
    assert labels.keys() == {"title", "version", "description", "source", "licenses"}
    assert labels["version"] == __version__


def test_compose_listens_on_loopback() -> None:
    """Compose only publishes ports on loopback, restricts all services, and gives every foreign image a version."""
    published = SERVICES["loopback"]["ports"]
    assert len(published) == 4
    assert all(port.startswith("127.0.0.1:") for port in published)
    for name, service in SERVICES.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["image"] == "aep-flow-exporter" or re.search(r":v?\d+\.\d+\.\d+$", service["image"]), name
        if name != "loopback":
            assert service["network_mode"] == "service:loopback", name
            assert "ports" not in service, name
        # An image that is built here must not be pulled.
        assert (service["image"] == "aep-flow-exporter") == (service.get("pull_policy") == "never"), name


def test_the_mounts_of_compose_exist() -> None:
    """The folders that Compose mounts exist and are mounted read-only, and its volumes are declared."""
    for source, _, *options in (mount for name in SERVICES for mount in mounts(name)):
        if source.startswith("."):
            assert (ROOT / source).is_dir(), source
            assert options == ["ro"], source
        else:
            assert source in COMPOSE["volumes"]


def test_the_services_of_compose_fit_together() -> None:
    """The exporter accepts the client id and the key server of `simulate`, which posts to the exporter's address."""
    exporter, simulate = (SERVICES[name] for name in ("exporter", "simulate"))
    given = exporter["environment"]
    values, _ = load("simulate", simulate["command"][1:], {})
    assert isinstance(values, SimulateSettings)
    assert values.client_id == given["AEP_EXPORTER_WEBHOOK_CLIENT_ID"]
    assert given["AEP_EXPORTER_ADOBE_KEYS_URL"] == f"http://{values.keys_listen_address}"
    assert values.url == "http://127.0.0.1:10464/webhook"


def test_grafana_finds_its_files() -> None:
    """Dashboards are mounted where the provider reads them, one is the home page, and the data source is reachable."""
    provisioning = ROOT / "grafana" / "provisioning"
    (provider,) = yaml.safe_load(text(provisioning / "dashboards" / "aep-flow-exporter.yml"))["providers"]
    (source,) = yaml.safe_load(text(provisioning / "datasources" / "prometheus.yml"))["datasources"]
    targets = {source: target for source, target, *_ in mounts("grafana")}
    assert targets["./grafana/provisioning"] == "/etc/grafana/provisioning"
    assert targets["./grafana/dashboards"] == provider["options"]["path"]
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    folder, _, name = home.rpartition("/")
    assert folder == provider["options"]["path"]
    assert (ROOT / "grafana" / "dashboards" / name).is_file()
    assert f"{source['url'].removeprefix('http://')}:9090" in SERVICES["loopback"]["ports"]


@pytest.mark.parametrize("name", ["exporter.yaml", "ingress.yaml"])
def test_kubernetes_accepts_the_files(name: str) -> None:
    """Each document is valid by Kubernetes's schema and has no unknown fields."""
    for document in documents(name):
        kubernetes_validate.validate(document, "1.37", strict=True)


def test_the_pod_has_no_privileges() -> None:
    """The pod runs as an unprivileged user without capabilities, and can only write to the ledger's volume."""
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["securityContext"]["runAsUser"] == USER
    assert POD["automountServiceAccountToken"] is False
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    (mount,) = CONTAINER["volumeMounts"]
    assert mount["mountPath"] == LEDGER


def test_the_parts_of_kubernetes_fit_together() -> None:
    """Ports and labels connect the ingress, the Service, the probes and the container."""
    values, _ = load("serve", CONTAINER["args"][1:], {"AEP_EXPORTER_WEBHOOK_CLIENT_ID": "given"})
    assert isinstance(values, ServeSettings)
    ports = {each["name"]: each["containerPort"] for each in CONTAINER["ports"]}
    assert ports == {"metrics": values.web_listen_address.port, "webhook": _port(values.webhook_listen_address)}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert CONTAINER[probe]["httpGet"]["port"] == "webhook"
        assert CONTAINER[probe]["httpGet"]["path"] in {"/-/ready", "/-/healthy"}
    service = one("exporter.yaml", "Service")
    labels = one("exporter.yaml", "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert {each["name"]: each["port"] for each in service["spec"]["ports"]} == ports
    assert all(each["targetPort"] == each["name"] for each in service["spec"]["ports"])
    (path,) = one("ingress.yaml", "Ingress")["spec"]["rules"][0]["http"]["paths"]
    assert path["path"] == values.webhook_path
    assert path["pathType"] == "Exact"
    assert path["backend"]["service"] == {"name": service["metadata"]["name"], "port": {"name": "webhook"}}


def test_the_ingress_has_the_body_limit_of_the_exporter() -> None:
    """The ingress does not refuse deliveries that the exporter accepts, because Adobe drops them after a 413."""
    limit = one("ingress.yaml", "Ingress")["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-body-size"]
    values, _ = load("serve", [], {})
    assert isinstance(values, ServeSettings)
    assert size(limit.replace("m", "MiB")) == values.webhook_max_body


def test_no_secret_is_in_the_files() -> None:
    """The pod needs a Secret that its user creates with the command at the top of the file."""
    assert not [each for each in documents("exporter.yaml") if each["kind"] == "Secret"]
    (variable,) = CONTAINER["env"]
    reference = variable["valueFrom"]["secretKeyRef"]
    command = f"create secret generic {reference['name']} --from-literal={reference['key']}="
    assert command in text(DEPLOY / "kubernetes" / "exporter.yaml")


def test_flows_are_one_target() -> None:
    """The flow half is one target with a fixed instance, the exporter half is one per pod, and both have one job."""
    flows = one("scrape.yaml", "ScrapeConfig")["spec"]
    (process,) = one("scrape.yaml", "ServiceMonitor")["spec"]["endpoints"]
    service = one("exporter.yaml", "Service")
    (target,) = flows["staticConfigs"][0]["targets"]
    assert target == f"{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    assert flows["params"] == {"collect[]": ["flows"]}
    assert process["params"] == {"collect[]": ["exporter"]}
    (example,) = [
        each
        for each in yaml.safe_load(text(ROOT / "prometheus" / "prometheus.yml"))["scrape_configs"]
        if each["job_name"] == flows["jobName"]
    ]
    renamed = {each["target_label"]: each["replacement"] for each in example["relabel_configs"]}
    assert {each["targetLabel"]: each["replacement"] for each in flows["relabelings"]} == renamed
    assert process["relabelings"] == [{"targetLabel": "job", "replacement": renamed["job"]}]


class Readable(yaml.SafeDumper):
    """Writes texts of several lines as YAML block scalars."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


Readable.add_representer(str, _text)


def test_the_prometheusrule_is_up_to_date() -> None:
    """The PrometheusRule has exactly the groups of prometheus/rules.yml and prometheus/alerts.yml."""
    groups = [
        group
        for name in ("rules.yml", "alerts.yml")
        for group in yaml.safe_load(text(ROOT / "prometheus" / name))["groups"]
    ]
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "aep-flow-exporter", "labels": {"app.kubernetes.io/name": "aep-flow-exporter"}},
        "spec": {"groups": groups},
    }
    head = "# Generated from prometheus/rules.yml and prometheus/alerts.yml by `UPDATE=1 make test`.\n"
    wanted = head + yaml.dump(rule, Dumper=Readable, sort_keys=False, width=120)
    hold(RULE, wanted)
    assert yaml.safe_load(wanted) == rule


def _port(address: Address | None) -> int:
    assert address is not None
    return address.port
