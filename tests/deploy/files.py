"""Reads the container files for tests."""

import re
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[2]
_VARIABLE: Final = re.compile(r"\b(AEP_EXPORTER_[A-Z_]+)=(\S+)")


def text(path: Path) -> str:
    """The text of a file."""
    return path.read_text(encoding="utf-8")


def variables(content: str) -> dict[str, str]:
    """The program's variables that are set in a text."""
    return dict(_VARIABLE.findall(content))


COMPOSE: Final[dict[str, Any]] = yaml.safe_load(text(ROOT / "compose.yaml"))
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
IMAGE: Final = variables(text(ROOT / "Dockerfile"))
"""The program's variables that the image sets."""


def mounts(service: str) -> list[list[str]]:
    """The mounts of a service's container: source, target and options of each."""
    return [mount.split(":") for mount in SERVICES[service].get("volumes", [])]
