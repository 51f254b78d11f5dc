"""Signals that must not end `serve`. SIGTERM and SIGINT, which end it in order, are in `exporter.server`.

A terminal that closes, a hook of certbot and logrotate send SIGHUP. It asks `serve` to read its files again, and never
ends it. By default SIGUSR1, SIGUSR2, the timers' signals and SIGIO end a process at once, without an answer to the
requests in progress and without a checkpoint. Nothing here uses them, so they are ignored with a line in the log:
whoever sends one means another program, or wants a log file to be opened again, and the log goes to standard error.
Python itself ignores SIGPIPE. SIGQUIT and SIGABRT keep their meaning, because people send them to get a core dump.
"""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Iterator

import structlog

from exporter.ignored_signals import UNUSED, ignore
from exporter.logs import LogThrottle

_log: structlog.stdlib.BoundLogger = structlog.get_logger("server")


@contextlib.contextmanager
def handled(on_hangup: Callable[[], None]) -> Iterator[None]:
    """Call `on_hangup` in the running event loop after each SIGHUP, and log the unused signals. At the end ignore all.

    The loop's own `add_signal_handler` is not used: when it takes a handler away, the default action is back for a
    moment.
    """
    loop = asyncio.get_running_loop()
    throttle = LogThrottle(time.monotonic)

    def react(number: int) -> None:
        if number == signal.SIGHUP:
            on_hangup()
            return
        more = throttle.allow(str(number))
        if more is not None:
            _log.warning(
                "a signal that has no meaning here was ignored",
                signal=signal.Signals(number).name,
                detail="SIGTERM stops the exporter, SIGHUP has it read its files again",
                more_like_it=more,
            )

    for number in (signal.SIGHUP, *UNUSED):
        signal.signal(number, lambda number, _frame: loop.call_soon_threadsafe(react, number))
        # No system call of another thread, such as a commit's, is cut short.
        signal.siginterrupt(number, False)
    try:
        yield
    finally:
        ignore()
