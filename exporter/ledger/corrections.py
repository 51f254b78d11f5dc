"""The body of an entry that corrects the clock: `{"clock": {"from": ..., "to": ...}}`, in milliseconds since 1970."""

import json

from exporter.model import ClockCorrection


def encode(correction: ClockCorrection) -> bytes:
    """The body of the entry."""
    return json.dumps({"clock": {"from": correction.from_, "to": correction.to}}).encode()


def decode(body: bytes) -> ClockCorrection:
    """The correction that a body holds. Raises ValueError if it holds none."""
    try:
        clock = json.loads(body)["clock"]
        from_, to = clock["from"], clock["to"]
    except (LookupError, TypeError) as error:
        raise ValueError("the body holds no correction of the clock") from error
    if type(from_) is not int or type(to) is not int:
        raise ValueError("the times of a correction must be whole numbers")
    return ClockCorrection(from_=from_, to=to)
