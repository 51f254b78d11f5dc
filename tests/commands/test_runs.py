"""`runs`: the runs of a ledger in a terminal."""

import contextlib
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from exporter.ledger.sqlite import SqliteLedger
from tests.commands.conftest import LEDGER, Run, make_ledger, run, write

HOUR = 60 * 60 * 1000
NOW = time.time_ns() // 1_000_000
FLOW = "6d1f0c52-7c0a-4a39-b6f0-0f6a2f5d9a11"
HOSTILE = "\x1b[31m\x07red\x9b2J\x7f \u202eevil\u2066\u200b\u2028line\nsecond line\r\ttab"
"""What a terminal would act on, in one text."""


def ended(number: int, ago: int, status: str = "success", **fields: Any) -> dict[str, Any]:
    """A run that ended so many hours ago."""
    completed_at = NOW - ago * HOUR
    return {**run(number, status, startedAtUTC=completed_at - 1000, completedAtUTC=completed_at), **fields}


def failed(number: int, ago: int, *errors: dict[str, str], **fields: Any) -> dict[str, Any]:
    """A run that failed so many hours ago."""
    made = ended(number, ago, "failed", **fields)
    made["metrics"]["statusSummary"]["errors"] = list(errors)
    return made


@pytest.fixture
def recorded(cli: Run) -> None:
    """A ledger with five runs. The first one ended last."""
    runs = [
        ended(1, 1, sandboxName="prod", flowName="Orders"),
        failed(2, 2, {"code": "CONNECTOR-2001-500", "message": "It broke."}, sandboxName="prod"),
        failed(3, 3, {"code": "133"}, sandboxName="dev"),
        ended(4, 30, "partial_success", flowId="other-flow"),
        ended(5, 60),
    ]
    assert cli("replay", "--create", write("runs.json", *runs)).status == 0


def ids(out: str) -> list[str]:
    """The run ids of a JSON list."""
    return [item["run_id"].removeprefix("run-") for item in json.loads(out)["items"]]


