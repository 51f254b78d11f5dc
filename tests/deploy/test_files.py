"""The files for containers, systemd and Kubernetes say what the program takes, and expose no more than they should."""

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

from exporter import __version__, settings
from exporter.errors import SettingsError
from exporter.parsers import Address, size
from tests.deploy.files import COMPOSE, IMAGE, ROOT, SERVICES, mounts, text, variables
from tests.generated import hold

DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "systemd" / "aep-flow-exporter.service"
RULE = DEPLOY / "kubernetes" / "prometheusrule.yaml"
USER = 10464
LEDGER = "/var/lib/aep-flow-exporter"


def documents(name: str) -> list[dict[str, Any]]:
    """The documents of one of the files for Kubernetes."""
    return list(yaml.safe_load_all(text(DEPLOY / "kubernetes" / name)))


def one(name: str, kind: str) -> Any:
    """The document of a kind."""
    (found,) = [each for each in documents(name) if each["kind"] == kind]
    return found


POD = one("exporter.yaml", "Deployment")["spec"]["template"]["spec"]
CONTAINER = POD["containers"][0]


def commands() -> Iterator[tuple[str, str, list[str], dict[str, str]]]:
    """Where the program is started: the place, the command, its flags and its variables."""
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
    ("command", "flags", "environment"), [pytest.param(*rest, id=place) for place, *rest in commands()]
)
def test_the_program_takes_its_flags(command: str, flags: list[str], environment: dict[str, str]) -> None:
    """What each file gives the program is what the program takes."""
    values, words = settings.load(command, flags, environment)
    assert not words
    if command == settings.SERVE and values.web_listen_address.host != "127.0.0.1":
        assert values.authentication == "adobe"


def test_the_unit_believes_nobody_unasked() -> None:
    """With the example of its settings as it is, the program asks for a client id and does not start."""
    (given,) = [environment for place, *_, environment in commands() if place == "deploy/systemd"]
    del given["AEP_EXPORTER_WEBHOOK_CLIENT_ID"]
    with pytest.raises(SettingsError, match=r"needs --webhook\.client-id"):
        settings.load("serve", [], given)


def test_the_linter_has_nothing_to_say() -> None:
    """Hadolint finds nothing in the Dockerfile."""
    linter = Path(sys.executable).with_name("hadolint")
    ran = subprocess.run([linter, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stdout + ran.stderr


def test_the_image() -> None:
    """Two stages, a user by number, one volume, exec form throughout, and no program but Python for the probe."""
    lines = text(ROOT / "Dockerfile").replace("\\\n", "").splitlines()
    words = [line.split(maxsplit=1) for line in lines if line and line[0].isupper()]
    said = [(word, rest) for word, rest in words if word != "RUN"]
    assert [word for word, _ in said].count("FROM") == 2
    assert ("USER", f"{USER}:{USER}") in said
    assert ("VOLUME", LEDGER) in said
    assert f"SQLITE_TMPDIR={LEDGER} " in dict(said)["ENV"]
    for word, rest in said:
        if word in {"ENTRYPOINT", "CMD"}:
            assert rest.startswith("["), word
    (probe,) = [rest for word, rest in said if word == "HEALTHCHECK"]
    assert probe.endswith('CMD ["python", "-m", "exporter.healthcheck"]')
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]+)"', text(ROOT / "Dockerfile")))
    assert labels.keys() == {"title", "version", "description", "source", "licenses"}
    assert labels["version"] == __version__


def test_compose_listens_on_loopback() -> None:
    """Every published port is this machine's own and the shared network's, and every image has a version."""
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
        # What is built here is nowhere to be pulled from.
        assert (service["image"] == "aep-flow-exporter") == (service.get("pull_policy") == "never"), name


def test_what_compose_mounts_is_there() -> None:
    """Files that containers are given exist, and are given to be read."""
    for source, _, *options in (mount for name in SERVICES for mount in mounts(name)):
        if source.startswith("."):
            assert (ROOT / source).is_dir(), source
            assert options == ["ro"], source
        else:
            assert source in COMPOSE["volumes"]


def test_the_parts_of_compose_know_each_other() -> None:
    """The exporter believes the client id and the keys of what plays Adobe; both share the exporter's loopback."""
    exporter, simulate = (SERVICES[name] for name in ("exporter", "simulate"))
    given = exporter["environment"]
    values, _ = settings.load("simulate", simulate["command"][1:], {})
    assert values.client_id == given["AEP_EXPORTER_WEBHOOK_CLIENT_ID"]
    assert given["AEP_EXPORTER_ADOBE_KEYS_URL"] == f"http://{values.keys_listen_address}"
    assert values.url == "http://127.0.0.1:10464/webhook"


def test_grafana_finds_what_it_is_given() -> None:
    """Dashboards are mounted where the provider looks for them, and one of them is Grafana's first page."""
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
def test_kubernetes_knows_the_words(name: str) -> None:
    """Each document is valid by Kubernetes's own schema, in which nothing is that it does not know."""
    for document in documents(name):
        kubernetes_validate.validate(document, "1.37", strict=True)


def test_the_pod_may_do_nothing() -> None:
    """The pod runs as nobody who may anything, on a file system that can't be written to but for the ledger."""
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


def test_the_parts_of_kubernetes_know_each_other() -> None:
    """Ports and labels lead from the ingress and the monitors over the Service to the container."""
    values, _ = settings.load("serve", CONTAINER["args"][1:], {"AEP_EXPORTER_WEBHOOK_CLIENT_ID": "given"})
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


def test_what_the_exporter_takes_gets_past_the_ingress() -> None:
    """A delivery that the exporter would take is not refused before it; what is refused with 413 is lost."""
    limit = one("ingress.yaml", "Ingress")["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-body-size"]
    assert size(limit.replace("m", "MiB")) == settings.load("serve", [], {})[0].webhook_max_body


def test_no_secret_is_made_up() -> None:
    """The pod waits for a Secret that its user makes: its name and key are in the command that the file begins with."""
    assert not [each for each in documents("exporter.yaml") if each["kind"] == "Secret"]
    (variable,) = CONTAINER["env"]
    reference = variable["valueFrom"]["secretKeyRef"]
    command = f"create secret generic {reference['name']} --from-literal={reference['key']}="
    assert command in text(DEPLOY / "kubernetes" / "exporter.yaml")


def test_flows_are_one_target() -> None:
    """Flows are scraped by the Service's name under one instance; processes pod by pod; both halves are one job."""
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
    """YAML in which an expression of several lines is one."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


Readable.add_representer(str, _text)


def test_the_rules_are_the_rules() -> None:
    """The PrometheusRule holds the groups of prometheus/rules.yml and prometheus/alerts.yml, and nothing else."""
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
