"""Writes the dashboards: `python -m grafana.build [--exporter-url=...] [FOLDER]`, or `make dashboards`."""

import argparse
import json
import re
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from grafana import aep_exporter, aep_flow, aep_flows, layout

FOLDER: Final = Path(__file__).parent / "dashboards"
LOCAL: Final = "http://127.0.0.1:10464"
"""Where the exporter's pages are, by default."""


def rendered(exporter_url: str = LOCAL) -> dict[str, str]:
    """Each dashboard's file name and its JSON; the same at each call."""
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
    """An address that links can begin with."""
    if not re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no address: write https://host or https://host/path")
    return text.rstrip("/")


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(prog="python -m grafana.build", description="Write the Grafana dashboards.")
    parser.add_argument(
        "--exporter-url",
        type=_address,
        default=LOCAL,
        help="where people reach the exporter's pages (default: %(default)s)",
    )
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER, help="where to (default: %(default)s)")
    arguments = parser.parse_args()
    if not arguments.folder.is_dir():
        parser.error(f"{arguments.folder} is no folder: make it first")
    for name, text in rendered(arguments.exporter_url).items():
        (arguments.folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
