"""`flows`: the flows of a ledger in a terminal."""

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from exporter.adobe.payloads import read
from exporter.checkpoints import Checkpoints
from exporter.follower import Follower
from exporter.ledger.sqlite import SqliteLedger
from exporter.ledger.urls import follow
from exporter.metrics.fold import Fold
from tests.commands.conftest import LEDGER, Run, make_ledger, write
from tests.commands.test_runs import HOSTILE, ended, failed, files
from tests.metrics.facts import limits

CODE = {"code": "CONNECTOR-2001-500", "message": "It broke."}


def of(flow: str, made: dict[str, Any], sandbox: str = "prod") -> dict[str, Any]:
    """A run of a flow."""
    return {**made, "id": f"{flow}-{made['id']}", "flowId": flow, "sandboxName": sandbox}


@pytest.fixture
def recorded(cli: Run) -> None:
    """A ledger with a flow that is well, one that fails, one that has failed for longer and one that is overdue."""
    runs = [
        *(of("well", ended(n, 10 - n), "dev") for n in range(3)),
        of("fails", failed(1, 2, CODE)),
        of("fails", failed(2, 1, CODE, {"code": "133"})),
        of("fails-long", failed(1, 100)),
        *(of("overdue", ended(n, 180 - n)) for n in range(100)),
    ]
    source = {"id": "fails", "name": "Orders", "sandboxName": "prod", "flowSpec": {"id": "x"}}
    assert cli("replay", "--create", write("runs.json", *runs, source)).status == 0


def listed(cli: Run, *flags: str) -> list[str]:
    """The ids of the flows that are listed."""
    return [item["flow_id"] for item in json.loads(cli("flows", "--output=json", *flags).out)["items"]]


@pytest.mark.usefixtures("recorded")
def test_the_table_has_failing_flows_first(cli: Run) -> None:
    """A failing flow has since when and how often, and its codes below it. Then come overdue ones, then all others."""
    lines = cli("flows").out.splitlines()
    assert lines[0].split() == ["FLOW", "NAME", "SANDBOX", "STATE", "SINCE"]
    assert [line.split()[0] for line in lines[1:]] == [
        *["fails", "CONNECTOR-2001-500", "133"],
        *["fails-long", "none", "overdue", "well"],
    ]
    assert lines[1].split()[1:5] == ["Orders", "prod", "failing", "2x"]
    assert lines[2] == "    CONNECTOR-2001-500  2 runs"
    assert lines[3] == "    133  1 run"
    assert lines[-2].split()[1:4] == ["-", "prod", "overdue"]
    assert lines[-1].split()[1:] == ["-", "dev", "ok", "-"]


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], ["fails", "fails-long", "overdue", "well"]),
        (["--failing"], ["fails", "fails-long"]),
        (["--no-failing"], ["fails", "fails-long", "overdue", "well"]),
        (["--sandbox=dev"], ["well"]),
        (["--kind=unknown", "--failing"], ["fails", "fails-long"]),
        (["--kind=query"], []),
        (["--limit=1"], ["fails"]),
    ],
)
def test_flags_choose_flows(cli: Run, flags: list[str], expected: list[str]) -> None:
    """Each flag leaves out flows, and several together leave out what any of them does."""
    assert listed(cli, *flags) == expected


@pytest.mark.usefixtures("recorded")
def test_the_json_of_a_flow(cli: Run) -> None:
    """A flow has its fields as the API names them, with the state that the metrics show."""
    answer = json.loads(cli("flows", "--output=json", "--failing", "--limit=1").out)
    assert answer["next"] is None
    [item] = answer["items"]
    assert (item["flow_name"], item["consecutive_failures"]) == ("Orders", 2)
    assert item["failing_errors"] == {"CONNECTOR-2001-500": 2, "133": 1}
    assert item["last_run"]["run_id"] == "fails-run-2"


@pytest.mark.usefixtures("recorded")
def test_what_is_not_listed_is_counted(cli: Run) -> None:
    """If there are more flows than asked for, standard error says how many."""
    assert "3 more flows are not listed" in cli("flows", "--limit=1").err


@pytest.mark.parametrize("flags", [[], ["--output=json"]])
def test_an_empty_list_says_so(cli: Run, flags: list[str]) -> None:
    """Without a flow the exit status is 0, standard error says so, and JSON is still a list."""
    make_ledger()
    ended_ = cli("flows", *flags)
    assert ended_.status == 0
    assert "no such flow is on /metrics" in ended_.err
    assert ended_.out == ("" if not flags else '{\n  "items": [],\n  "next": null\n}\n')


