"""Tables on a terminal."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.commands.tables import WIDTH, Column, Row, table

COLUMNS = (Column("ID"), Column("NAME", is_cut=True), Column("PLACE", is_cut=True))


def columns_of(text: str) -> int:
    """The columns that a terminal takes for a text."""
    wide = sum(unicodedata.east_asian_width(each) in "WF" for each in text if not unicodedata.combining(each))
    return wide + sum(not unicodedata.combining(each) for each in text)


def test_columns_are_aligned() -> None:
    """Each column begins at the same place in all lines, also behind wide and combining characters."""
    names = ["a", "\N{CJK UNIFIED IDEOGRAPH-6D77}", "e\N{COMBINING ACUTE ACCENT}e"]
    lines = table(COLUMNS, [Row(("1", name, "here")) for name in names]).splitlines()
    assert lines[0] == "ID  NAME  PLACE"
    assert {columns_of(line.partition("here")[0]) for line in lines[1:]} == {10}


def test_the_widest_is_cut_first() -> None:
    """A short name stays whole beside a long one."""
    line = table(COLUMNS, [Row(("1", "n" * 200, "short"))]).splitlines()[1]
    assert line.endswith("nnn…  short")
    assert len(line) == WIDTH


def test_what_is_not_cut_stays_whole() -> None:
    """An id wider than the terminal makes the table wider. Names keep three columns."""
    line = table(COLUMNS, [Row(("i" * 120, "n" * 9, "p" * 9))]).splitlines()[1]
    assert line == f"{'i' * 120}  nn…  pp…"


@pytest.mark.parametrize(
    ("detail", "expected"),
    [
        (("code", "m" * 200), f"    code  {'m' * 89}…"),
        (("code", "message"), "    code  message"),
        (("c" * 200,), "    " + "c" * 200),
        (("co\nde", "mess\x1b[2Jage\u202e"), "    co?de  mess?[2Jage"),
    ],
)
def test_details_are_below_their_row(detail: tuple[str, ...], expected: str) -> None:
    """A detail is one indented line. Its last text is cut, what comes before it and what stands alone is not."""
    lines = table(COLUMNS, [Row(("1", "a", "b"), [detail]), Row(("2", "a", "b"))]).splitlines()
    assert lines[2] == expected
    assert lines[3].startswith("2")


@given(st.lists(st.tuples(st.text(max_size=150), st.text(max_size=150)), max_size=4))
def test_any_text_fits_and_does_nothing(texts: list[tuple[str, str]]) -> None:
    """Whatever texts there are, each row is one line, is not too wide, and holds no control character."""
    found = table(COLUMNS, [Row(("id", *cells)) for cells in texts])
    lines = found.split("\n")
    assert len(lines) == len(texts) + 1
    assert all(columns_of(line) <= WIDTH for line in lines)
    assert not any(unicodedata.category(each) == "Cc" for line in lines for each in line)
