import json
import math
from collections.abc import Iterator
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.adobe.payloads import ANOMALY_FIELDS, read
from exporter.model import (
    Fact,
    FlowAlert,
    FlowRun,
    RunError,
    Status,
    Unreadable,
    Unsupported,
)
from tests.adobe import GARBAGE, NOW, a_run, assert_keepable, encoded, facts, failing, trees
from tests.adobe.sample_facts import FACTS, SINGLE_RUNS
from tests.samples import NAMES, sample

START = 1759926000000


@pytest.mark.parametrize("name", NAMES)
def test_sample(name: str) -> None:
    """Every sample is read as the facts that were written down for it."""
    assert tuple(facts(sample(name))) == FACTS[name]


def run_of(metrics: object = None, **members: object) -> Fact:
    """The fact in the smallest run with these sections in its metrics, and these members."""
    sections = metrics if isinstance(metrics, dict) else {}
    return read(encoded(a_run(**{"metrics": {"statusSummary": {"status": "failed"}, **sections}, **members})), NOW)


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("success Success SUCCESS completed COMPLETED", Status.SUCCESS),
        ("partialSuccess PARTIAL_SUCCESS partial-success partialfailure PARTIAL_FAILURE", Status.PARTIAL_SUCCESS),
        ("failed FAILED failure error Error", Status.FAILED),
        ("cancelled canceled CANCELED aborted", Status.CANCELLED),
        ("inProgress IN_PROGRESS in-progress processing Processing started", Status.IN_PROGRESS),
        ("queued QUEUED waiting Waiting scheduled", Status.QUEUED),
        ("finalizing lost SUCCESSES succes", Status.UNKNOWN),
    ],
    ids=lambda value: value if isinstance(value, Status) else "",
)
def test_status(words: str, status: Status) -> None:
    """A status is matched without case and separators. An unknown one is the outcome `unknown`."""
    spellings = [*words.split(), *(f" {word} " for word in words.split())]
    found = [read(encoded(a_run(metrics={"statusSummary": {"status": word}})), NOW) for word in spellings]
    assert [fact.status if isinstance(fact, FlowRun) else None for fact in found] == [status] * len(found)


def test_status_comes_from_the_metrics() -> None:
    """The event code does not decide the status, because one code serves the start and the success of a run."""
    header = {"_adobeio": {"eventCode": "sources_flow_run_success"}}
    fact = run_of(header=header, status="success")
    assert isinstance(fact, FlowRun)
    assert fact.status is Status.FAILED


INCOMPLETE: tuple[dict[str, object], ...] = (
    {"id": None},
    {"id": ""},
    {"id": {}},
    {"flowId": None},
    {"flowId": " "},
    {"flowId": []},
    {"metrics": {}},
    {"metrics": {"statusSummary": {}}},
    {"metrics": {"statusSummary": {"status": None}}},
    {"metrics": {"statusSummary": {"status": ""}}},
    {"metrics": {"statusSummary": "failed"}},
    {"metrics": [{"statusSummary": {"status": "failed"}}]},
    {"metrics": None},
    {"metrics": None, "name": "Tide tables", "flowSpec": {"id": "s"}},
)


def test_a_run_without_a_required_field() -> None:
    """A run without run id, flow id or status is unsupported, with its sandbox."""

    def check(lacking: dict[str, object]) -> None:
        fact = read(encoded(a_run(sandboxName="harbour") | lacking), NOW)
        assert isinstance(fact, Unsupported)
        assert fact.sandbox == "harbour"

    assert failing(INCOMPLETE, check) == {}


def test_a_list_is_no_fact() -> None:
    """A stored body holds one fact. One that holds several is unsupported."""
    assert read(sample("flow-service-runs"), NOW) == Unsupported()


def test_unreadable() -> None:
    """A body that is not a JSON object is unreadable."""

    def check(body: bytes) -> None:
        assert read(body, NOW) == Unreadable()

    assert failing([b"", b"nul", b"[]", b"1", b'"text"', b"{", b"\xff", b"\x00"], check) == {}


@pytest.mark.parametrize(
    ("run_id", "found"),
    [("7", "7"), (" 7 ", "7"), (7, "7"), (None, "seven"), ("", "seven"), (True, "seven"), ({"a": 7}, "seven")],
    ids=repr,
)
def test_the_id_of_a_run(run_id: object, found: str) -> None:
    """A run's id is its `id`, or its `flowRunId` if `id` is not valid."""
    fact = read(encoded(a_run(run_id, flowRunId="seven")), NOW)
    assert isinstance(fact, FlowRun)
    assert fact.run_id == found


