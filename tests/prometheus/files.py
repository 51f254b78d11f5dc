"""Reads the files of prometheus/ for tests."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[2] / "prometheus"
RULE_FILES = ("rules.yml", "alerts.yml")

_ACTION = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"')
_BLOCK = re.compile(r"```promql\n(.*?)```", re.DOTALL)
_SECTION = re.compile(r"^## (\w+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Rule:
    """A recording or an alerting rule. `name` is the recorded series or the alert."""

    name: str
    is_alert: bool
    expression: str
    labels: dict[str, str]
    annotations: dict[str, str]

    def __str__(self) -> str:
        return self.name


def load(name: str) -> Any:
    """The content of a YAML file."""
    return yaml.safe_load(text(name))


def text(name: str) -> str:
    """The text of a file."""
    return (FOLDER / name).read_text(encoding="utf-8")


def rules() -> list[Rule]:
    """All rules of both files, in order."""
    return [
        Rule(
            rule.get("alert") or rule["record"],
            "alert" in rule,
            rule["expr"],
            rule.get("labels", {}),
            rule.get("annotations", {}),
        )
        for name in RULE_FILES
        for group in load(name)["groups"]
        for rule in group["rules"]
    ]


def alerts() -> list[Rule]:
    """The alerting rules."""
    return [rule for rule in rules() if rule.is_alert]


def actions(template: str) -> list[str]:
    """The actions of a template, with their braces."""
    return _ACTION.findall(template)


def template_queries(template: str) -> Iterator[tuple[str, int]]:
    """The expressions that a template queries, with "x" for each placeholder, and the number of placeholders."""
    for action in actions(template):
        if re.search(r"\bquery\b", action):
            literal = _LITERAL.search(action)
            assert literal, action
            expression: str = json.loads(f'"{literal[1]}"')
            given = re.findall(r"\$\S+", action[literal.end() :])
            assert expression.count("%q") == len(given), action
            yield expression.replace("%q", '"x"'), len(given)


def sections() -> dict[str, str]:
    """The runbook's sections by their headings."""
    return dict(_SECTION.findall(text("runbook.md")))


def runbook_queries(section: str) -> Iterator[str]:
    """The expressions of a section. Each line that is not indented begins a new one."""
    for block in _BLOCK.findall(section):
        yield from re.split(r"\n(?=\S)", block.strip())
