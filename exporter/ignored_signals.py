"""Ignores the signals that must not end `serve`, from its first moment on.

The standard library is all that this module needs, so that it is there before the rest of the program is loaded.
"""

import signal
import sys
from typing import Final

UNUSED: Final = (
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
    signal.SIGVTALRM,
    signal.SIGPROF,
    signal.SIGIO,
)
"""Signals that are ignored."""


def ignore() -> None:
    """Ignore SIGHUP and the unused signals from now on.

    This is for the time before the files are watched and after that. What is read after a SIGHUP that was ignored is
    the newest version anyway. The interpreter sets functions of ours back to the default when it ends, but not this.
    """
    sys.unraisablehook = _print_unless_late
    for number in (signal.SIGHUP, *UNUSED):
        signal.signal(number, signal.SIG_IGN)


def _print_unless_late(unraisable: "sys.UnraisableHookArgs") -> None:
    """Print what Python can't raise, but not that a signal had arrived shortly before it was ignored."""
    if not (isinstance(unraisable.exc_value, OSError) and unraisable.object is None):
        sys.__unraisablehook__(unraisable)
