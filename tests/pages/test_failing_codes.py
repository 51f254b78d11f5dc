"""How many flows are failing with each code."""

from exporter.model import RecordedFact, RunError, Status
from exporter.pages.failing_codes import failing_codes
from tests.metrics.facts import DAY, T0, folded, recorded, run


def ended(position: int, flow_id: str, *codes: str, status: Status = Status.FAILED) -> RecordedFact:
    """A run of a flow that ended with these codes, recorded at a position."""
    errors = tuple(RunError(code=code) for code in codes)
    fact = run(f"r{position}", status, flow_id=flow_id, completed_at=T0 + position, errors=errors)
    return recorded(fact, position, T0 + position + 1)


def test_each_failing_flow_is_counted_once_for_each_of_its_codes() -> None:
    """Several runs of one flow count once. A flow that recovered does not count, and a run without a code is `none`."""
    facts = [
        ended(1, "f1", "133", "CONNECTOR-1001-500"),
        ended(2, "f1", "133"),
        ended(3, "f2", "133"),
        ended(4, "f3"),
        ended(5, "f4", "133"),
        ended(6, "f4", status=Status.SUCCESS),
    ]
    found = failing_codes(folded(facts, T0 + DAY).current_flows().flows.values())
    counts = {code: len(each.flows) for code, each in found.items()}
    assert counts == {"133": 2, "CONNECTOR-1001-500": 1, "none": 1}
    assert found["133"].since == T0 + 1