CODES = (
    *("CONNECTOR-2001-500", "CTOR-2001-500", "INGEST-1212-400", "MAPPER-3700-400", "UPINGT-100123-400"),
    *("ACTIVATION_BATCH-0000-SKIP", "ACTIVATION_BATCH-0000-FAILED", "AB-1-XY", "133", "42602", "1401-400", 2200),
    *(133, 42602, 10, 999999, "01000", "00000", "42P01", "0A000", "08P01", "28P01", "42P07", "42P12", "0ZZZZ"),
)
OTHER_SPELLINGS: tuple[tuple[object, str], ...] = (
    *((" 42P01 ", "42P01"), ("\ufeff42P01\n", "42P01"), (2200.0, "2200"), (1e5, "100000"), ("10", "10")),
)
NO_CODES = (
    *("Unknown error code", "connector-2001-500", "A-1-500", "CONNECTOR-2001-5", "CONNECTOR-2001", "7", "1234567"),
    *("1401-40", "CONNECTOR-2001-500 host 10.1.2.3", "SELECT 1", "٢٢٠٠", "2200\x00", "", None, 7, 2200.5, True),
    *({"code": "2200"}, ["2200"], "X" * 26 + "-1-500"),
    *(0, -133, 133.5, 9.0, 1e300, math.inf, math.nan, False, "42p01", "0a000", "42P0", "42P011", "P4201", "42P01 x"),
    *("42\u20280A", "4\ufb010A", "4\u0391000", "42P-1", "42_01"),
)


def errors_with(code: object) -> tuple[RunError, ...]:
    """The errors of a run that reports one error with this code."""
    fact = run_of({"statusSummary": {"status": "failed", "errors": [{"code": code, "message": "It rained."}]}})
    assert isinstance(fact, FlowRun)
    return fact.errors


def test_error_codes() -> None:
    """A text of the form of Platform's codes is an error code, and so are a bare number and an SQLSTATE."""

    def check(code: object) -> None:
        assert errors_with(code) == (RunError(code=str(code), message="It rained."),)

    assert failing(CODES, check) == {}


def test_spellings_of_an_error_code() -> None:
    """Blanks around a code are left out, and so is the fraction of a whole number."""

    def check(case: tuple[object, str]) -> None:
        written, code = case
        assert errors_with(written) == (RunError(code=code, message="It rained."),)

    assert failing(OTHER_SPELLINGS, check) == {}


def test_free_text_is_no_error_code() -> None:
    """Anything else in the place of a code is `other`."""

    def check(code: object) -> None:
        assert errors_with(code) == (RunError(code="other", message="It rained."),)

    assert failing(NO_CODES, check) == {}


ERROR = {"code": "2200", "message": "It rained."}
PLACES: dict[str, dict[str, object]] = {
    "errors": {"statusSummary": {"status": "failed", "errors": [ERROR]}},
    "extensions": {"statusSummary": {"status": "failed", "extensions": {"errors": [ERROR]}}},
    "failedInfo": {"recordSummary": {"failedInfo": [ERROR]}},
}
SILENT_PLACES: dict[str, dict[str, object]] = {
    "skippedInfo": {"recordSummary": {"skippedInfo": [ERROR]}},
    "warningInfo": {"recordSummary": {"warningInfo": [ERROR]}},
    "errorDetail": {"statusSummary": {"status": "failed", "extensions": {"errorDetail": "2200"}}},
}


@pytest.mark.parametrize("level", ["run", "activity"])
def test_error_places(level: str) -> None:
    """Errors are found in three places of the run and of its activities. Skips and warnings are not errors."""

    def codes_in(part: dict[str, object]) -> tuple[str, ...]:
        fact = run_of(part) if level == "run" else run_of(activities=[{"id": "copyActivity", **part}])
        assert isinstance(fact, FlowRun)
        return fact.error_codes

    assert {place: codes_in(part) for place, part in (PLACES | SILENT_PLACES).items()} == {
        **dict.fromkeys(PLACES, ("2200",)),
        **dict.fromkeys(SILENT_PLACES, ()),
    }


def test_an_error_in_every_place_counts_once() -> None:
    """A code counts once for a run, however often the payload repeats it."""
    part: dict[str, object] = {
        "statusSummary": {"status": "failed", "errors": [ERROR, ERROR], "extensions": {"errors": [ERROR]}},
        "recordSummary": {"failedInfo": [ERROR | {"count": 3}]},
    }
    fact = run_of(part, activities=[part, part])
    assert isinstance(fact, FlowRun)
    assert fact.error_codes == ("2200",)


