"""Turns the bytes of a saved file into UTF-8, block by block: unpacks gzip, and decodes UTF-16 and UTF-32.

No function reads ahead by more than a few blocks, so a pipe is read like a file and a large file takes little memory.
"""

import codecs
import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Final

from exporter.errors import SavedFileError

BLOCK: Final = 64 * 1024
"""Bytes that are read at once."""
_UNPACKED: Final = 1024 * 1024
"""Most bytes that are unpacked at once. A block of gzip data can hold a thousand times its size."""
_HEAD: Final = 512
"""Bytes by which a file's format and encoding are found out. A tar archive names itself at 257."""

_GZIP_MAGIC: Final = b"\x1f\x8b"
_GZIP: Final = 16 + zlib.MAX_WBITS
"""Makes zlib expect the header and the checksum of gzip."""

# The longer marks come first, because the mark of UTF-32 begins with that of UTF-16.
_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_FIRST: Final = b'{[ \t\r\n\x1e"'
"""What a file of JSON texts begins with. Between two ASCII characters of UTF-16 there is a zero, of UTF-32 three."""


def read_blocks(file: BinaryIO) -> Iterator[bytes]:
    """The blocks of a file. Raises OSError."""
    while block := file.read(BLOCK):
        yield block


def with_head(blocks: Iterable[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """The first bytes of a stream, and the whole stream. Raises what reading it raises.

    An error after the first bytes is raised where the stream is read.
    """
    source = iter(blocks)
    read: list[bytes] = []
    failure: list[Exception] = []
    try:
        # Decoders return empty blocks too.
        for block in source:
            read.append(block)
            if sum(map(len, read)) >= _HEAD:
                break
    except (OSError, SavedFileError) as error:
        if not read:
            raise
        failure.append(error)

    def whole() -> Iterator[bytes]:
        yield from read
        for error in failure:
            raise error
        yield from source

    return b"".join(read)[:_HEAD], whole()


def unpack(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The content of a gzip file of any number of members. What is no gzip file is returned as it is.

    Raises SavedFileError if the data is damaged or cut off, after what could be unpacked.
    """
    head, blocks = with_head(blocks)
    return _unpack(blocks) if head.startswith(_GZIP_MAGIC) else blocks


def _unpack(blocks: Iterable[bytes]) -> Iterator[bytes]:
    member = zlib.decompressobj(_GZIP)
    is_begun = False
    for block in blocks:
        data = block
        while data:
            if not is_begun:
                # Some programs fill a file up with zeros.
                data = data.lstrip(b"\0")
                if not data:
                    break
            is_begun = True
            try:
                yield member.decompress(data, _UNPACKED)
            except zlib.error as error:
                raise SavedFileError("the gzip data is damaged here: what was read until here counts") from error
            data = member.unconsumed_tail
            if member.eof:
                data = member.unused_data
                member = zlib.decompressobj(_GZIP)
                is_begun = False
    if is_begun:
        yield member.flush()
        raise SavedFileError("the gzip data is cut off here: what was read until here counts")


def to_utf8(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """A text of UTF-16 or UTF-32 as UTF-8. Any other text is returned as it is."""
    head, blocks = with_head(blocks)
    encoding = _encoding(head)
    return _recode(blocks, encoding) if encoding else blocks


def _encoding(head: bytes) -> str | None:
    """The encoding if it is one of two or four bytes a character: by its mark, or by the zeros in it."""
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    zeros = bytes(byte == 0 for byte in head[:4])
    first = head[:4].strip(b"\0")[:1]
    if not first or first not in _FIRST:
        return None
    return {
        b"\0\1\0\1": "utf-16-le",
        b"\1\0\1\0": "utf-16-be",
        b"\0\1\1\1": "utf-32-le",
        b"\1\1\1\0": "utf-32-be",
    }.get(zeros)


def _recode(blocks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    for block in blocks:
        yield decoder.decode(block).encode(errors="replace")
    yield decoder.decode(b"", final=True).encode(errors="replace")