def files(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file of a folder with its content and the time of its last change."""
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


@pytest.mark.usefixtures("recorded")
def test_the_table_has_the_latest_run_first(cli: Run) -> None:
    """One line has one run. Its error codes are below it, each with its message."""
    ended_ = cli("runs", "--limit=3")
    times = [datetime.fromtimestamp((NOW - ago * HOUR) / 1000, UTC).strftime("%Y-%m-%dT%H:%MZ") for ago in (1, 2, 3)]
    assert ended_.out == (
        "ENDED              STATUS   FLOW    SANDBOX  RUN\n"
        f"{times[0]}  success  Orders  prod     run-1\n"
        f"{times[1]}  failed   flow    prod     run-2\n"
        "    CONNECTOR-2001-500  It broke.\n"
        f"{times[2]}  failed   flow    dev      run-3\n"
        "    133\n"
    )
    assert "there are more runs: raise --limit, or go on with --cursor=" in ended_.err
    assert ended_.status == 0


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], "12345"),
        (["--flow=other-flow"], "4"),
        (["--flow", " flow "], "1235"),
        (["--sandbox=prod"], "12"),
        (["--status=failed"], "23"),
        (["--status=partial_success"], "4"),
        (["--error-code=133"], "3"),
        (["--since=24h"], "123"),
        (["--until=24h"], "45"),
        (["--since=2d", "--until=150m"], "34"),
        (["--since=" + datetime.fromtimestamp((NOW - 2 * HOUR) / 1000, UTC).isoformat()], "12"),
        (["--until=" + datetime.fromtimestamp((NOW - 2 * HOUR) / 1000, UTC).isoformat()], "345"),
        (["--flow=flow", "--status=failed", "--sandbox=dev", "--since=24h"], "3"),
        (["--limit=2"], "12"),
    ],
)
def test_flags_choose_runs(cli: Run, flags: list[str], expected: str) -> None:
    """Each flag leaves out runs, and several together leave out what any of them does."""
    ended_ = cli("runs", "--output=json", *flags)
    assert ("".join(ids(ended_.out)), ended_.status) == (expected, 0)


@pytest.mark.usefixtures("recorded")
def test_a_cursor_goes_on_where_a_list_ended(cli: Run) -> None:
    """The pages of a list together hold each run once, and the last page has no next."""
    found: list[str] = []
    cursor: list[str] = []
    for _ in range(5):
        answer = json.loads(cli("runs", "--output=json", "--limit=2", *cursor).out)
        found += [item["run_id"] for item in answer["items"]]
        if answer["next"] is None:
            break
        cursor = [f"--cursor={answer['next']}"]
    assert found == [f"run-{number}" for number in range(1, 6)]


@pytest.mark.usefixtures("recorded")
def test_the_json_of_a_run(cli: Run) -> None:
    """A run has its fields as the API names them."""
    [item] = json.loads(cli("runs", "--output=json", "--error-code=CONNECTOR-2001-500").out)["items"]
    assert (item["flow_id"], item["status"], item["sandbox"]) == ("flow", "failed", "prod")
    assert item["errors"][0]["message"] == "It broke."
    assert item["errors"][0]["explanation"]
    assert (item["duration_seconds"], item["counted"], item["source"], item["org"]) == (1.0, True, "replay", None)


@pytest.mark.parametrize("flags", [[], ["--output=json"]])
def test_an_empty_list_says_so(cli: Run, flags: list[str]) -> None:
    """Without a run the exit status is 0, standard error says why, and JSON is still a list."""
    make_ledger()
    ended_ = cli("runs", *flags)
    assert ended_.status == 0
    assert "the ledger holds no such run" in ended_.err
    assert ended_.out == ("" if not flags else '{\n  "items": [],\n  "next": null\n}\n')


@pytest.mark.parametrize("output", ["table", "json"])
def test_hostile_text_does_nothing_to_a_terminal(cli: Run, output: str) -> None:
    """No text of a notification brings a control character, a change of direction or a line of its own."""
    hostile = failed(1, 1, {"code": "133", "message": HOSTILE}, flowName=HOSTILE, sandboxName=HOSTILE)
    cli("replay", "--create", write("a.json", {**hostile, "id": HOSTILE, "flowId": HOSTILE}))
    out = cli("runs", "--output", output).out
    assert all(each == "\n" or each.isprintable() for each in out)
    assert not set("\u202e\u2066\u200b") & set(out)
    assert "evil" in out
    if output == "table":
        assert len(out.splitlines()) == 3


def test_the_table_is_100_columns_wide(cli: Run) -> None:
    """Names and messages are cut. Ids and codes are not, however many a run has."""
    code = "ABCDEFGHIJKLMNOPQRSTUVWX-123456-ABCDEFGH"
    errors = [
        {"code": code, "message": "m" * 500},
        *({"code": str(n), "message": "\N{SNOWMAN}" * 99} for n in range(10, 20)),
    ]
    names = {"flowName": "\N{CJK UNIFIED IDEOGRAPH-6D77}" * 90, "sandboxName": "s" * 90}
    cli("replay", "--create", write("a.json", {**failed(1, 1, *errors, **names), "id": FLOW, "flowId": FLOW}))
    out = cli("runs").out
    lines = out.splitlines()
    # An ideograph takes two columns of a terminal.
    assert [len(line) + line.count("\N{CJK UNIFIED IDEOGRAPH-6D77}") <= 100 for line in lines] == [True] * len(lines)
    assert FLOW in lines[1]
    assert "…" in lines[1]
    assert lines[2].startswith(f"    {code}  mmm")
    assert lines[2].endswith("m…")
    assert lines[-1] == "    and 6 more"


@pytest.mark.usefixtures("recorded")
def test_nothing_is_created_or_changed(cli: Run) -> None:
    """The ledger's folder has the same files with the same bytes after a list, of a ledger that nobody has open."""
    before = files(LEDGER.parent)
    assert cli("runs").status == 0
    assert files(LEDGER.parent) == before


@pytest.mark.usefixtures("recorded")
def test_a_ledger_in_use_is_read(cli: Run) -> None:
    """While a process has the ledger open, what it committed is listed. No file changes but SQLite's index."""
    with contextlib.closing(SqliteLedger(LEDGER)):
        before = files(LEDGER.parent)
        assert ids(cli("runs", "--output=json").out) == list("12345")
        after = files(LEDGER.parent)
    assert {name: content for name, content in after.items() if not name.endswith("-shm")} == {
        name: content for name, content in before.items() if not name.endswith("-shm")
    }


def test_no_ledger_is_made(cli: Run, folder: Path) -> None:
    """If there is no ledger the message says where it was looked for, the exit status is 2, and none is made."""
    ended_ = cli("runs")
    assert (ended_.status, ended_.out) == (2, "")
    assert f"there is no ledger at {folder}/data/ledger.db" in ended_.err
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--status=in_progress"], "--status=in_progress: input should be"),
        (["--limit=0"], "--limit=0: must be a whole number from 1 to 500"),
        (["--limit=501"], "from 1 to 500"),
        (["--since=yesterday"], "a time is written like 2026-11-30T22:15:00Z or, back from now, like 24h"),
        (["--since=2026-11-30"], "a time is written like"),
        (["--since=2026-02-30T00:00:00Z"], "a time is written like"),
        (["--since=1h", "--until=1h"], "--since must be before --until"),
        (["--since=1h", "--until=24h"], "--since must be before --until"),
        (["--output=yaml"], "--output=yaml"),
        (["--failing"], "unknown flag --failing"),
    ],
)
def test_runs_asked_for_wrongly(cli: Run, words: list[str], expected: str) -> None:
    """A wrong call ends with 2 and a message that states the mistake."""
    make_ledger()
    ended_ = cli("runs", *words)
    assert (ended_.status, ended_.out) == (2, "")
    assert expected in ended_.err


@pytest.mark.parametrize("cursor", ["x", "A" * 5000])
def test_a_text_that_is_no_cursor(cli: Run, cursor: str) -> None:
    """A cursor that no list gave is refused, and is not repeated."""
    make_ledger()
    ended_ = cli("runs", f"--cursor={cursor}")
    assert (ended_.status, ended_.out) == (2, "")
    assert "--cursor is not the next of a list of runs" in ended_.err