@pytest.mark.usefixtures("recorded")
def test_a_forgotten_flow_is_not_listed(cli: Run) -> None:
    """What `forget` took off the metrics is not in the list either."""
    assert cli("forget", "--flow=fails").status == 0
    assert listed(cli, "--failing") == ["fails-long"]


@pytest.mark.parametrize("output", ["table", "json"])
def test_hostile_text_does_nothing_to_a_terminal(cli: Run, output: str) -> None:
    """No text of a notification brings a control character, a change of direction or a line of its own."""
    hostile = {**failed(1, 1, CODE), "flowId": HOSTILE, "flowName": HOSTILE, "sandboxName": HOSTILE}
    cli("replay", "--create", write("a.json", hostile))
    out = cli("flows", "--output", output).out
    assert all(each == "\n" or each.isprintable() for each in out)
    assert not set("\u202e\u2066\u200b") & set(out)
    assert "evil" in out
    if output == "table":
        assert len(out.splitlines()) == 3


def make_checkpoint(position_limit: int = 2000) -> None:
    """Write a checkpoint as the exporter does, with a limit of flows."""
    with contextlib.closing(SqliteLedger(LEDGER)) as ledger:
        fold = Fold(limits(max_flows=position_limit))
        with contextlib.closing(Follower(ledger, fold, read)) as follower:
            follower.catch_up()
            asyncio.run(follower.finish())
        assert ledger.checkpoints()


@pytest.mark.usefixtures("recorded")
def test_nothing_is_created_or_changed(cli: Run) -> None:
    """The ledger's folder has the same files with the same bytes after a list, and no checkpoint is written."""
    before = files(LEDGER.parent)
    assert cli("flows").status == 0
    assert files(LEDGER.parent) == before
    make_checkpoint()
    before = files(LEDGER.parent)
    assert listed(cli) == ["fails", "fails-long", "overdue", "well"]
    assert files(LEDGER.parent) == before


@pytest.mark.usefixtures("recorded")
def test_a_checkpoint_is_used(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list begins with the newest checkpoint, and the entries after it are added."""
    make_checkpoint()
    cli("replay", write("b.json", of("new", failed(1, 0, CODE))))
    restored: list[int] = []
    restore = Checkpoints.restore

    def restore_and_note(self: Checkpoints) -> int:
        restored.append(restore(self))
        return restored[-1]

    monkeypatch.setattr(Checkpoints, "restore", restore_and_note)
    assert listed(cli) == ["new", "fails", "fails-long", "overdue", "well"]
    assert [position > 0 for position in restored] == [True]


@pytest.mark.usefixtures("recorded")
def test_flows_without_a_series_of_their_own_are_counted(cli: Run) -> None:
    """Where the exporter had reached --series.max-flows, standard error says how many flows are not listed."""
    make_checkpoint(2)
    ended_ = cli("flows")
    assert "2 flows are counted together as other, and are not listed: raise --series.max-flows" in ended_.err
    assert "other" not in ended_.out


@pytest.mark.usefixtures("recorded")
def test_a_clock_that_is_wrong_is_not_corrected(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the clock of this host is behind the ledger's, the flows are listed and nothing is written."""
    before = files(LEDGER.parent)
    monkeypatch.setattr("exporter.ledger.sqlite_following.wall_clock", lambda: 0)
    assert len(listed(cli)) == 4
    assert files(LEDGER.parent) == before


@pytest.mark.usefixtures("recorded")
def test_a_ledger_that_takes_too_long(monkeypatch: pytest.MonkeyPatch, cli: Run) -> None:
    """If the time is over the command ends with 1 and says so, without a traceback."""
    monkeypatch.setattr("exporter.commands.flows.follow", lambda url, _, use: follow(url, 0.0, use))
    ended_ = cli("flows")
    assert (ended_.status, ended_.out) == (1, "")
    assert "takes too long: start the exporter" in ended_.err


def test_no_ledger_is_made(cli: Run, folder: Path) -> None:
    """If there is no ledger the message says where it was looked for, the exit status is 2, and none is made."""
    ended_ = cli("flows")
    assert (ended_.status, ended_.out) == (2, "")
    assert f"there is no ledger at {folder}/data/ledger.db" in ended_.err
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--kind=sink"], "--kind=sink: input should be"),
        (["--limit=501"], "from 1 to 500"),
        (["--since=1h"], "unknown flag --since"),
        (["flow"], "takes flags only"),
    ],
)
def test_flows_asked_for_wrongly(cli: Run, words: list[str], expected: str) -> None:
    """A wrong call ends with 2 and a message that states the mistake."""
    make_ledger()
    ended_ = cli("flows", *words)
    assert (ended_.status, ended_.out) == (2, "")
    assert expected in ended_.err
