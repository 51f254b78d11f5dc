"""The variables of Kubernetes's Services are told from those of settings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.commands.main import COMMANDS, find_command, load
from exporter.commands.service_links import service_links
from exporter.commands.settings import ENVIRONMENT_PREFIX, declared
from exporter.errors import SettingsError

ADDRESSES = ("10.96.0.17", "fd00:10:96::11")


def links(
    name: str, address: str = ADDRESSES[0], ports: tuple[tuple[str, int, str], ...] = (("http", 8080, "tcp"),)
) -> dict[str, str]:
    """What Kubernetes sets for a Service (its pkg/kubelet/envvars). A port has a name, a number and a protocol."""
    prefix = name.upper().replace("-", "_")
    shown = f"[{address}]" if ":" in address else address
    made = {f"{prefix}_SERVICE_HOST": address, f"{prefix}_SERVICE_PORT": str(ports[0][1])}
    for port_name, number, protocol in ports:
        url = f"{protocol}://{shown}:{number}"
        one = f"{prefix}_PORT_{number}_{protocol.upper()}"
        if port_name:
            made[f"{prefix}_SERVICE_PORT_{port_name.upper().replace('-', '_')}"] = str(number)
        made.setdefault(f"{prefix}_PORT", url)
        made |= {one: url, f"{one}_PROTO": protocol, f"{one}_PORT": str(number), f"{one}_ADDR": address}
    return made


def unknown(environment: dict[str, str]) -> str:
    """What `serve` complains of. Empty if it starts."""
    try:
        load("serve", [], environment)
    except SettingsError as error:
        return str(error)
    return ""


@given(
    st.from_regex(r"aep-exporter(-[a-z0-9]+){0,3}", fullmatch=True),
    st.sampled_from(ADDRESSES),
    st.lists(
        st.tuples(
            st.from_regex(r"([a-z][a-z0-9]{0,8}(-[a-z0-9]{1,5})?)?", fullmatch=True),
            st.integers(1, 65535),
            st.sampled_from(("tcp", "udp", "sctp")),
        ),
        min_size=1,
        max_size=3,
        unique_by=lambda port: port[1],
    ),
)
def test_services_are_ignored(name: str, address: str, ports: list[tuple[str, int, str]]) -> None:
    """Whatever a Service is called and whatever its ports are, its variables are no settings."""
    made = links(name, address, tuple(ports))
    assert service_links(made, ENVIRONMENT_PREFIX) == made.keys()
    assert unknown(made) == ""


def test_several_services() -> None:
    """Services whose names begin alike do not hide each other, and a mistyped setting beside them is an error."""
    made = links("aep-exporter") | links("aep-exporter-webhook") | links("aep-exporter-port") | links("aep-exporter-v2")
    assert unknown(made) == ""
    assert unknown(made | {"AEP_EXPORTER_WEBHOK_PATH": "/x"}).startswith("unknown variable AEP_EXPORTER_WEBHOK_PATH")


def test_linked_containers() -> None:
    """A container that Docker links is no setting, whatever its own variables are."""
    url = "tcp://172.17.0.2:10464"
    linked = {
        "AEP_EXPORTER_PORT": url,
        "AEP_EXPORTER_PORT_10464_TCP": url,
        "AEP_EXPORTER_PORT_10464_TCP_ADDR": "172.17.0.2",
        "AEP_EXPORTER_PORT_10464_TCP_PORT": "10464",
        "AEP_EXPORTER_PORT_10464_TCP_PROTO": "tcp",
        "AEP_EXPORTER_NAME": "/prometheus/aep-exporter",
        "AEP_EXPORTER_ENV_PYTHON_VERSION": "3.11.7",
    }
    assert unknown(linked) == ""
    assert "AEP_EXPORTER_ENV_X" in unknown({"AEP_EXPORTER_ENV_X": "1"})


HOST = {"AEP_EXPORTER_WEB_SERVICE_HOST": "10.0.0.1"}
PAIR = HOST | {"AEP_EXPORTER_WEB_SERVICE_PORT": "80"}


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({}, "AEP_EXPORTER_WEB_PORT=9000"),
        ({}, "AEP_EXPORTER_WEB_PORT=tcp://10.0.0.1:80"),
        ({}, "AEP_EXPORTER_LEDGER_URI=sqlite:///x.db"),
        ({}, "AEP_EXPORTER_WEBHOOK_SERVICE_HOST=nonsense"),
        ({}, "AEP_EXPORTER_WEBHOOK_SERVICE_HOST=10.0.0.1"),
        ({}, "AEP_EXPORTER_PORT=9000"),
        ({}, "AEP_EXPORTER_SERVICE_PORT=9000"),
        (PAIR, "AEP_EXPORTER_WEB_PORT=9000"),
        (PAIR, "AEP_EXPORTER_WEB_PORT=tcp://example.com:80"),
        (PAIR, "AEP_EXPORTER_WEB_PORT_80_TCP_ADDR=example.com"),
        (PAIR, "AEP_EXPORTER_WEB_PORT_80_TCP_PROTO=http"),
        (PAIR, "AEP_EXPORTER_WEB_LISTEN=127.0.0.1:80"),
        (PAIR, "AEP_EXPORTER_WEBHOOK_PORT=tcp://10.0.0.1:80"),
        (HOST, "AEP_EXPORTER_WEB_SERVICE_PORT=http"),
    ],
)
def test_mistyped_settings_are_errors(environment: dict[str, str], name: str) -> None:
    """A variable whose value, or whose neighbours, are not those of a Service is an error."""
    variable, _, value = name.partition("=")
    assert f"unknown variable {variable}" in unknown(environment | {variable: value})


def test_no_setting_looks_like_a_service() -> None:
    """No setting has a name that could belong to a Service, so that none is ignored."""
    variables = {each.flag.variable for command in COMMANDS for each in declared(find_command(command).settings)}
    endings = ("_SERVICE_HOST", "_SERVICE_PORT", "_PORT", "_TCP", "_UDP", "_PROTO", "_ADDR")
    assert [name for name in variables if name.endswith(endings)] == []
