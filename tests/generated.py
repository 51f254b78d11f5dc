"""Comparison of committed files with what they are generated from."""

import os
from pathlib import Path


def hold(path: Path, made: str) -> None:
    """Assert that a committed file equals `made`. With UPDATE in the environment, write the file first."""
    if os.environ.get("UPDATE"):
        path.write_text(made, encoding="utf-8")
    assert path.exists(), "run UPDATE=1 make test, and read the diff"
    assert path.read_text(encoding="utf-8") == made, "run UPDATE=1 make test, and read the diff"
