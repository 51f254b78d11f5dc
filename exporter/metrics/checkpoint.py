"""Encodes a fold's whole state as bytes, and decodes it.

A checkpoint is JSON with the name of every field, and with each metric's labels, buckets and scale beside its series,
so that another version can read it. Unknown fields are ignored. A missing part is restored as empty. A metric whose
description has changed since begins at nothing, and the others are restored. The JSON is compressed with gzip, whose
checksum detects damage before it can become a number on /metrics.

Earlier versions let characters into labels that this one does not (`exporter.plain_text`). Decoding cleans them away,
so that a flow has the labels with which its next entries come.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Final

import msgspec
from isal import igzip
from isal.igzip_lib import IsalError

from exporter.metrics.cadence import Timestamps
from exporter.metrics.families import FamilyState
from exporter.metrics.fold_state import FoldState
from exporter.plain_text import clean_json

FORMAT: Final = 2
_GZIP_LEVEL: Final = 1
_ITEMS: Final = 25
"""Items of a list that are encoded together. The largest ones, flows, take some 40 microseconds each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checkpoint:
    """`format` changes only when an older version could misread the content."""

    format: int
    fold: FoldState


@dataclass(frozen=True, slots=True)
class _Head:
    format: int


def encode(state: FoldState) -> bytes:
    """Encode a state.

    It is encoded in pieces of about a millisecond. As one piece it would hold the interpreter's lock for as long as it
    takes, and every delivery would wait.
    """
    text = b"".join((b'{"format":%d,"fold":' % FORMAT, *_pieces(state), b"}"))
    return igzip.compress(text, compresslevel=_GZIP_LEVEL, mtime=0)


def _pieces(value: object) -> Iterator[bytes]:
    """The JSON of a value, in pieces: objects field by field, and long lists a few items at a time."""
    if is_dataclass(value) and not isinstance(value, type):
        opening = b"{"
        for each in fields(value):
            yield opening + _encoder.encode(each.name) + b":"
            yield from _pieces(getattr(value, each.name))
            opening = b","
        yield b"}" if opening == b"," else b"{}"
    elif isinstance(value, list) and value and isinstance(value[0], FamilyState):
        opening = b"["
        for family in value:
            yield opening
            yield from _pieces(family)
            opening = b","
        yield b"]"
    elif isinstance(value, list) and len(value) > _ITEMS:
        for start in range(0, len(value), _ITEMS):
            yield b"," if start else b"["
            yield _encoder.encode(value[start : start + _ITEMS])[1:-1]
        yield b"]"
    else:
        yield _encoder.encode(value)


def decode(raw: bytes) -> FoldState:
    """Decode a state. Raises ValueError if the bytes are damaged or have an unknown format."""
    try:
        text: bytes = igzip.decompress(raw)  # type: ignore[no-untyped-call]
        cleaned = text if text.isascii() else clean_json(text.decode()).encode()
        if cleaned != text and not _has_twins(state := _decode(cleaned)):
            return state
        return _decode(text)
    except (OSError, EOFError, IsalError, OverflowError, RecursionError) as error:  # type: ignore[misc] # the library does not type it
        raise ValueError("it is damaged") from error


def _decode(text: bytes) -> FoldState:
    match msgspec.json.decode(text, type=_Head).format:
        case 1:
            document = _from_format_1(msgspec.json.decode(text))
            # `str_keys`: JSON has only text as keys, and days are numbers.
            return msgspec.convert(document, _Checkpoint, str_keys=True, dec_hook=_from_plain).fold
        case 2:
            return _decoder.decode(text).fold
        case _:
            raise ValueError("its format is unknown to this version")


def _has_twins(state: FoldState) -> bool:
    """Whether cleaning made two flows or sandboxes the same. They stay apart then, each with the labels it had."""
    keyed: list[Sequence[tuple[Any, Any]]] = [state.flows.flows, state.flows.sandboxes]
    keyed += (family.groups for family in state.series)
    return any(len({key for key, _ in each}) < len(each) for each in keyed)


def _plain(value: object) -> object:
    """Convert types that msgspec does not encode by itself."""
    if isinstance(value, Timestamps):
        return value.tolist()
    raise NotImplementedError(type(value).__name__)


def _from_plain(wanted: type, value: Any) -> object:  # noqa: ANN401 - as msgspec hands it over
    if wanted is Timestamps:
        return Timestamps("q", value)
    raise NotImplementedError(wanted.__name__)


_encoder = msgspec.json.Encoder(enc_hook=_plain)
_decoder = msgspec.json.Decoder(_Checkpoint, dec_hook=_from_plain)


def _from_format_1(document: Any) -> object:  # noqa: ANN401 - any JSON, and `convert` checks the result
    """Rename the fields that 0.1.0 named otherwise, and give enums and booleans in place of their texts.

    Parts that are missing stay missing. Raises ValueError where a part has another structure.
    """
    try:
        fold = document.get("fold", {})
        for _, flow in fold.get("flows", {}).get("flows", ()):
            _rename(flow, "history", "run_history")
            for name in _WRITES_OF_FORMAT_1 & flow.keys():
                _rename(flow[name], "said", "as_of")
                # 0.1.0 wrote "" for no value.
                flow[name]["value"] = flow[name].get("value") or None
            if "enabled" in flow:
                flow["enabled"]["value"] = {"True": True, "False": False}.get(flow["enabled"]["value"])
        for _, start in fold.get("starts", ()):
            _rename(start, "place", "key")
        for _, alert in fold.get("alerts", {}).get("instances", ()):
            _rename(alert, "place", "key")
            _rename(alert, "told_at", "updated_at")
        for family in fold.get("series", ()):
            for _, group in family.get("groups", ()):
                for _, series in group:
                    _rename(series, "born_at", "created_at")
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError("it is damaged") from error
    return document


_WRITES_OF_FORMAT_1: Final = frozenset({"name", "kind", "org", "enabled"})


def _rename(fields: dict[str, object], old: str, new: str) -> None:
    if old in fields:
        fields[new] = fields.pop(old)
