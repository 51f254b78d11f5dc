"""The keys that decide what is one fact: the ledger keeps one entry for each key.

All keys are made here (docs/architecture.md, "What makes a fact"). A run is one fact for each of its statuses, and an
alert is one fact for each change of its state, no matter how often, in which body or under which event id they are
reported. Anything else is one fact for each event id in a body, or for each content if the body has no id.

Ledgers hold these keys. If the form of a key changed, facts that are in a ledger would be counted again. Where a form
did change, a draft has the former key beside the key (`Draft.former_key`).

Pure functions of text and bytes.
"""

import hashlib


def run_key(run_id: str, status: str) -> str:
    """The key of a run in a status."""
    return f"run:{run_id}:{status}"


def run_keys(run_id: str) -> tuple[str, str]:
    """Two texts between which all keys of a run are, in the order of their bytes. Keys of other runs can be there too.

    `exporter/ledger/sqlite_runs.py` makes the same in SQL.
    """
    return run_key(run_id, ""), f"run:{run_id};"


def alert_key(alert_id: str, state: str, changed_at: int | None) -> str:
    """The key of an alert that entered a state at a time (milliseconds since 1970)."""
    return f"alert:{alert_id}:{state}:{changed_at or ''}"


def event_key(event_id: str) -> str:
    """The key of an event that is neither a run nor an alert, and whose body has an id."""
    return f"event:{event_id}"


def content_key(content: bytes) -> str:
    """The key of an event that is neither a run nor an alert, and whose body has no id (`Event.content`)."""
    return _digest(b"content:" + content)


def flow_key(body: bytes) -> str:
    """The key of a flow's description. A changed description is a new fact."""
    return _digest(b"flow:" + body)


def forgotten_key(body: bytes) -> str:
    """The key of the statement that a flow was deleted on purpose."""
    return _digest(b"forgotten:" + body)


def clock_key(position: int) -> str:
    """The key of a correction of the clock that comes after the entry at this position."""
    return f"clock:{position}"


def body_key(body: bytes) -> str:
    """The key of bytes about which nothing else is known."""
    return _digest(body)


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()
