"""A fold's whole state as bytes, and back.

Self-describing: JSON with the name of every field, and with each metric's labels, buckets and scale beside its cells,
so that another version can read it. What it has too much of is ignored; what it lacks is as at the beginning; a metric
that is described otherwise by now begins anew, alone. Compressed, and so under a checksum: damage is found here, and
never becomes a number on /metrics.
"""

from dataclasses import dataclass
from typing import Any, Final

import msgspec
from isal import igzip
from isal.igzip_lib import IsalError

from exporter.metrics.fold import FoldState
from exporter.metrics.history import Timestamps

FORMAT: Final = 2
_GZIP_LEVEL: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checkpoint:
    """`format` changes only when an older version could misread what it finds."""

    format: int
    fold: FoldState


@dataclass(frozen=True, slots=True)
class _Head:
    format: int


def encode(state: FoldState) -> bytes:
    """A state as bytes."""
    return igzip.compress(_encoder.encode(_Checkpoint(format=FORMAT, fold=state)), compresslevel=_GZIP_LEVEL, mtime=0)


def decode(raw: bytes) -> FoldState:
    """The state that these bytes are of. Raises ValueError where they are damaged or another version's."""
    try:
        text: bytes = igzip.decompress(raw)  # type: ignore[no-untyped-call]
        match msgspec.json.decode(text, type=_Head).format:
            case 1:
                return msgspec.convert(
                    _from_format_1(msgspec.json.decode(text)), _Checkpoint, dec_hook=_from_plain
                ).fold
            case 2:
                return _decoder.decode(text).fold
            case _:
                raise ValueError("it is of a format that this version does not know")
    except (OSError, EOFError, IsalError, OverflowError, RecursionError) as error:  # type: ignore[misc] # the library does not type it
        raise ValueError("it is damaged") from error


def _plain(value: object) -> object:
    """What the encoder does not know by itself."""
    if isinstance(value, Timestamps):
        return value.tolist()
    raise NotImplementedError(type(value).__name__)


def _from_plain(wanted: type, value: Any) -> object:  # noqa: ANN401 - as msgspec hands it over
    if wanted is Timestamps:
        return Timestamps("q", value)
    raise NotImplementedError(wanted.__name__)


_encoder = msgspec.json.Encoder(enc_hook=_plain)
_decoder = msgspec.json.Decoder(_Checkpoint, dec_hook=_from_plain)


def _from_format_1(document: Any) -> object:  # noqa: ANN401 - any JSON; `convert` checks the result
    """Rename what 0.1.0 called otherwise, and give enums and booleans in place of their texts."""
    try:
        fold = document["fold"]
        for _, flow in fold["flows"]["flows"]:
            flow["run_history"] = flow.pop("history")
            for name in ("name", "kind", "org", "enabled"):
                write = flow[name]
                flow[name] = {"value": write["value"] or None, "as_of": write["said"]}
            enabled = flow["enabled"]
            enabled["value"] = {"True": True, "False": False}.get(enabled["value"])
        for _, start in fold["starts"]:
            start["key"] = start.pop("place")
        for _, alert in fold["alerts"]["instances"]:
            alert["key"] = alert.pop("place")
            alert["updated_at"] = alert.pop("told_at")
        for family in fold["series"]:
            for _, labelled in family["groups"]:
                for _, series in labelled:
                    series["created_at"] = series.pop("born_at")
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError("it is damaged") from error
    return document
