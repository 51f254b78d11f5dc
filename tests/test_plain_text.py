import sys
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from exporter.plain_text import REPLACEMENT, clean, clean_json, without_formats

EVERYTHING = [chr(code) for code in range(sys.maxunicode + 1)]
VISIBLE_FORMATS = set("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")
"""Signs of Arabic, Syriac and Kaithi numbers. Unicode calls them format characters, and they have glyphs."""


def with_category(*categories: str) -> set[str]:
    """The characters of these categories."""
    return {each for each in EVERYTHING if unicodedata.category(each) in categories}


def test_what_becomes_of_each_character() -> None:
    """Controls, surrogates and separators are replaced, invisible format characters removed, and all others kept."""
    became = {each: clean(each) for each in EVERYTHING}
    removed = {each for each, text in became.items() if text == ""}
    # The tables of an older Python lack some of them.
    assert removed - with_category("Cn") == with_category("Cf") - VISIBLE_FORMATS
    replaced = {each for each, text in became.items() if text == REPLACEMENT and each != REPLACEMENT}
    assert replaced == with_category("Cc", "Cs", "Zl", "Zp") | {"\ufffd"}
    assert all(text in {"", each, REPLACEMENT} for each, text in became.items())


def test_a_clean_text_is_one_line() -> None:
    """No character at which Python splits lines is left in a clean text."""
    assert [each for each in EVERYTHING if len(f"a{clean(each)}b".splitlines()) > 1] == []


@given(st.text())
def test_a_clean_text_stays_as_it_is(text: str) -> None:
    """Cleaning twice is the same as cleaning once, and a clean text has no format characters."""
    assert clean(clean(text)) == clean(text) == without_formats(clean(text))


def test_another_replacement() -> None:
    """A message has blanks in the place of what is replaced."""
    assert clean("It\nrained\u2028twice\u200b.", " ") == "It rained twice."


def test_a_json_text_stays_json() -> None:
    """The blanks between the tokens of a JSON text are kept."""
    assert clean_json('{\n\t"a\u2029": "b\u202e"\n}') == '{\n\t"a?": "b"\n}'
