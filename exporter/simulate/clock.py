"""From simulated moments to real ones.

The rule: what lies before now (`--since`) happened at its own pace and ends now; what comes after goes by at the speed
that was asked for. Moments are compressed, durations are not: a run that is told of at noon ended at noon, also in a
week that takes a quarter of an hour, and began as long before as such runs take.

Sans-I/O.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Simulated milliseconds since the beginning to real milliseconds since 1970."""

    present: int
    """The real moment at which history ends."""
    history: int = 0
    """Milliseconds of history."""
    speed: float = 1.0
    """Simulated milliseconds in a real one, after history."""

    def real(self, moment: int) -> int:
        """When it happens."""
        ahead = moment - self.history
        return self.present + (ahead if ahead < 0 else round(ahead / self.speed))
