"""Undoes the content encodings of a request's body: gzip and deflate, at most two of them, one within the other.

A short body can hold gigabytes, so nothing is inflated further than a bound, and in small pieces. `decoded_size` keeps
none of the pieces. So the memory of a body can be accounted for before `decode` fills it. A body that was cut off or
damaged, that has other bytes after its end, or that is encoded in another way can't be decoded. It is kept as it came.

The header comes before the signature is verified, and the body is inflated after that.

Pure functions of bytes: no I/O.
"""

import zlib
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

from exporter.errors import BodyTooLargeError

QUICK_BODY: Final = 16 * 1024
"""Bytes of an encoded body that is inflated within a millisecond or two, unless much comes out of it."""
QUICK_CONTENT: Final = 256 * 1024
"""Bytes of content that are inflated within a millisecond or two."""

_IDENTITY: Final = b"identity"
_GZIP: Final = (b"gzip", b"x-gzip")
_DEFLATE: Final = b"deflate"
_MAX_ENCODINGS: Final = 2
"""Encodings within each other that are undone. Nobody is known to send more than one, but for a proxy that adds its
own."""

_PIECE: Final = 64 * 1024
"""Bytes that are inflated at a time."""
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
_PADDING: Final = b"\0"
"""Some programs fill a file of gzip up with these."""
_ZLIB_METHOD: Final = 8
"""The lower half of a zlib stream's first byte. No encoder begins a raw deflate stream like this."""

Headers = Iterable[tuple[bytes, bytes]]
"""Names in lower case and values. A name may come several times."""


class UndecodableError(Exception):
    """The body can't be decoded. It is kept as it came."""


def content_encodings(headers: Headers) -> tuple[bytes, ...]:
    """The encodings of a body in the order in which they were applied, in lower case. `identity` is left out."""
    values = b",".join(value for name, value in headers if name == b"content-encoding")
    names = (each.strip().lower() for each in values.split(b","))
    return tuple(name for name in names if name and name != _IDENTITY)


def decoded_size(body: bytes, encodings: tuple[bytes, ...], most: int) -> int:
    """The bytes of what a body holds, or a larger number than `most` if they are more.

    Raises UndecodableError.
    """
    try:
        return sum(map(len, _pieces(body, encodings, most)))
    except BodyTooLargeError:
        return most + 1


def decode(body: bytes, encodings: tuple[bytes, ...], most: int) -> bytes:
    """What a body holds, which is the body itself if it has no encodings.

    Raises UndecodableError, and BodyTooLargeError if it holds more than `most` bytes.
    """
    return b"".join(_pieces(body, encodings, most)) if encodings else body


def _pieces(body: bytes, encodings: tuple[bytes, ...], most: int) -> Iterator[bytes]:
    if len(encodings) > _MAX_ENCODINGS:
        raise UndecodableError
    pieces = iter((body,))
    for left, encoding in reversed(list(enumerate(encodings))):
        # What still has an encoding can be a little larger than what is in it.
        pieces = _bounded(_inflate(pieces, encoding), 2 * most if left else most)
    return pieces


def _bounded(pieces: Iterator[bytes], most: int) -> Iterator[bytes]:
    """The pieces, up to `most` bytes. Raises BodyTooLargeError if there are more."""
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > most:
            raise BodyTooLargeError(f"a delivery has at most {most} bytes, also after decompression")
        yield piece


def _inflate(pieces: Iterator[bytes], encoding: bytes) -> Iterator[bytes]:
    """Undo one encoding."""
    first = next(filter(None, pieces), b"")
    if not first:
        raise UndecodableError
    window = _window(encoding, first[0])
    inflater = zlib.decompressobj(window)
    # Input that has to wait for the next piece of output is copied each time, so it is handed over in small parts.
    for part in _parts(chain((first,), pieces)):
        pending = part
        while pending:
            if inflater.eof:
                # The content of a gzip file with several members is that of all of them (RFC 1952, 2.2).
                pending = pending.lstrip(_PADDING)
                if window != _GZIP_WINDOW and pending:
                    raise UndecodableError
                inflater = zlib.decompressobj(window) if pending else inflater
                continue
            yield _next_piece(inflater, pending)
            pending = inflater.unused_data or inflater.unconsumed_tail
    # If the output has filled its last piece, there can be more of it without more input.
    while not inflater.eof:
        piece = _next_piece(inflater, b"")
        if not piece and not inflater.eof:
            raise UndecodableError
        yield piece


def _parts(pieces: Iterable[bytes]) -> Iterator[bytes]:
    return (piece[start : start + _PIECE] for piece in pieces for start in range(0, len(piece), _PIECE))


def _next_piece(inflater: "zlib._Decompress", pending: bytes) -> bytes:
    try:
        return inflater.decompress(pending, _PIECE)
    except zlib.error:
        raise UndecodableError from None


def _window(encoding: bytes, first: int) -> int:
    """The `wbits` of zlib's inflater for a stream that begins with this byte. Raises UndecodableError."""
    if encoding in _GZIP:
        return _GZIP_WINDOW
    if encoding == _DEFLATE:
        return zlib.MAX_WBITS if first & 0x0F == _ZLIB_METHOD else -zlib.MAX_WBITS
    raise UndecodableError
