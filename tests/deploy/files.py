"""The files for containers as the tests look at them."""

import re
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[2]
_VARIABLE: Final = re.compile(r"\b(AEP_EXPORTER_[A-Z_]+)=(\S+)")


def text(path: Path) -> str:
    """A file's text."""
    return path.read_text(encoding="utf-8")


def variables(said: str) -> dict[str, str]:
    """The program's variables that are set in a text."""
    return dict(_VARIABLE.findall(said))


COMPOSE: Final[dict[str, Any]] = yaml.safe_load(text(ROOT / "compose.yaml"))
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
IMAGE: Final = variables(text(ROOT / "Dockerfile"))
"""What the image sets."""


def mounts(service: str) -> list[list[str]]:
    """What a service's container is given: source, target and options of each."""
    return [mount.split(":") for mount in SERVICES[service].get("volumes", [])]
