import re
from pathlib import Path

import pytest

from exporter.commands.main import settings_table
from exporter.metrics.catalogue import CATALOGUE
from tests.generated import hold

README = Path(__file__).parents[1] / "README.md"


def metrics_table() -> str:
    """The catalogue as a table."""
    rows = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for metric in CATALOGUE:
        labels = ", ".join(f"`{label}`" for label in metric.all_labels)
        rows.append(f"| `{metric.name}` | {metric.type} | {labels} | {metric.help} |")
    return "\n".join(rows)


@pytest.mark.parametrize(("name", "table"), [("metrics", metrics_table()), ("settings", settings_table("serve"))])
def test_the_readme_shows_what_is_declared(name: str, table: str) -> None:
    """The README's tables are those of the catalogue and of the settings."""
    text = README.read_text(encoding="utf-8")
    wanted = re.sub(
        rf"(?s)(<!-- {name} -->\n).*?(<!-- /{name} -->)", lambda found: found[1] + table + "\n" + found[2], text
    )
    hold(README, wanted)


def test_every_file_the_readme_names_exists() -> None:
    """What the README tells to use is there."""
    text = README.read_text(encoding="utf-8")
    named = set(re.findall(r"tests/samples/[\w.-]+", text)) | set(re.findall(r"`(exporter/[\w/.]+)`", text))
    assert named
    for name in named:
        assert (README.parent / name).exists(), name
