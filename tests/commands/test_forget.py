"""`forget`: a flow that was deleted on purpose leaves the metrics."""

from pathlib import Path

import pytest

from tests.commands.conftest import Run, entries, run, write


def test_forget(cli: Run) -> None:
    """A flow that is on /metrics is forgotten by its id. Its sandboxes are printed, and its entries stay."""
    cli("replay", "--create", write("a.json", run(1), {**run(2), "flowId": "other-flow"}))
    ended = cli("forget", "--flow=flow")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out == "forgotten: flow in (no sandbox)\n"
    assert [entry.kind for entry in entries()] == ["run", "run", "forgotten"]
    assert cli("forget", "--flow=flow").status == 1
    cli("replay", write("b.json", run(3)))
    assert cli("forget", "--flow=flow").status == 0


@pytest.mark.parametrize("flow", ["Flow", "flo", "flow2", "flow*"])
def test_forget_knows_no_other_flow(cli: Run, flow: str) -> None:
    """An id that no flow has is refused with a hint on how to find the id, and nothing is recorded."""
    cli("replay", "--create", write("a.json", run(1)))
    ended = cli("forget", "--flow", flow)
    assert (ended.status, ended.out) == (1, "")
    assert f"no flow of this id is on /metrics: {flow}" in ended.err
    assert [entry.kind for entry in entries()] == ["run"]


def test_forget_makes_no_ledger(cli: Run, folder: Path) -> None:
    """If there is no ledger the message states that, and none is made."""
    ended = cli("forget", "--flow=flow")
    assert (ended.status, ended.out) == (2, "")
    assert f"there is no ledger at {folder}/data/ledger.db" in ended.err
    assert "--create" not in ended.err
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "--flow=ID is needed"),
        (["--flow="], "--flow=: must be the id of a flow"),
        (["flow"], "takes flags only"),
        (["flow"], "--flow=ID is needed"),
        (["--flow", "a", "--series.hold=1s"], "unknown flag --series.hold"),
    ],
)
def test_forget_asked_for_wrongly(cli: Run, words: list[str], expected: str) -> None:
    """A wrong call ends with 2 and a message that states the mistake."""
    ended = cli("forget", *words)
    assert ended.status == 2
    assert expected in ended.err
