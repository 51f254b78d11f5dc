"""The language of docstrings, as far as a program can check it."""

import ast
from collections.abc import Iterator
from pathlib import Path

EXPORTER = Path(__file__).parents[1] / "exporter"
MOST_SEMICOLONS = 0.05
"""The share of docstrings that may contain a semicolon. Two short sentences are easier to read."""

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def docstrings(path: Path) -> Iterator[tuple[str, str]]:
    """The place and text of each docstring of a file, of attributes as well as of modules, classes and functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, Documented):
            for statement in node.body:
                if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                    text = statement.value.value
                    if isinstance(text, str):
                        yield f"{path.relative_to(EXPORTER.parent)}:{statement.lineno}", text


def test_docstrings_have_no_semicolons() -> None:
    """Fewer than one docstring in twenty contains a semicolon."""
    found = [each for path in sorted(EXPORTER.rglob("*.py")) for each in docstrings(path)]
    offenders = [f"{place}: {text.splitlines()[0]}" for place, text in found if ";" in text]
    assert len(offenders) < MOST_SEMICOLONS * len(found), "\n".join(offenders)
