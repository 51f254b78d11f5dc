"""Converts simulated moments to real ones.

The rule: the simulated time before now (`--since`) passes at its own pace and ends now, and the time after that passes
at the requested speed. Moments are compressed and durations are not. A run whose end is reported at noon ended at noon,
also in a week that takes a quarter of an hour, and it started as long before as such runs take.

No I/O.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Converts simulated milliseconds since the beginning to real milliseconds since 1970."""

    present: int
    """The real moment at which the simulated past ends."""
    past: int = 0
    """Milliseconds of the simulated past."""
    speed: float = 1.0
    """Simulated milliseconds per real millisecond after the past."""

    def real(self, moment: int) -> int:
        """The real moment of a simulated one."""
        ahead = moment - self.past
        return self.present + (ahead if ahead < 0 else round(ahead / self.speed))
