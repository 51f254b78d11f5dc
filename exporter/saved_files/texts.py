"""Splits a stream of UTF-8 into JSON texts: one per line, over several lines, or in a row with nothing between them.

A text begins with a bracket and ends with the bracket that closes it. Blanks, commas, byte order marks and the record
separators of RFC 7464 may stand between texts. Whatever else stands there is a text too, up to the end of its line, so
that it can be reported. The headers of HTTP that `curl -i` writes before an answer are left out.

Damage costs as little as possible. A line that begins with a bracket where JSON allows no bracket begins a new text,
and what was read of the text before is split where a new text may have begun.

At most MAX_TEXT bytes are in memory. Of a longer text nothing is returned but its place.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from exporter.adobe import lenient_json

MAX_TEXT: Final = 128 * 1024 * 1024
"""Bytes of one JSON text. A page of Adobe's journal has at most 1.5 MB (docs/adobe.md, "Journal")."""
_MAX_STRAY: Final = 1024 * 1024
"""Bytes of a line outside of any text. Of a longer one nothing is returned but its place."""
_MAX_QUICK: Final = 256 * 1024
"""Bytes of a line that is awaited as a whole, because a line is a text more often than not."""

_BOM: Final = b"\xef\xbb\xbf"
_BETWEEN = re.compile(rb"(?:[ \t\r\n,\x1e]|\xef\xbb\xbf)*")
_BETWEEN_AFTER_DAMAGE = re.compile(rb"(?:[ \t\r\n,\x1e\]}]|\xef\xbb\xbf)*")
_LINE_START = re.compile(rb"[ \t]*")
_LINE_END = re.compile(rb"[\n\x1e]")
_STRAY_END = re.compile(rb"[\n\x1e]|(?<=\})[ \t]*(?=\{)")
_HTTP_STATUS = re.compile(rb"HTTP/[0-9.]{1,3} [0-9]{3}[ \r\n]")
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")

# A string that ends within its line is one token. The repeated part is a class of characters, for speed.
_TOKEN = re.compile(rb'"[^"\\\n\x1e]*+(?:\\[^\n\x1e][^"\\\n\x1e]*+)*+"|["{}\[\]\n\x1e]')
_IN_STRING = re.compile(rb'\\[^\n\x1e]|["\n\x1e]')
_POSSIBLE_START = re.compile(rb"(?<=\})[ \t\r]*(?=\{)|[\n\x1e](?=[{\[])")
"""Where a new text may have begun within a damaged one."""

_OPENING: Final = b"{["
_PAIRS: Final = {ord("}"): ord("{"), ord("]"): ord("[")}
_ARRAY: Final = ord("[")
_BLANKS: Final = b" \t\r\n\x1e"


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """One JSON text, or what stands in the place of one."""

    body: bytes
    """Empty if it is too long."""
    line: int
    """The number of the line where it begins. The first is 1."""
    number: int
    """Its number among the texts that begin in this line. The first is 1."""
    is_too_long: bool = False


