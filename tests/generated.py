"""Committed files that are made from something else."""

import os
from pathlib import Path


def hold(path: Path, made: str) -> None:
    """Hold a committed file against what is made now; with UPDATE in the environment, write that first."""
    if os.environ.get("UPDATE"):
        path.write_text(made, encoding="utf-8")
    assert path.exists(), "run UPDATE=1 make test, and read the difference"
    assert path.read_text(encoding="utf-8") == made, "run UPDATE=1 make test, and read the difference"