def test_no_code_is_hidden_by_the_messages_of_another() -> None:
    """If a run reports one code for 10,000 rows, another code is still found."""
    rows: list[dict[str, object]] = [
        {"code": "MAPPER-3700-400", "message": f"Row {row} is bad."} for row in range(10_000)
    ]
    fact = run_of(
        {"statusSummary": {"status": "failed", "errors": rows}},
        activities=[{"id": "copyActivity", **PLACES["extensions"]}],
    )
    assert isinstance(fact, FlowRun)
    assert set(fact.error_codes) == {"MAPPER-3700-400", "2200"}


def test_the_errors_of_a_run_are_bounded() -> None:
    """If a run reports thousands of codes and messages, at most 1,000 errors are kept."""
    rows = [{"code": str(100_000 + row % 5000), "message": f"Row {row} is bad."} for row in range(10_000)]
    fact = run_of({"statusSummary": {"status": "failed", "errors": rows}})
    assert isinstance(fact, FlowRun)
    assert 20 <= len(fact.errors) <= 1000


@pytest.mark.parametrize(
    ("entry", "message", "count"),
    [
        ({"message": "It rained."}, "It rained.", None),
        ({"description": "It rained."}, "It rained.", None),
        ({"message": None, "description": "It rained."}, "It rained.", None),
        ({"message": "It rained.", "recordCount": 5}, "It rained.", 5),
        ({"message": "It rained.", "count": 5}, "It rained.", 5),
        ({"recordCount": -1}, None, None),
        ({"count": "many"}, None, None),
        ({"count": True}, None, None),
        ({}, None, None),
    ],
    ids=repr,
)
def test_error_texts_and_counts(entry: dict[str, object], message: str | None, count: int | None) -> None:
    """An error's text is its `message` or `description`, and its count is `recordCount` or `count`, if it has one."""
    fact = run_of({"recordSummary": {"failedInfo": [{"code": "2200", **entry}]}})
    assert isinstance(fact, FlowRun)
    assert fact.errors == (RunError(code="2200", message=message, count=count),)


