"""Texts of cursors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter import cursor_text
from exporter.errors import BadCursorError


@given(st.binary(max_size=200))
def test_a_place_comes_back(place: bytes) -> None:
    """The text of any place has only letters, digits, `-` and `_`, and stands for that place in that list alone."""
    text = cursor_text.encode("runs", place)
    assert text.replace("-", "").replace("_", "").isalnum()
    assert cursor_text.decode("runs", text) == place
    with pytest.raises(BadCursorError):
        cursor_text.decode("flows", text)


@given(st.binary(min_size=1, max_size=50), st.data())
def test_a_changed_text_is_no_cursor(place: bytes, data: st.DataObject) -> None:
    """A text of which one character was left out, changed or added raises BadCursorError."""
    text = cursor_text.encode("runs", place)
    at = data.draw(st.integers(0, len(text) - 1))
    character = data.draw(st.sampled_from("Aa0_="))
    for changed in (
        text[:at] + text[at + 1 :],
        text[:at] + character + text[at + 1 :],
        text[:at] + character + text[at:],
    ):
        if changed != text:
            with pytest.raises(BadCursorError):
                cursor_text.decode("runs", changed)


@given(st.text())
def test_a_text_that_was_made_up_is_no_cursor(text: str) -> None:
    """Any other text raises BadCursorError."""
    with pytest.raises(BadCursorError):
        cursor_text.decode("runs", text)
