"""Takes screenshots of every page of a made-up organisation: `python -m tests.system.screenshots FOLDER`.

Each page is taken on a desk and on a telephone, light and dark. Look at them after a change of a template or of the
stylesheet.
"""

import sys
import tempfile
from pathlib import Path

from tests.system.browser import DESK, TELEPHONE, THEMES, chromium, watched
from tests.system.organisation import PAGES, TOKEN, fill
from tests.system.processes import Exporter

_MOST = 4000
"""CSS pixels of a page that are taken at the most."""


def main(folder: Path) -> None:
    """Write `PAGE-WIDTH-THEME.png` for each page."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, chromium() as browser:
        flags = ("--series.hold=0s", f"--webhook.token={TOKEN}")
        with Exporter(Path(temporary) / "exporter", *flags) as exporter:
            fill(exporter, Path(temporary))
            for width in (DESK, TELEPHONE):
                with watched(browser, width, tolerated=("404",), timezone_id="Europe/Berlin") as opened:
                    for name, path in PAGES.items():
                        opened.open(exporter.url + path)
                        for theme in THEMES:
                            opened.page.emulate_media(color_scheme=theme)
                            height = min(_MOST, opened.page.evaluate("document.documentElement.scrollHeight"))
                            opened.page.screenshot(
                                path=folder / f"{name}-{width}-{theme}.png",
                                full_page=True,
                                clip={"x": 0, "y": 0, "width": width, "height": height},
                            )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tests.system.screenshots FOLDER")
    main(Path(sys.argv[1]))
