"""Texts of a run to copy: for a ticket, and for the command that silences its alerts. This module does no I/O."""

import shlex
from collections.abc import Iterable, Sequence
from typing import Final

from exporter.pages import texts
from exporter.pages.views import Moment, RunView

SILENCED_FOR: Final = "2h"
_UNKNOWN: Final = "unknown"
_MAX_LINE: Final = 300
_MAX_ERRORS: Final = 20


def ticket(view: RunView, errors: Sequence[tuple[str, str]], links: Iterable[str | None]) -> str:
    """What a ticket about a run needs, in lines of `name: value`. What is not known has no line.

    `errors` are pairs of a code and a message, which is empty where there is none or it must not be shown. The ticket
    has the first line of each message. What a reader could not see is escaped.
    """
    lines = [
        ("Flow", f"{view.flow_name or _UNKNOWN} ({view.flow_id or _UNKNOWN})"),
        ("Run", view.run_id),
        ("Sandbox", view.sandbox),
        ("Organisation", view.org),
        ("Outcome", view.status),
        ("Started", _time(view.started_at)),
        ("Ended", _time(view.completed_at)),
        ("Duration", None if view.duration_seconds is None else texts.duration(view.duration_seconds)),
        *(("Error", f"{code} {_first_line(message)}".rstrip()) for code, message in errors[:_MAX_ERRORS]),
        *((("Error", f"and {len(errors) - _MAX_ERRORS} more codes"),) if len(errors) > _MAX_ERRORS else ()),
        *(("Link", link) for link in links if link),
    ]
    # A line feed in an id would begin a line that looks like one of ours.
    return "\n".join(f"{name}: {texts.shown(value, 10_000)}" for name, value in lines if value)


def silence(flow_id: str, sandbox: str, run_id: str) -> str | None:
    """The command that silences the alerts of a flow in a POSIX shell. None if an id has what a reader can't see.

    The shell takes each part as one word, and amtool each value as it is, whatever they hold.
    """
    if not all(text.isprintable() for text in (flow_id, sandbox, run_id)):
        return None
    words = (
        *("amtool", "silence", "add", f"--duration={SILENCED_FOR}", f"--comment=run {run_id} failed"),
        'alertname=~"AEPFlow.+"',
        f'flow_id="{_in_quotes(flow_id)}"',
        f'sandbox="{_in_quotes(sandbox)}"',
    )
    return shlex.join(words)


def _in_quotes(text: str) -> str:
    """A text as Alertmanager reads it between double quotes."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _time(moment: Moment | None) -> str | None:
    return None if moment is None else texts.time(moment)


def _first_line(message: str) -> str:
    line = next((line.strip() for line in message.splitlines() if line.strip()), "")
    return line if len(line) <= _MAX_LINE else line[: _MAX_LINE - 1] + "…"
