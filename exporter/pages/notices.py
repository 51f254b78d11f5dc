"""What makes it doubtful that failures are recorded and alerted: notices for the top of a page.

Each rule errs on the side of silence, because a notice that is often wrong is not read. This module does no I/O and
reads no clock.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from exporter.metrics.flow_summaries import CurrentFlows, FlowSummary
from exporter.model import DAY, Source
from exporter.pages.texts import duration, number

UNSCRAPED: Final = 10 * 60
"""Seconds without a scrape after which alerts are doubtful."""
CORRECTED_WITHIN: Final = 60 * 60
"""Seconds for which a correction of the clock is worth a notice. AEPExporterClockWrong lasts as long."""
SKEWED: Final = 120
"""Seconds of difference from Adobe's clock. AEPExporterClockWrong has the same bound."""

_SENT_BY_ADOBE: Final = (Source.WEBHOOK.value, Source.JOURNAL.value)
_LATE: Final = 2 / 3
_MOST: Final = 0.5
_FEW: Final = 3
_SHORTEST_LIMITS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing that is wrong."""

    reason: str
    """A word of a closed list: `recording`, `silence`, `clock`, `scrape` or `skipped`."""
    text: str
    """What is wrong, in a sentence."""
    action: str
    """What it leads to and what to do, in one or two sentences."""
    since: int | None = None
    """Milliseconds since 1970. None if it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessState:
    """What this process knows of its own state."""

    write_error: str | None = None
    """Why the last write to the ledger failed. None if it did not."""
    clock_notes: tuple[str, ...] = ()
    """What is or was wrong with the ledger's clock, within CORRECTED_WITHIN."""
    clock_skew: float | None = None
    """Seconds by which this machine's clock is ahead of Adobe's. None if it is not known."""
    unscraped: float = 0.0
    """Seconds since a scrape last got the metrics of flows, or since the start if none did."""
    was_scraped: bool = True
    """Whether a scrape got the metrics of flows since the start."""
    skipped: int = 0
    """Entries of the ledger that the metrics do not include."""


def notices(state: ProcessState, current: CurrentFlows, deliveries: Mapping[str, int]) -> tuple[Notice, ...]:
    """All notices, the gravest first. `deliveries`: when each source delivered last (`Queries.last_deliveries`)."""
    silence = of_silence(current, deliveries)
    return (*_of_recording(state), *([] if silence is None else [silence]), *_of_the_rest(state, current.now))


def notices_of_process(state: ProcessState, now: int) -> tuple[Notice, ...]:
    """The notices that need no answer of the ledger. `now` is in milliseconds since 1970."""
    return (*_of_recording(state), *_of_the_rest(state, now))


def last_heard(deliveries: Mapping[str, int]) -> int | None:
    """When Adobe's last notification came, of those that it sent by itself. None if none is known."""
    return max((at for source, at in deliveries.items() if source in _SENT_BY_ADOBE), default=None)


def of_silence(current: CurrentFlows, deliveries: Mapping[str, int]) -> Notice | None:
    """A notice if notifications have probably stopped.

    With three flows or more whose usual silence is known, the rule is that of AEPNotificationsStopped. With fewer, all
    of them must be overdue, and nothing must have come for twice the shortest of their limits.
    """
    heard = last_heard(deliveries)
    if heard is None:
        return None
    now = current.now
    awaited = list(_awaited(current.flows.values(), now, heard))
    if not (
        _have_many_stopped(awaited, now, heard) if len(awaited) >= _FEW else _have_few_stopped(awaited, now, heard)
    ):
        return None
    overdue = sum(flow.is_overdue(now) for flow in awaited)
    flows = "one flow is overdue" if overdue == 1 else f"{number(overdue)} flows are overdue at once"
    return Notice(
        reason="silence",
        text=f"No notification has come for {duration((now - heard) / 1000)}, and {flows}: they have probably stopped.",
        action="Failed runs are not recorded meanwhile. Check whether the webhook can be reached, then whether the "
        "registration in Adobe's Developer Console is enabled.",
        since=heard,
    )


def _awaited(flows: Iterable[FlowSummary], now: int, heard: int) -> Iterator[FlowSummary]:
    """The flows that are expected to run, with a known limit of silence."""
    is_silent_for_long = now - heard >= DAY
    for flow in flows:
        has_limit = flow.overdue_at is not None and not flow.is_disabled
        if has_limit and (is_silent_for_long or not flow.is_abandoned(now)):
            yield flow


def _have_many_stopped(awaited: list[FlowSummary], now: int, heard: int) -> bool:
    late = sum(_silence(flow, now) > _LATE for flow in awaited)
    overdue = sum(flow.is_overdue(now) for flow in awaited)
    if overdue < _FEW:
        return False
    # These were not overdue yet when the last notification came, and most of their limit has passed since then.
    stopped = sum(
        flow.is_overdue(now) and not flow.is_overdue(heard) and _share(flow, now - heard) > _LATE for flow in awaited
    )
    return late > _MOST * len(awaited) or stopped >= _FEW


def _have_few_stopped(awaited: list[FlowSummary], now: int, heard: int) -> bool:
    if not awaited or not all(flow.is_overdue(now) for flow in awaited):
        return False
    return now - heard > _SHORTEST_LIMITS * min(flow.silence_limit or 0 for flow in awaited)


def _silence(flow: FlowSummary, now: int) -> float:
    """The time since its latest run, as a share of the limit."""
    return 0.0 if flow.last is None else _share(flow, now - flow.last.ended_at)


def _share(flow: FlowSummary, silence: int) -> float:
    return silence / max(flow.silence_limit or 0, 1)


def _of_recording(state: ProcessState) -> Iterator[Notice]:
    if state.write_error is not None:
        yield Notice(
            reason="recording",
            text=f"The last notification could not be recorded: {state.write_error}.",
            action="Adobe sends again what was refused, for a day. /-/ready says when it works again.",
        )


def _of_the_rest(state: ProcessState, now: int) -> Iterator[Notice]:
    for note in state.clock_notes:
        yield Notice(
            reason="clock",
            text=f"{note[:1].upper()}{note[1:]}.",
            action="Times on this page and in alerts can be wrong.",
        )
    skew = state.clock_skew or 0.0
    if abs(skew) > SKEWED:
        yield Notice(
            reason="clock",
            text=f"The clock of this machine is {duration(abs(skew))} {'ahead of' if skew > 0 else 'behind'} Adobe's.",
            action="Times on this page and in alerts can be wrong. Set the clock right.",
        )
    if state.unscraped > UNSCRAPED:
        yield Notice(
            reason="scrape",
            text=f"Nobody has asked this process for the metrics of flows for {duration(state.unscraped)}.",
            action="No alert is sent from here meanwhile. Check whether Prometheus scrapes it.",
            since=now - int(state.unscraped * 1000),
        )
    if state.skipped:
        entries = "One entry" if state.skipped == 1 else f"{number(state.skipped)} entries"
        yield Notice(
            reason="skipped",
            text=f"{entries} of the ledger can't be read, so the metrics do not include what they say.",
            action="The log of this program says why. A failure can be among them.",
        )
