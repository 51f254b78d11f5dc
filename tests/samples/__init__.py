"""Bodies as Adobe sends them: the shapes of adobe.md B2, with values of our own."""

from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).parent

NAMES: Final = tuple(sorted(path.stem for path in _FOLDER.glob("*.json")))


def sample(name: str) -> bytes:
    """One body as it would come."""
    return (_FOLDER / f"{name}.json").read_bytes()
