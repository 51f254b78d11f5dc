"""Writes the dashboards as JSON: `python -m grafana.build [--exporter-url=...] [FOLDER]`, or `make dashboards`."""

import argparse
import json
import re
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from grafana import aep_exporter, aep_flow, aep_flows, layout

FOLDER: Final = Path(__file__).parent / "dashboards"
LOCAL: Final = "http://127.0.0.1:10464"
"""The default address of the exporter's pages."""


def rendered(exporter_url: str = LOCAL) -> dict[str, str]:
    """The JSON of each dashboard by file name. Every call returns the same."""
    made = {
        layout.FLOWS: aep_flows.build(exporter_url),
        layout.FLOW: aep_flow.build(exporter_url),
        layout.EXPORTER: aep_exporter.build(),
    }
    return {
        f"{uid}.json": json.dumps(dashboard, cls=JSONEncoder, sort_keys=True, indent=2) + "\n"
        for uid, dashboard in made.items()
    }


def _address(text: str) -> str:
    """Check an address that links begin with, and remove a slash at its end."""
    if not re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not an address: write https://host or https://host/path")
    return text.rstrip("/")


def main() -> None:
    """Write a file for each dashboard."""
    parser = argparse.ArgumentParser(prog="python -m grafana.build", description="Write the Grafana dashboards.")
    parser.add_argument(
        "--exporter-url",
        type=_address,
        default=LOCAL,
        help="public address of the exporter's pages (default: %(default)s)",
    )
    parser.add_argument(
        "folder", nargs="?", type=Path, default=FOLDER, help="folder to write to (default: %(default)s)"
    )
    arguments = parser.parse_args()
    if not arguments.folder.is_dir():
        parser.error(f"{arguments.folder} is not a folder: create it first")
    for name, text in rendered(arguments.exporter_url).items():
        (arguments.folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