@pytest.mark.parametrize(
    ("members", "durations", "envelope", "ended_at"),
    [
        pytest.param({}, {"completedAtUTC": START}, None, START, id="completed"),
        pytest.param({"updatedAt": START + 5}, {"completedAtUTC": START // 1000}, None, START, id="completed, seconds"),
        pytest.param({"updatedAt": START, "createdAt": 1}, {}, None, START, id="updated"),
        pytest.param({"updatedAt": 0, "createdAt": START}, {"startedAtUTC": START - 9}, None, START, id="created"),
        pytest.param({"updatedAt": 87473822}, {"completedAtUTC": -1}, START, START, id="envelope"),
        pytest.param({}, {"completedAtUTC": NOW + 601_000}, None, None, id="never, so far"),
    ],
)
def test_when_it_ended(
    members: dict[str, object], durations: dict[str, object], envelope: int | None, ended_at: int | None
) -> None:
    """A run ended when it was completed, else updated, else created, else when the envelope was written."""
    run = a_run(metrics={"statusSummary": {"status": "failed"}, "durationSummary": durations}, **members)
    fact = read(encoded({"timestamp": envelope, "value": run}), NOW)
    assert isinstance(fact, FlowRun)
    assert fact.ended_at == ended_at


@pytest.mark.parametrize(
    ("durations", "duration"),
    [
        ({"startedAtUTC": START // 1000, "completedAtUTC": START + 250}, 250),
        ({"startedAtUTC": START, "completedAtUTC": START}, 0),
        ({"startedAtUTC": START, "completedAtUTC": START - 1}, None),
        ({"startedAtUTC": START}, None),
        ({"completedAtUTC": START}, None),
        ({}, None),
    ],
    ids=repr,
)
def test_duration(durations: dict[str, object], duration: int | None) -> None:
    """The duration of a run or an activity needs start and end in order, and is never negative."""
    fact = run_of({"durationSummary": durations}, activities=[{"id": "copyActivity", "durationSummary": durations}])
    assert isinstance(fact, FlowRun)
    assert (fact.duration, fact.activities[0].duration) == (duration, duration)


def test_a_count_that_is_not_valid_adds_nothing() -> None:
    """A count that is absent, negative or no whole number is dropped. Other counts, and a count of 0, are kept."""

    def check(value: object) -> None:
        fact = run_of(
            {
                "recordSummary": {"inputRecordCount": value, "outputRecordCount": 0},
                "sizeSummary": {"inputBytes": value, "outputBytes": 1},
                "fileSummary": {"inputFileCount": value, "outputFileCount": "2"},
            }
        )
        assert isinstance(fact, FlowRun)
        assert (fact.records, fact.size, fact.files) == ((("output", 0),), (("output", 1),), (("output", 2),))

    assert failing([None, -1, -7, 0.5, "many", True, {}, [], 1e300, 10**400], check) == {}


def test_counts_are_the_runs_own() -> None:
    """Counts are those of the run's own summaries. Those of its activities are not added up."""
    part = {
        "recordSummary": {"inputRecordCount": 5},
        "sizeSummary": {"inputBytes": 5},
        "fileSummary": {"inputFileCount": 5},
    }
    fact = run_of(activities=[part, part])
    assert isinstance(fact, FlowRun)
    assert (fact.records, fact.size, fact.files) == ((), (), ())


@pytest.mark.parametrize("key", ["metrics", "id", "flowId"])
def test_a_prefixed_twin_hides_nothing(key: str) -> None:
    """A member that comes with and without the XDM prefix is read without it, whichever comes first."""

    def check(garbage: object) -> None:
        twin = {f"xdm:{key}": garbage}
        for body in ({**twin, **a_run()}, {**a_run(), **twin}):
            assert read(encoded(body), NOW) == read(encoded(a_run()), NOW)

    assert failing([None, 5, {}, {"statusSummary": {}}], check) == {}


@pytest.mark.parametrize("name", ["source-failure-every-place", "source-start", "destination-skipped", "query-sql"])
def test_prefixed(name: str) -> None:
    """The XDM prefix on a run's members changes nothing, even if there are members without it that are null."""
    run = json.loads(sample(name))
    prefixed = {f"xdm:{key}": value for key, value in run.items() if key != "header"}
    for body in (prefixed, prefixed | dict.fromkeys(run), dict.fromkeys(run) | prefixed):
        assert facts(encoded(body)) == list(FACTS[name])


@pytest.mark.parametrize(
    ("members", "changed_at", "alert_id", "run_id"),
    [
        pytest.param({"status": "FIRING", "createdAt": START}, START, "a", "", id="firing since it was created"),
        pytest.param(
            {"status": "INACTIVE", "createdAt": START - 9, "resolvedAt": START},
            START,
            "a",
            "",
            id="inactive since it was resolved",
        ),
        pytest.param(
            {"status": "INACTIVE", "createdAt": START}, START, "a", "", id="without the time of its resolution"
        ),
        pytest.param(
            {"status": "FIRING", "createdAt": START, "resolvedAt": START - 9},
            START,
            "a",
            "",
            id="firing again after it was resolved",
        ),
        pytest.param({"status": "FIRING", "createdAt": "soon"}, None, "a", "", id="an invalid time"),
        pytest.param({"status": "FIRING", "flowRunId": "r"}, None, "a", "r", id="about a run"),
        pytest.param({"status": "FIRING", "id": 12}, None, "12", "", id="a number for an id"),
    ],
)
def test_alert(members: dict[str, object], changed_at: int | None, alert_id: str, run_id: str) -> None:
    """An alert's `id` is not that of a run. Its time is when it entered its state."""
    fact = read(encoded({"id": "a", "name": "late", "flowId": "f", **members}), NOW)
    assert isinstance(fact, FlowAlert)
    assert (fact.changed_at, fact.alert_id, fact.run_id) == (changed_at, alert_id, run_id)
    assert (fact.name, fact.flow_id, fact.state.value) == ("late", "f", str(members["status"]).lower())


def test_an_alert_without_an_id() -> None:
    """Alerts without a valid id are told apart by their name, their flow, their run and their time."""
    alerts = [{"status": "FIRING", "name": name, "flowId": flow} for name, flow in [("a", "f"), ("b", "f"), ("a", "g")]]

    def check(garbage: object) -> None:
        found = [read(encoded({**alert, "id": garbage}), NOW) for alert in alerts]
        assert len({fact.alert_id for fact in found if isinstance(fact, FlowAlert)}) == 3

    assert failing([None, "", {}, [], True], check) == {}


def leaves_of(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path to each leaf of a decoded body."""
    if isinstance(value, dict | list) and value:
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves_of(inner, (*path, key))
    else:
        yield path


def with_leaf(value: object, path: tuple[str | int, ...], fragment: bytes) -> bytes:
    """The body with one leaf replaced by a piece of JSON text."""
    copy = json.loads(json.dumps(value))
    part = copy
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = "@leaf@"
    return encoded(copy).replace(b'"@leaf@"', fragment)


def makes_the_run(path: tuple[str | int, ...]) -> bool:
    """Whether this leaf is a required field of a run, or a text that holds the run."""
    if "activities" in path or "activites" in path or "recordSummary" in path:
        return False
    if path[-1] in {"data", "data_base64", "__ow_body"}:
        return True
    return path[-1] in {"id", "flowId", "xdm:flowId", "xdm:flowRunId"} or path[-2:] == ("statusSummary", "status")


def bodies_without_a_leaf(fragment: bytes) -> Iterator[tuple[str, tuple[str | int, ...], bytes]]:
    """The name, the path and the body for each sample of a run and each of its leaves, with the leaf replaced."""
    for name in SINGLE_RUNS:
        body = json.loads(sample(name))
        for path in leaves_of(body):
            if not makes_the_run(path):
                yield name, path, with_leaf(body, path, fragment)


@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_costs_its_leaf(garbage: str) -> None:
    """An invalid value in any one leaf loses that leaf and nothing else of the run."""
    for name, path, body in bodies_without_a_leaf(GARBAGE[garbage]):
        before = FACTS[name][0]
        found = facts(body)
        assert len(found) == 1, (name, path)
        after = found[0]
        assert isinstance(after, FlowRun), (name, path)
        assert_keepable(after)
        assert set(after.anomalies) <= set(ANOMALY_FIELDS)
        changed = {field.name for field in fields(FlowRun) if getattr(after, field.name) != getattr(before, field.name)}
        # A run's kind is concluded from many leaves.
        assert len(changed - {"anomalies", "kind"}) <= 1, (name, path)
        for field in changed & {"records", "size", "files", "errors", "activities"}:
            assert len(set(getattr(before, field)) - set(getattr(after, field))) <= 1, (name, path)


@given(st.data(), st.sampled_from(SINGLE_RUNS), trees)
def test_any_value_costs_its_leaf(data: st.DataObject, name: str, value: object) -> None:
    """With a random value in any one leaf, the run has its id, its flow and its status."""
    before = FACTS[name][0]
    body = json.loads(sample(name))
    path = data.draw(st.sampled_from([path for path in leaves_of(body) if not makes_the_run(path)]))
    (after,) = facts(with_leaf(body, path, encoded(value)))
    assert isinstance(before, FlowRun)
    assert isinstance(after, FlowRun)
    assert (after.run_id, after.flow_id, after.status) == (before.run_id, before.flow_id, before.status)
    assert_keepable(after)


@given(trees | st.dictionaries(st.sampled_from(["id", "flowId", "status", "metrics", "xdm:id"]), trees), st.integers())
def test_anything_reads_as_something(tree: object, recorded_at: int) -> None:
    """Adobe's members in random places are read as some fact that can be stored."""
    fact = read(encoded(tree), recorded_at)
    assert_keepable(fact)
    if isinstance(fact, FlowRun | FlowAlert):
        assert set(fact.anomalies) <= set(ANOMALY_FIELDS)


@given(st.binary())
def test_any_bytes_read_as_something(body: bytes) -> None:
    """Random bytes are read as some fact that can be stored."""
    assert_keepable(read(body, NOW))


@pytest.mark.parametrize(
    "member",
    [
        *(b'"xdm:any": %s', b'"createdClient": %s', b'"providerRefId": %s', b'"activities": %s', b'"header": %s'),
        *(b'"id": %s', b'"activities": [{"id": %s}]', b'"activities": [{"name": %s}]', b'"metrics": %s'),
    ],
    ids=bytes.decode,
)
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")], ids=["arrays", "objects"])
def test_depth_is_no_crash(member: bytes, opening: bytes, closing: bytes) -> None:
    """A run is read however deep one of its members is nested, also beyond Python's limit of recursion."""
    run = encoded(a_run(flowRunId="r")).removeprefix(b"{")
    for depth in (100, 480, 700, *range(850, 1000), 20_000):
        leaf = opening * depth + b"1" + closing * depth
        fact = read(b"{" + member % leaf + b", " + run, NOW)
        assert isinstance(fact, FlowRun), depth
        assert fact.run_id == "r", depth
