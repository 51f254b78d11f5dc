"""Runs: how each run of a flow went.

The rule: a run is worked out from the seed, its flow and its number alone, so that it is the same however many flows
there are and however far the simulation goes. Conditions that last (a flow that fails for days) come in a cycle of nine
days, arranged so that the first week sees each of them begin and ends with most of them unmended.

Sans-I/O. Times are milliseconds since the simulation's beginning.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from exporter.model import RECORD_RESULTS, SIZE_RESULTS, Counts, FlowKind, Status
from exporter.simulate.codes import FAILURES, REJECTIONS, Trouble
from exporter.simulate.organisation import DAY, HOUR, SECOND, Flow, Habit, Style, dice, identifier

_CYCLE: Final = 9 * DAY
_FAILING: Final = (4 * DAY, 8 * DAY)
_STUCK: Final = (5 * DAY, 5 * DAY + 6 * HOUR)
_EMPTY: Final = (6 * DAY + 12 * HOUR, 7 * DAY + 6 * HOUR)
_SLOW: Final = (5 * DAY, 7 * DAY + 12 * HOUR)
_SILENT_FROM: Final = 3 * DAY
_CHANCE_OF_FAILURE: Final = {Habit.STEADY: 0.003, Habit.FLAKY: 0.02}
_RECORDS_IN_A_FILE: Final = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One activity of a run; its name is of exporter.model.ACTIVITIES."""

    name: str
    started: int
    ended: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run as it went, which is not always as it is told."""

    flow: Flow
    number: int
    run_id: str
    started: int
    ended: int | None
    """None: it never ends."""
    outcome: Status
    records: Counts = ()
    size: Counts = ()
    files: Counts = ()
    trouble: Trouble | None = None
    steps: tuple[Step, ...] = ()

    @property
    def skipped(self) -> int:
        """Records that were left out on purpose."""
        return dict(self.records).get("skipped", 0)


_STEPS: Final[dict[FlowKind, tuple[tuple[str, float, float], ...]]] = {
    FlowKind.SOURCE: (("copy", 0.0, 0.4), ("promotion", 0.45, 1.0)),
    FlowKind.IDENTITY: (("identity", 0.0, 1.0),),
    FlowKind.PROFILE: (("profile", 0.0, 1.0),),
    FlowKind.SEGMENT: (("segmentation", 0.0, 1.0),),
    FlowKind.DESTINATION: (("activation_processing", 0.0, 0.3), ("activation_publishing", 0.5, 1.0)),
    FlowKind.QUERY: (("query", 0.0, 0.9), ("promotion", 0.05, 1.0)),
    FlowKind.UNKNOWN: (),
}
"""Of each kind: the activities, and their share of the run's time."""


def runs(flow: Flow, seed: int) -> Iterator[Run]:
    """All runs of a flow, by their start; it may go on for ever."""
    for number, slot in enumerate(flow.part.cadence.starts(flow.offset)):
        chance = dice(seed, "run", flow.number, number)
        started = slot + chance.randrange(20 * SECOND)
        if flow.part.habit is Habit.SILENT and started >= _SILENT_FROM:
            return
        yield _run(flow, number, started, chance)


def _run(flow: Flow, number: int, started: int, chance: random.Random) -> Run:
    run_id = new_run_id(flow, chance)
    is_stuck = flow.part.habit is Habit.STUCK and _is_in(started, _STUCK)
    outcome = Status.IN_PROGRESS if is_stuck else _outcome(flow, number, started, chance)
    duration = _duration(flow, outcome, started, chance)
    records, size, files = _amounts(flow, outcome, started, chance)
    troubles = {Status.FAILED: FAILURES, Status.PARTIAL_SUCCESS: REJECTIONS}.get(outcome)
    trouble = chance.choice(_told_of(flow, troubles[flow.part.kind])) if troubles else None
    if outcome is Status.PARTIAL_SUCCESS and flow.part.style is not Style.EVENT:
        # The older notifications know no partial success: such a run succeeded, with errors (adobe.md B2, point 4).
        outcome = Status.SUCCESS
    return Run(
        flow=flow,
        number=number,
        run_id=run_id,
        started=started,
        ended=None if is_stuck else started + duration,
        outcome=outcome,
        records=records,
        size=size,
        files=files,
        trouble=trouble,
        steps=() if is_stuck else _steps(flow, outcome, number, started, duration),
    )


def new_run_id(flow: Flow, chance: random.Random) -> str:
    """The id of a run, that no other flow's run has."""
    return identifier(flow.flow_id, chance.getrandbits(64))


def _is_in(moment: int, window: tuple[int, int]) -> bool:
    return window[0] <= moment % _CYCLE < window[1]