class Splitter:
    """Finds the texts in blocks of a stream. `feed` returns those that are complete, and `end` the rest."""

    def __init__(self, max_text: int = MAX_TEXT, max_stray: int = _MAX_STRAY) -> None:
        """`max_text`: bytes of the longest text. `max_stray`: bytes of the longest line outside of any text."""
        self._max_text = max_text
        self._max_stray = max_stray
        # What has not been returned. A text that is under way begins at its start.
        self._bytes = bytearray()
        self._scanned = 0
        self._open = bytearray()
        """The brackets that are open in the text under way. Empty between texts."""
        self._is_in_string = False
        self._is_dropping = False
        """Whether the text under way is too long, so that its bytes are not kept."""
        self._is_after_damage = False
        """Whether any text was damaged. From then on closing brackets between texts belong to the damage."""
        self._is_at_line_start = True
        self._is_end = False
        self.line = 1
        """The number of the line up to which the stream has been split."""
        self._first_line = 1
        """The line where a text that is too long begins."""
        self._number = 0
        """How many texts began in this line."""

    def feed(self, block: bytes) -> Iterator[Text]:
        """The texts that end in this block."""
        self._bytes += block
        return self._texts()

    def end(self) -> Iterator[Text]:
        """What is left when the stream has ended."""
        self._is_end = True
        return self._texts()

    def _texts(self) -> Iterator[Text]:
        """The texts that are complete. Each step takes at least one byte, or returns None to wait for more."""
        while self._bytes and (found := self._step()) is not None:
            yield from found

    def _step(self) -> list[Text] | None:
        if self._open:
            return self._scan_text()
        if self._scanned or self._is_dropping:
            return self._scan_stray()
        between = _BETWEEN_AFTER_DAMAGE if self._is_after_damage else _BETWEEN
        match = between.match(self._bytes)
        if match is not None and match.end():
            self._is_at_line_start |= _LINE_END.search(self._bytes, 0, match.end()) is not None
            self._take(match.end())
            return []
        if not self._is_end and _BOM.startswith(self._bytes):
            return None
        if self._is_at_line_start:
            end = self._quick_end()
            if end is None:
                return None
            if end and lenient_json.decode_strict(line := bytes(self._bytes[:end])) is not None:
                return [self._text(line)]
            if _HTTP_STATUS.match(self._bytes):
                return self._skip_headers()
        if self._bytes[0] not in _OPENING:
            return self._scan_stray()
        self._open.append(self._bytes[0])
        self._scanned = 1
        return self._scan_text()

    def _quick_end(self) -> int | None:
        """Where this line ends, 0 if it is too long to wait for its end, or None if its end is awaited."""
        match = _LINE_END.search(self._bytes, 0, _MAX_QUICK)
        if match is not None:
            return match.start()
        if len(self._bytes) >= _MAX_QUICK:
            return 0
        return len(self._bytes) if self._is_end else None

    def _skip_headers(self) -> list[Text] | None:
        """Leave out the headers of an answer, up to the blank line that ends them."""
        match = _BLANK_LINE.search(self._bytes, 0, _MAX_QUICK)
        if match is not None:
            self._take(match.end())
            return []
        if len(self._bytes) < _MAX_QUICK and not self._is_end:
            return None
        return self._scan_stray()

    def _scan_stray(self) -> list[Text] | None:
        """What stands between texts, up to the end of its line or to where a text begins again."""
        match = _STRAY_END.search(self._bytes, self._scanned)
        if match is not None or self._is_end:
            return [self._text(bytes(self._bytes[: match.start() if match else len(self._bytes)]))]
        self._scanned = len(self._bytes)
        self._drop(self._max_stray)
        return None

    def _scan_text(self) -> list[Text] | None:
        """The text under way, if it is complete or if it turns out to be damaged."""
        while self._open:
            match = (_IN_STRING if self._is_in_string else _TOKEN).search(self._bytes, self._scanned)
            if match is None:
                break
            start, end = match.span()
            first = self._bytes[start]
            if first in _BLANKS:
                is_new = self._begins_text(start)
                if is_new is None:
                    self._scanned = start
                    return self._wait()
                if is_new:
                    return self._damaged(end)
            elif self._is_in_string:
                self._is_in_string = first != ord('"')
            elif first in _OPENING:
                self._open.append(first)
            elif first in _PAIRS:
                self._close(first)
            elif end == start + 1:
                # A string that does not end in this line, or not in this block.
                self._is_in_string = True
            self._scanned = end
        if not self._open:
            return self._closed()
        # The escape at the end of a block may lack its second character.
        if not (self._is_in_string and self._bytes.endswith(b"\\")):
            self._scanned = len(self._bytes)
        return self._damaged(len(self._bytes)) if self._is_end else self._wait()

    def _begins_text(self, line_end: int) -> bool | None:
        """Whether the text under way is damaged and a new one begins in the next line. None if more must be read."""
        start = line_end + 1
        match = _LINE_START.match(self._bytes, start)
        first = match.end() if match else start
        if first == len(self._bytes):
            return False if self._is_end else None
        if self._bytes[first] not in _OPENING or (self._is_in_string and first > start):
            return False
        if not self._is_in_string:
            if self._may_open(line_end):
                return False
            if first == start:
                return True
        # Some programs indent texts, or write strings over several lines. So the next line must be a text of its own.
        limit = start + _MAX_QUICK
        line = _LINE_END.search(self._bytes, start, limit)
        if line is None and len(self._bytes) < limit and not self._is_end:
            return None
        return lenient_json.decode(bytes(self._bytes[start : line.start() if line else limit])) is not None

    def _may_open(self, place: int) -> bool:
        """Whether JSON allows an opening bracket after what stands before this place."""
        while place > 0 and self._bytes[place - 1] in _BLANKS:
            place -= 1
        if not place:
            # All before it was dropped.
            return True
        before = self._bytes[place - 1]
        return before == ord(":") or (self._open[-1] == _ARRAY and before in b"[,")

    def _close(self, bracket: int) -> None:
        """Close the innermost bracket, also with one of the other kind, as the reader of damaged arrays does.

        The outermost bracket is closed by one of its own kind alone.
        """
        if len(self._open) > 1 or self._open[0] == _PAIRS[bracket]:
            self._open.pop()

    def _wait(self) -> list[Text] | None:
        """Wait for more of the text under way, unless it is too long."""
        if len(self._bytes) > self._max_text and not self._is_dropping and self._open[0] != _ARRAY:
            pieces = self._pieces(bytes(self._bytes))
            if len(pieces) > 1:
                return self._return_pieces(pieces[:-1])
        self._drop(self._max_text)
        return None

    def _drop(self, most: int) -> None:
        """Drop what was scanned of a text that is longer than this."""
        if not self._is_dropping and len(self._bytes) > most:
            self._is_dropping = True
            self._first_line = self.line
        if self._is_dropping:
            # All but the last byte that was scanned, which decides whether a bracket may follow.
            dropped = max(0, self._scanned - 1)
            number = self._number
            self._take(dropped)
            self._number = number
            self._scanned -= dropped

    def _closed(self) -> list[Text]:
        """The text whose last bracket was closed. It is split if it is no JSON."""
        body = bytes(self._bytes[: self._scanned])
        if not self._is_dropping and body[0] != _ARRAY and lenient_json.decode(body) is None:
            pieces = self._pieces(body)
            if len(pieces) > 1:
                # A string that was cut off made the end a wrong one, so the last piece may go on.
                return self._return_pieces(pieces[:-1])
        return [self._text(body)]

    def _damaged(self, end: int) -> list[Text]:
        """The texts in what was read of a text, up to this end, that is not complete and does not go on."""
        body = bytes(self._bytes[:end])
        if self._is_dropping or body[0] == _ARRAY:
            # Of an array that was cut off, the complete elements are read.
            found = [self._text(body)]
        else:
            found = self._return_pieces(self._pieces(body))
        self._is_after_damage = True
        return found

    def _pieces(self, body: bytes) -> list[bytes]:
        """The parts of a damaged text, so that each part that is JSON stands alone. Together they are the text."""
        starts = [0, *(match.end() for match in _POSSIBLE_START.finditer(body))]
        pieces: list[bytes] = []
        was_strict = True
        for start, end in zip(starts, [*starts[1:], len(body)], strict=True):
            part = body[start:end]
            is_strict = lenient_json.decode_strict(part.strip(_BLANKS + b",")) is not None
            if is_strict or was_strict:
                pieces.append(part)
            else:
                pieces[-1] += part
            was_strict = is_strict
        return pieces

    def _return_pieces(self, pieces: list[bytes]) -> list[Text]:
        found = [self._text(piece) for piece in pieces]
        self._is_after_damage = True
        return found

    def _text(self, body: bytes) -> Text:
        """Take a text from the start of the bytes. What follows it is between texts."""
        self._number += 1
        text = Text(
            body=b"" if self._is_dropping else body.strip(_BLANKS + b","),
            line=self._first_line if self._is_dropping else self.line,
            number=self._number,
            is_too_long=self._is_dropping,
        )
        self._is_dropping = self._is_in_string = self._is_at_line_start = False
        self._open.clear()
        self._scanned = 0
        self._take(len(body))
        return text

    def _take(self, length: int) -> None:
        """Remove bytes from the start, and count their lines."""
        lines = self._bytes.count(b"\n", 0, length)
        if lines:
            self.line += lines
            self._number = 0
        del self._bytes[:length]
