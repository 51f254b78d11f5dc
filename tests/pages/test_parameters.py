"""Parameters of addresses: what a list of runs is asked for, by pages and by the API."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.errors import BadParameterError
from exporter.ledger.queries import RunFilter
from exporter.model import DAY, Status
from exporter.pages.parameters import RUN_PARAMETERS, RunParameters, lenient, run_parameters, strict

NOW = 1_780_000_000_000
TEN = 1_764_496_800_000
"""2025-11-30T10:00:00Z."""


@pytest.mark.parametrize(
    ("given_", "wanted"),
    [
        ({}, RunFilter()),
        ({"flow_id": " a/b%2F "}, RunFilter(flow_id="a/b%2F")),
        ({"sandbox": "prod"}, RunFilter(sandbox="prod")),
        ({"status": "failed"}, RunFilter(status=Status.FAILED)),
        ({"error_code": "CONNECTOR-2001-500"}, RunFilter(error_code="CONNECTOR-2001-500")),
        ({"since": "24h"}, RunFilter(since=NOW - DAY)),
        ({"since": "2d", "until": "1d"}, RunFilter(since=NOW - 2 * DAY, until=NOW - DAY)),
        ({"since": "2025-11-30T10:00:00Z"}, RunFilter(since=TEN)),
        ({"until": "2025-11-30T11:00:00.5+01:00"}, RunFilter(until=TEN + 500)),
        ({"since": "2025-11-30T11:00:00 01:00"}, RunFilter(since=TEN)),
        ({"since": "2025-11-30 10:00:00Z"}, RunFilter(since=TEN)),
    ],
)
def test_filters_are_read(given_: dict[str, str], wanted: RunFilter) -> None:
    """Each parameter becomes its filter. A plus that was not encoded, which arrives as a space, is one."""
    assert run_parameters(given_, NOW).wanted == wanted


def test_limit_and_cursor_are_read() -> None:
    """The limit has a default of the caller's, and the cursor is left to the ledger."""
    assert run_parameters({}, NOW, limit=50) == RunParameters(wanted=RunFilter(), limit=50, cursor=None)
    assert run_parameters({"limit": "500", "cursor": "abc"}, NOW) == RunParameters(
        wanted=RunFilter(), limit=500, cursor="abc"
    )


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("flow_id", " "),
        ("flow_id", "half \ud83d"),
        ("status", "in_progress"),
        ("status", "Failed"),
        ("error_code", ""),
        ("since", "yesterday"),
        ("since", "2025-11-30"),
        ("since", "2025-13-30T10:00:00Z"),
        ("since", "101y"),
        ("until", "-1h"),
        ("limit", "0"),
        ("limit", "501"),
        ("limit", "1e2"),
        ("limit", "٣"),
        ("cursor", ""),
    ],
)
def test_a_bad_value_is_refused(name: str, bad: str) -> None:
    """The error names the parameter and what it takes. It does not repeat the value."""
    with pytest.raises(BadParameterError) as caught:
        run_parameters({name: bad}, NOW)
    assert str(caught.value).startswith(f"the parameter {name} takes ")
    assert not bad.strip() or bad.strip() not in str(caught.value).split(" takes ")[1].split()


@pytest.mark.parametrize(("since", "until"), [("1h", "1h"), ("1h", "2h"), ("2025-11-30T10:00:00Z", "3000d")])
def test_a_stretch_that_ends_before_it_begins_is_refused(since: str, until: str) -> None:
    """No run can be in it, so it is a mistake and not an empty list."""
    with pytest.raises(BadParameterError, match="since must be before until"):
        run_parameters({"since": since, "until": until}, NOW)


def test_pages_ignore_other_names_and_empty_values() -> None:
    """A form sends a value for each field, and mail tools add parameters of their own."""
    given_ = {"sandbox": "", "status": " ", "flow_id": "f", "utm_source": "mail"}
    assert lenient(given_, RUN_PARAMETERS) == {"flow_id": "f"}


@pytest.mark.parametrize("name", ["utm_source", "FLOW_ID", "", "<b>"])
def test_the_api_refuses_other_names(name: str) -> None:
    """The error names the parameter, on one line and cut, and lists the names that there are."""
    with pytest.raises(
        BadParameterError, match=r"is no parameter of this address: it takes flow_id, .* and cursor$"
    ) as caught:
        strict([("flow_id", "f"), (name, "x")], RUN_PARAMETERS)
    assert name[:20] in str(caught.value)
    assert len(str(caught.value)) < 250


def test_the_api_says_where_there_are_no_parameters() -> None:
    """An address without parameters says so."""
    with pytest.raises(BadParameterError, match="takes no parameters"):
        strict([("a", "1")], ())


def test_the_api_refuses_a_name_that_comes_twice() -> None:
    """Which of two values was meant is not guessed, also if they are the same."""
    with pytest.raises(BadParameterError, match="parameter limit is there twice"):
        strict([("limit", "1"), ("limit", "1")], RUN_PARAMETERS)


def test_an_empty_sandbox_of_the_api_is_the_unknown_one() -> None:
    """Only there: on pages an empty value is none."""
    assert run_parameters(strict([("sandbox", "")], RUN_PARAMETERS), NOW).wanted == RunFilter(sandbox="")
    assert run_parameters(lenient({"sandbox": ""}, RUN_PARAMETERS), NOW).wanted == RunFilter()


@given(st.dictionaries(st.sampled_from(RUN_PARAMETERS), st.text()))
def test_any_text_is_read_or_refused(given_: dict[str, str]) -> None:
    """No text causes another error than the one that pages and the API answer with 400."""
    try:
        found = run_parameters(given_, NOW)
    except BadParameterError:
        return
    assert 1 <= found.limit <= 500
