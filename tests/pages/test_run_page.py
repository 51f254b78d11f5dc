"""Texts of a run to copy."""

import re
import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model import RunError, Status
from exporter.pages.tickets import silence, ticket
from exporter.pages.views import view_of_run
from tests.metrics.facts import MINUTE, T0, run
from tests.pages.test_views import LINKS, row

HOSTILE = [
    "a",
    "it's",
    'a"b',
    "a\\",
    "a\\nb",
    "$(id) `id` ; rm -rf / #",
    "--help",
    "a b",
    "ü🙂",
]


def ticket_of(*errors: tuple[str, str], **fields: Any) -> list[str]:
    """The lines of the ticket of a run that failed, with these columns."""
    fact = run(
        status=Status.FAILED,
        flow_name="Flow",
        started_at=T0 - MINUTE,
        completed_at=T0,
        org="o",
        errors=(RunError(code="133"),),
    )
    return ticket(
        view_of_run(row(**fields), lambda *_: fact, LINKS), errors, ("https://x.example/runs/r1", None)
    ).split("\n")


@pytest.mark.parametrize("text", HOSTILE)
def test_a_silence_is_of_one_flow_whatever_its_id_holds(text: str) -> None:
    """The shell passes each matcher as one word, and Alertmanager reads the id that the labels have."""
    assert_silence(text, text)


@given(st.text(), st.text())
def test_a_silence_of_any_id(flow_id: str, sandbox: str) -> None:
    """A command is made only of texts that a reader can see, and it names exactly these."""
    assert_silence(flow_id, sandbox)


def assert_silence(flow_id: str, sandbox: str) -> None:
    """Assert that a shell and Alertmanager read these values in the command."""
    command = silence(flow_id, sandbox, flow_id)
    if command is None:
        assert not (flow_id + sandbox).isprintable()
        return
    assert "\n" not in command
    words = shlex.split(command)
    assert words[:4] == ["amtool", "silence", "add", "--duration=2h"]
    assert words[4] == f"--comment=run {flow_id} failed"
    assert words[5] == 'alertname=~"AEPFlow.+"'
    for word, name, value in zip(words[6:], ("flow_id", "sandbox"), (flow_id, sandbox), strict=True):
        quoted = re.fullmatch(rf'{name}="((?:[^"\\]|\\.)*)"', word)
        assert quoted is not None
        assert re.sub(r"\\(.)", r"\1", quoted[1]) == value


def test_a_ticket_names_what_support_asks_for() -> None:
    """Flow, run, organisation, sandbox, times, each code with the first line of its message, and absolute links."""
    lines = ticket_of(("133", "\n first line \nsecond line"), ("2200", ""))
    assert lines == [
        "Flow: Flow (f1)",
        "Run: r1",
        "Sandbox: prod",
        "Organisation: o",
        "Outcome: failed",
        "Started: 2026-09-21 14:12:20 UTC",
        "Ended: 2026-09-21 14:13:20 UTC",
        "Duration: 1 min",
        "Error: 133 first line",
        "Error: 2200",
        "Link: https://x.example/runs/r1",
    ]


def test_no_value_begins_a_line_of_a_ticket() -> None:
    """A line feed in a value is escaped, and so is what a reader can't see. Long messages and lists are cut."""
    lines = ticket_of(
        ("133", "x\u202e" + "y" * 1_000), *[(str(code), "") for code in range(100, 130)], run_id="r\nRun: s"
    )
    assert "Run: r\\nRun: s" in lines
    (message,) = [line for line in lines if line.startswith("Error: 133 ")]
    assert message.startswith("Error: 133 x\\u202ey")
    assert len(message) < 400
    assert "Error: and 11 more codes" in lines
    assert sum(line.startswith("Error: ") for line in lines) == 21