def _outcome(flow: Flow, number: int, started: int, chance: random.Random) -> Status:
    habit = flow.part.habit
    if habit is Habit.FAILING and _is_in(started, _FAILING):
        return Status.FAILED
    if habit is Habit.ROUGH and number % 2 == 1:
        return Status.PARTIAL_SUCCESS
    if habit is Habit.FLAKY and number % 29 == 11:
        return Status.FAILED
    if habit is Habit.CANCELLED and number % 9 == 4:
        return Status.CANCELLED
    if habit is Habit.ODD and number % 11 == 5:
        return Status.UNKNOWN
    is_failed = chance.random() < _CHANCE_OF_FAILURE.get(habit, 0.01)
    return Status.FAILED if is_failed else Status.SUCCESS


def _told_of(flow: Flow, troubles: tuple[Trouble, ...]) -> tuple[Trouble, ...]:
    """Those that this flow can have: streaming and batch destinations fail in words of their own."""
    if flow.part.kind is not FlowKind.DESTINATION:
        return troubles
    return tuple(trouble for trouble in troubles if trouble.code.startswith("ACTSVC") == flow.part.is_streaming)


def _duration(flow: Flow, outcome: Status, started: int, chance: random.Random) -> int:
    if flow.part.is_streaming:
        return HOUR
    usual = flow.part.duration * chance.lognormvariate(0, 0.2)
    if flow.part.habit is Habit.SLOW and _is_in(started, _SLOW):
        usual *= 6
    if outcome in {Status.FAILED, Status.CANCELLED}:
        usual *= chance.uniform(0.05, 0.6)
    return max(7 * SECOND, round(usual))


def _amounts(flow: Flow, outcome: Status, started: int, chance: random.Random) -> tuple[Counts, Counts, Counts]:
    """Records, bytes and files by result, as the kind of flow reports them."""
    if outcome in {Status.FAILED, Status.CANCELLED, Status.IN_PROGRESS}:
        return (), (), ()
    is_empty = flow.part.habit is Habit.EMPTY and _is_in(started, _EMPTY)
    read = 0 if is_empty else max(10, round(flow.records * chance.lognormvariate(0, 0.3)))
    failed = max(1, round(read * chance.uniform(0.08, 0.2))) if outcome is Status.PARTIAL_SUCCESS else 0
    skipped = round(read * chance.uniform(0, 0.02)) if flow.part.kind is FlowKind.DESTINATION else 0
    written = read - failed - skipped
    updated = round(written * 0.3)
    by_result = {"input": read, "output": written, "skipped": skipped, "failed": failed}
    records = {
        **by_result,
        "created": written - updated,
        "updated": updated,
        "deleted": round(written * 0.01),
        "warning": failed // 2,
    }
    size = {result: count * flow.bytes_per_record for result, count in by_result.items()}
    files = {result: -(-count // _RECORDS_IN_A_FILE) for result, count in by_result.items()}
    reported = _REPORTED[flow.part.kind]
    return (
        tuple((result, records[result]) for result in RECORD_RESULTS if result in reported),
        tuple((result, size[result]) for result in SIZE_RESULTS) if flow.part.kind in _HAS_FILES else (),
        tuple((result, files[result]) for result in SIZE_RESULTS) if flow.part.kind in _HAS_FILES else (),
    )


_REPORTED: Final[dict[FlowKind, frozenset[str]]] = {
    FlowKind.SOURCE: frozenset({"input", "output", "skipped", "failed", "warning"}),
    FlowKind.IDENTITY: frozenset({"input", "output", "created", "updated", "deleted", "skipped", "failed"}),
    FlowKind.PROFILE: frozenset({"input", "output", "created", "updated", "failed"}),
    FlowKind.SEGMENT: frozenset({"input", "output"}),
    FlowKind.DESTINATION: frozenset({"input", "output", "created", "skipped", "failed"}),
    FlowKind.QUERY: frozenset({"input", "output", "created", "failed"}),
    FlowKind.UNKNOWN: frozenset({"input", "created", "failed"}),
}
_HAS_FILES: Final = frozenset({FlowKind.SOURCE, FlowKind.DESTINATION, FlowKind.QUERY})


def _steps(flow: Flow, outcome: Status, number: int, started: int, duration: int) -> tuple[Step, ...]:
    shares = _STEPS[flow.part.kind]
    if flow.part.is_streaming:
        shares = (("activation_streaming", 0.0, 1.0),) if flow.part.kind is FlowKind.DESTINATION else ()
    elif flow.part.kind is FlowKind.SOURCE and flow.part.habit is Habit.SLOW:
        # A step that no document names: Platform's list is not closed.
        shares = (*shares, ("other", 0.4, 0.45))
    if outcome is Status.FAILED and number % 2:
        # It failed in its first step.
        shares = shares[:1]
    return tuple(
        Step(name=name, started=started + round(begins * duration), ended=started + round(ends * duration))
        for name, begins, ends in shares
    )
