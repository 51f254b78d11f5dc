"""The keys of facts, as they are stored in ledgers."""

from exporter.ledger.fact_keys import alert_key, body_key, content_key, event_key, flow_key, forgotten_key, run_key

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""The SHA-256 of no bytes."""


def test_the_forms_of_keys() -> None:
    """Keys have the forms that all earlier versions stored, so that a fact is not counted again after an upgrade."""
    assert run_key("r", "failed") == "run:r:failed"
    assert alert_key("a", "firing", 1759923727250) == "alert:a:firing:1759923727250"
    assert alert_key("a", "firing", None) == "alert:a:firing:"
    assert event_key("e") == "event:e"
    assert body_key(b"") == f"sha256:{EMPTY}"
    assert content_key(b"{}") == body_key(b"content:{}")
    assert flow_key(b"{}") == body_key(b"flow:{}")
    assert forgotten_key(b"{}") == body_key(b"forgotten:{}")
