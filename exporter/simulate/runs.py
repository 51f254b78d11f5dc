"""Makes the runs of a flow.

The rule: a run depends only on the seed, its flow and its number, so that it is the same however many flows there are
and however long the simulation goes on. Conditions that last (such as a flow that fails for days) repeat every nine
days. In the first week each of them begins, and at its end most of them still last.

No I/O. Times are milliseconds since the beginning of the simulation.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

from exporter.model import RECORD_RESULTS, SIZE_RESULTS, Counts, FlowKind, Status
from exporter.simulate.codes import FAILURES, REJECTIONS, ErrorCause
from exporter.simulate.organisation import DAY, HOUR, SECOND, Behaviour, SimulatedFlow, Style, identifier, random_for

_CYCLE: Final = 9 * DAY
_FAILING: Final = (4 * DAY, 8 * DAY)
_STUCK: Final = (5 * DAY, 5 * DAY + 6 * HOUR)
_EMPTY: Final = (6 * DAY + 12 * HOUR, 7 * DAY + 6 * HOUR)
_SLOW: Final = (5 * DAY, 7 * DAY + 12 * HOUR)
_SILENT_FROM: Final = 3 * DAY
_CHANCE_OF_FAILURE: Final = {Behaviour.STEADY: 0.003, Behaviour.FLAKY: 0.02}
_RECORDS_IN_A_FILE: Final = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One activity of a run. Its name is one of exporter.model.ACTIVITIES."""

    name: str
    started: int
    ended: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run as it happened. Notifications do not always report all of it."""

    flow: SimulatedFlow
    number: int
    run_id: str
    started: int
    ended: int | None
    """None if it never ends."""
    outcome: Status
    records: Counts = ()
    size: Counts = ()
    files: Counts = ()
    cause: ErrorCause | None = None
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
"""The activities of each kind, with the share of the run's duration at which each starts and ends."""


def runs(flow: SimulatedFlow, seed: int) -> Iterator[Run]:
    """All runs of a flow in the order of their starts. There may be no end."""
    for number, slot in enumerate(flow.template.schedule.starts(flow.offset)):
        random = random_for(seed, "run", flow.number, number)
        started = slot + random.randrange(20 * SECOND)
        if flow.template.behaviour is Behaviour.SILENT and started >= _SILENT_FROM:
            return
        yield _run(flow, number, started, random)


def _run(flow: SimulatedFlow, number: int, started: int, random: Random) -> Run:
    run_id = new_run_id(flow, random)
    is_stuck = flow.template.behaviour is Behaviour.STUCK and _is_in(started, _STUCK)
    outcome = Status.IN_PROGRESS if is_stuck else _outcome(flow, number, started, random)
    duration = _duration(flow, outcome, started, random)
    records, size, files = _amounts(flow, outcome, started, random)
    causes = {Status.FAILED: FAILURES, Status.PARTIAL_SUCCESS: REJECTIONS}.get(outcome)
    cause = random.choice(_possible_causes(flow, causes[flow.template.kind])) if causes else None
    if outcome is Status.PARTIAL_SUCCESS and flow.template.style is not Style.EVENT:
        # The older formats have no partial success. Such a run succeeds with errors (docs/adobe.md, "Payloads").
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
        cause=cause,
        steps=() if is_stuck else _steps(flow, outcome, number, started, duration),
    )


def new_run_id(flow: SimulatedFlow, random: Random) -> str:
    """A run id that no other flow's run has."""
    return identifier(flow.flow_id, random.getrandbits(64))


def _is_in(moment: int, window: tuple[int, int]) -> bool:
    return window[0] <= moment % _CYCLE < window[1]


def _outcome(flow: SimulatedFlow, number: int, started: int, random: Random) -> Status:
    behaviour = flow.template.behaviour
    if behaviour is Behaviour.FAILING and _is_in(started, _FAILING):
        return Status.FAILED
    if behaviour is Behaviour.LOSSY and number % 2 == 1:
        return Status.PARTIAL_SUCCESS
    if behaviour is Behaviour.FLAKY and number % 29 == 11:
        return Status.FAILED
    if behaviour is Behaviour.CANCELLED and number % 9 == 4:
        return Status.CANCELLED
    if behaviour is Behaviour.UNDOCUMENTED and number % 11 == 5:
        return Status.UNKNOWN
    is_failed = random.random() < _CHANCE_OF_FAILURE.get(behaviour, 0.01)
    return Status.FAILED if is_failed else Status.SUCCESS


def _possible_causes(flow: SimulatedFlow, causes: tuple[ErrorCause, ...]) -> tuple[ErrorCause, ...]:
    """The causes that this flow can have. Streaming and batch destinations have different codes."""
    if flow.template.kind is not FlowKind.DESTINATION:
        return causes
    return tuple(cause for cause in causes if cause.code.startswith("ACTSVC") == flow.template.is_streaming)


def _duration(flow: SimulatedFlow, outcome: Status, started: int, random: Random) -> int:
    if flow.template.is_streaming:
        return HOUR
    usual = flow.template.duration * random.lognormvariate(0, 0.2)
    if flow.template.behaviour is Behaviour.SLOW and _is_in(started, _SLOW):
        usual *= 6
    if outcome in {Status.FAILED, Status.CANCELLED}:
        usual *= random.uniform(0.05, 0.6)
    return max(7 * SECOND, round(usual))


def _amounts(flow: SimulatedFlow, outcome: Status, started: int, random: Random) -> tuple[Counts, Counts, Counts]:
    """Records, bytes and files by result, as far as the kind of flow reports them."""
    if outcome in {Status.FAILED, Status.CANCELLED, Status.IN_PROGRESS}:
        return (), (), ()
    is_empty = flow.template.behaviour is Behaviour.EMPTY and _is_in(started, _EMPTY)
    read = 0 if is_empty else max(10, round(flow.records * random.lognormvariate(0, 0.3)))
    failed = max(1, round(read * random.uniform(0.08, 0.2))) if outcome is Status.PARTIAL_SUCCESS else 0
    skipped = round(read * random.uniform(0, 0.02)) if flow.template.kind is FlowKind.DESTINATION else 0
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
    reported = _REPORTED[flow.template.kind]
    return (
        tuple((result, records[result]) for result in RECORD_RESULTS if result in reported),
        tuple((result, size[result]) for result in SIZE_RESULTS) if flow.template.kind in _HAS_FILES else (),
        tuple((result, files[result]) for result in SIZE_RESULTS) if flow.template.kind in _HAS_FILES else (),
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


def _steps(flow: SimulatedFlow, outcome: Status, number: int, started: int, duration: int) -> tuple[Step, ...]:
    shares = _STEPS[flow.template.kind]
    if flow.template.is_streaming:
        shares = (("activation_streaming", 0.0, 1.0),) if flow.template.kind is FlowKind.DESTINATION else ()
    elif flow.template.kind is FlowKind.SOURCE and flow.template.behaviour is Behaviour.SLOW:
        # An activity that is in no document, because Platform's list is not closed.
        shares = (*shares, ("other", 0.4, 0.45))
    if outcome is Status.FAILED and number % 2:
        # The run failed in its first activity.
        shares = shares[:1]
    return tuple(
        Step(name=name, started=started + round(begins * duration), ended=started + round(ends * duration))
        for name, begins, ends in shares
    )
