"""Recognises the variables that Kubernetes and Docker put into containers for others that they can reach.

A Service called `aep-exporter-webhook` makes AEP_EXPORTER_WEBHOOK_SERVICE_HOST, AEP_EXPORTER_WEBHOOK_PORT and others,
which begin like the variables of settings. They are recognised by their values, and by the two that every Service has:
SERVICE_HOST and SERVICE_PORT. So a setting whose name is mistyped is not taken for one.

A container that Docker links (`--link`) has no SERVICE_HOST. It is recognised by its address, which it has twice.
"""

import ipaddress
import re
from collections.abc import Mapping
from typing import Final

_HOST: Final = "_SERVICE_HOST"
_PORT: Final = "_SERVICE_PORT"
_NUMBER = re.compile(r"[0-9]{1,5}")
_LINK_NAME = re.compile(r"(?:/[A-Za-z0-9_.-]+)+")
_PROTOCOL = re.compile(r"tcp|udp|sctp")
_URL = re.compile(r"(?:tcp|udp|sctp)://(?:\[(?P<ipv6>[^\]]+)\]|(?P<host>[^/]+)):(?P<port>[0-9]{1,5})")


def service_links(environment: Mapping[str, str], prefix: str) -> frozenset[str]:
    """The variables that belong to Services whose variables begin with `prefix`, which ends with an underscore."""
    services = [
        name.removesuffix(_HOST)
        for name, value in environment.items()
        if name.endswith(_HOST)
        and name.startswith(prefix)
        and _is_address(value)
        and _is_number(environment.get(name.removesuffix(_HOST) + _PORT, ""))
    ]
    services += [name.removesuffix("_PORT") for name in environment if _is_linked_port(environment, name)]
    return frozenset(
        name
        for name, value in environment.items()
        if any(_belongs(name.removeprefix(each), value) for each in services if name.startswith(each))
    )


def _is_linked_port(environment: Mapping[str, str], name: str) -> bool:
    """Whether a variable is the PORT of a container that Docker links. The address is there twice then."""
    value = environment[name]
    matched = _URL.fullmatch(value) if name.endswith("_PORT") and _is_url(value) else None
    return matched is not None and environment.get(f"{name}_{matched['port']}_TCP") == value


def _belongs(suffix: str, value: str) -> bool:
    """Whether what follows a Service's name, and the value, are of the form that Kubernetes writes."""
    return any(pattern.fullmatch(suffix) and is_valid(value) for pattern, is_valid in _FORMS)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None


def _is_url(text: str) -> bool:
    # An IPv6 address has brackets in newer versions of Kubernetes only.
    matched = _URL.fullmatch(text)
    return matched is not None and _is_address(matched["ipv6"] or matched["host"])


def _is_link_name(text: str) -> bool:
    return _LINK_NAME.fullmatch(text) is not None


def _is_protocol(text: str) -> bool:
    return _PROTOCOL.fullmatch(text) is not None


_FORMS: Final = (
    (re.compile(r"_SERVICE_HOST"), _is_address),
    (re.compile(r"_SERVICE_PORT(?:_[A-Z0-9_]+)?"), _is_number),
    (re.compile(r"_PORT(?:_[0-9]+_(?:TCP|UDP|SCTP))?"), _is_url),
    (re.compile(r"_PORT_[0-9]+_(?:TCP|UDP|SCTP)_PROTO"), _is_protocol),
    (re.compile(r"_PORT_[0-9]+_(?:TCP|UDP|SCTP)_PORT"), _is_number),
    (re.compile(r"_PORT_[0-9]+_(?:TCP|UDP|SCTP)_ADDR"), _is_address),
    (re.compile(r"_NAME"), _is_link_name),
    # A linked container's own variables, which can have any value.
    (re.compile(r"_ENV_.+"), lambda _text: True),
)
