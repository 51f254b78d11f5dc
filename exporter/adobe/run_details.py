"""Reads what a run's body holds for people: whole messages, skipped records, warnings, and the runs it belongs to.

Deliveries do not read this, because no metric is made from it. The page of a run reads the stored body once more. Its
texts are returned as Adobe wrote them, and can hold any character.

No I/O and no clock.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from exporter.adobe import fields, lenient_json
from exporter.adobe.envelope import XDM, Metadata, Node, looks_like_run, may_hold_text, unwrap
from exporter.adobe.payloads import activity_nodes, error_entries, objects, section, without_prefix
from exporter.model import OTHER, ActivityDetails, Remark, RunDetails, RunReference, is_error_code

MAX_MESSAGE: Final = 128 * 1024
"""Characters of a message. A delivery is larger only with a raised `--webhook.max-body`."""
_ALWAYS_READABLE: Final = 16 * 1024
"""Bytes up to which a body is read within some milliseconds, however damaged it is."""
_MAX_REMARKS: Final = 1000
_MAX_ENTRIES: Final = 50_000
_MAX_REFERENCES: Final = 100
_MAX_WORD: Final = 64
_MAX_WORDS: Final = 20

_BATCH_STATES: Final = ("batchStatus", "batchState", "batchstatus")
"""Members that name the state of a batch."""


def is_readable(body: bytes) -> bool:
    """Whether the body is read in a time that grows with its size alone, about 20 ms for each MiB.

    Reading a damaged body, or one with a text that may be damaged, takes longer the larger it is: up to seconds.
    """
    if len(body) <= _ALWAYS_READABLE:
        return True
    decoded = lenient_json.decode_strict(body)
    return decoded is not None and not may_hold_text(decoded.value)


def read_details(body: bytes, event_code: str = "") -> RunDetails:
    """Read the stored body of a run. Empty details for a body in which no run is found."""
    node = _run_node(body, event_code)
    if node is None:
        return RunDetails()
    metrics = section(node, "metrics")
    activities = tuple(activity_nodes(node))
    parts = (metrics, *activities)
    return RunDetails(
        errors=_remarks(entry for part in parts for entry in error_entries(part)),
        skipped=_remarks(entry for part in parts for entry in _entries(part.get("recordSummary"), "skippedInfo")),
        warnings=_remarks(entry for part in parts for entry in _entries(part.get("recordSummary"), "warningInfo")),
        explanations=_distinct(_text(_extensions(part).get("errorDetail")) for part in parts),
        activities=tuple(
            ActivityDetails(written_name=_text(each.get("name"))[:_MAX_WORD], state=_state(each)) for each in activities
        ),
        states=_distinct(_states(node, metrics, activities)),
        predecessors=_references(node, "predecessors", "parentFlowRunId"),
        successors=_references(node, "successors", "childFlowRunIds"),
    )


def _run_node(body: bytes, event_code: str) -> Node | None:
    """The object of a run, without prefixes of XDM. None if there is none."""
    decoded = lenient_json.decode(body)
    if decoded is None or not isinstance(decoded.value, dict):
        return None
    unwrapped = unwrap(decoded.value, Metadata(event_code=event_code))
    if not isinstance(unwrapped.content, dict):
        return None
    node = without_prefix(unwrapped.content) if XDM.encode() in (unwrapped.text or body) else unwrapped.content
    return node if isinstance(node, dict) and looks_like_run(node) else None


def _entries(holder: object, key: str) -> Iterator[object]:
    """The entries of a list that a member of an object holds. One that is not in a list is read as a list of one."""
    value = holder.get(key) if isinstance(holder, dict) else None
    if value:
        yield from (entry for entry in (value if isinstance(value, list) else [value]) if entry)


def _remarks(reported: Iterable[object]) -> tuple[Remark, ...]:
    """Each different one once, in order."""
    found: dict[Remark, None] = {}
    for entry in islice(reported, _MAX_ENTRIES):
        if len(found) >= _MAX_REMARKS:
            break
        found[_remark(entry)] = None
    return tuple(found)


def _remark(entry: object) -> Remark:
    if not isinstance(entry, dict):
        return Remark(code=OTHER, message=_text(entry))
    written = fields.error_code(entry.get("code"))
    is_code = is_error_code(written)
    try:
        count = fields.count(entry["recordCount"] if entry.get("recordCount") is not None else entry.get("count"))
    except fields.InvalidFieldError:
        count = None
    return Remark(
        code=written if is_code else OTHER,
        written_code="" if is_code else _text(entry.get("code"))[:_MAX_WORD],
        message=_text(entry.get("message")) or _text(entry.get("description")),
        count=count,
    )


def _states(node: Node, metrics: Node, activities: Iterable[Node]) -> Iterator[str]:
    yield _state(metrics)
    for part in (node, metrics, section(metrics, "statusSummary"), _extensions(metrics)):
        yield from (_text(part.get(key))[:_MAX_WORD] for key in _BATCH_STATES)
    for each in activities:
        yield _state(each)


def _state(part: Node) -> str:
    return _text(section(part, "statusSummary").get("status"))[:_MAX_WORD]


def _extensions(part: Node) -> Node:
    return section(section(part, "statusSummary"), "extensions")


def _references(node: Node, objects_key: str, ids_key: str) -> tuple[RunReference, ...]:
    """The runs that two members name: one holds objects, the other an id or a list of ids."""
    named = [
        RunReference(fields.identifier(each.get("flowRunId")), fields.identifier(each.get("flowId")))
        for each in islice(objects(node.get(objects_key)), _MAX_REFERENCES)
    ]
    named_ids = {each.run_id for each in named}
    ids = map(fields.identifier, islice(_entries(node, ids_key), _MAX_REFERENCES))
    found = [*named, *(RunReference(run_id) for run_id in ids if run_id not in named_ids)]
    return tuple(dict.fromkeys(each for each in found if each.run_id))[:_MAX_REFERENCES]


def _distinct(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(islice(dict.fromkeys(text for text in texts if text), _MAX_WORDS))


def _text(value: object) -> str:
    return value.strip()[:MAX_MESSAGE] if isinstance(value, str) else ""
