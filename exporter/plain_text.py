"""Cleans text that becomes a label, a log value or a column of the ledger.

Two groups of characters do not belong there:

- Control characters, halves of surrogates, and the line separators U+2028 and U+2029. A database or an encoder refuses
  some of them, and others break a line for whoever reads lines. U+FFFD, the usual replacement of damage, belongs to
  them: PromQL refuses it in a string, so nobody could ask for a label that has one. They are replaced by a question
  mark.
- Format characters that have no glyph of their own: zero widths, byte order marks, and those that turn the direction
  of writing. A reader can't see them, and they make two different texts look the same. They are removed.

Characters for private use stay: they have glyphs where they are used. The groups are ranges in this file. The Unicode
tables of Python are not used, because they differ between its versions, and all processes on one ledger must make the
same labels.

This module uses the standard library only.
"""

import re
from typing import Final

REPLACEMENT: Final = "?"

_SEPARATORS = re.compile("[\u2028\u2029\ufffd]")
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffd]")
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Controls without line feed and tab."""
_FORMATS = re.compile(
    # Soft hyphen, Arabic letter mark, Mongolian vowel separator.
    "[\u00ad\u061c\u180e"
    # Zero widths and marks of direction. Embeddings and overrides. Joiners, invisible operators and isolates.
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    # Byte order mark, interlinear annotations.
    "\ufeff\ufff9-\ufffb"
    # Controls of hieroglyphs, of shorthand and of musical notation. Tags.
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f]"
)


def without_formats(text: str) -> str:
    """Remove the format characters."""
    return text if text.isprintable() else _FORMATS.sub("", text)


def clean(text: str, replacement: str = REPLACEMENT) -> str:
    """Remove the format characters, and replace each character of the first group."""
    return text if _is_clean(text) else _CONTROLS.sub(replacement, _FORMATS.sub("", text))


def with_escapes(text: str) -> str:
    r"""Write the characters of both groups as JSON does (`\u202e`), so that a reader sees them.

    Line feeds, tabs and U+FFFD stay as they are. Unlike `clean` it loses nothing.
    """
    return text if text.isprintable() else _FORMATS.sub(_escape, _UNSEEN.sub(_escape, text))


def clean_json(text: str) -> str:
    """Clean the strings of a JSON text. Control characters are not looked for: a JSON text has them between tokens."""
    return text if _is_clean(text) else _SEPARATORS.sub(REPLACEMENT, _FORMATS.sub("", text))


def _escape(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at] << 8 | units[at + 1]:04x}" for at in range(0, len(units), 2))


def _is_clean(text: str) -> bool:
    return text.isprintable() and (text.isascii() or "\N{REPLACEMENT CHARACTER}" not in text)
