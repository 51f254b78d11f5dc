"""Tables on a terminal: aligned columns that fit a width.

No text of a table can do anything to the terminal, whatever it holds: control characters become question marks, and
characters that turn the direction of writing are removed (`exporter.plain_text`).
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from exporter.plain_text import clean

WIDTH: Final = 100
"""Columns of the terminal."""
_GAP: Final = "  "
_CUT: Final = "…"
_MIN_WIDTH: Final = 3
"""A column is not cut to fewer."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    title: str
    is_cut: bool = False
    """Whether its texts are cut where the table would be too wide. Names and messages are, ids and codes are not."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table. `details` are lines below it, indented. Only the last text of one is cut."""

    cells: Sequence[str]
    details: Sequence[Sequence[str]] = ()


def table(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    """The rows below the titles of their columns, one line each and one for each detail.

    The table is at most WIDTH columns wide, unless what is not cut is wider by itself.
    """
    lines = [[clean(cell) for cell in row.cells] for row in rows]
    widths = _fit(columns, [[column.title for column in columns], *lines])
    found = [_line([column.title for column in columns], widths)]
    for row, line in zip(rows, lines, strict=True):
        found.append(_line(line, widths))
        found += [_detail([clean(text) for text in detail]) for detail in row.details]
    return "\n".join(found)


def _fit(columns: Sequence[Column], lines: Sequence[Sequence[str]]) -> list[int]:
    """The widths of the columns. Of those that may be cut the widest is cut first."""
    widths = [max(map(_width, texts)) for texts in zip(*lines, strict=True)]
    excess = sum(widths) + len(_GAP) * (len(widths) - 1) - WIDTH
    while excess > 0:
        wide = [at for at, column in enumerate(columns) if column.is_cut and widths[at] > _MIN_WIDTH]
        if not wide:
            break
        widths[max(wide, key=lambda at: widths[at])] -= 1
        excess -= 1
    return widths


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return _GAP.join(_padded(cell, width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _detail(texts: Sequence[str]) -> str:
    *before, last = texts
    start = _GAP * 2 + "".join(text + _GAP for text in before)
    return start + _cut(last, max(_MIN_WIDTH, WIDTH - _width(start))) if before else start + last


def _padded(text: str, width: int) -> str:
    shown = _cut(text, width)
    return shown + " " * (width - _width(shown))


def _cut(text: str, width: int) -> str:
    """The text, or as much of its beginning as fits with a mark behind it."""
    if _width(text) <= width:
        return text
    taken, length = "", _width(_CUT)
    for character in text:
        length += _width(character)
        if length > width:
            break
        taken += character
    return taken + _CUT


def _width(text: str) -> int:
    """The number of columns that a terminal takes for a text."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text
    )
