import math
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.adobe import fields
from exporter.adobe.fields import InvalidFieldError
from tests.adobe import NOW, assert_keepable, trees

NEWEST = NOW + 10 * 60 * 1000
"""Ten minutes past the recording."""
OLDEST = 1_262_304_000_000
"""2010-01-01."""

seconds = st.integers(OLDEST // 1000, NEWEST // 1000)
milliseconds = st.integers(OLDEST, NEWEST)


@given(seconds)
def test_seconds(second: int) -> None:
    """A number below 1e11 is seconds, as a number, as digits, and with a fraction."""
    for written in (second, float(second), str(second), f" {second} "):
        assert fields.moment(written, NOW) == second * 1000


@given(milliseconds)
def test_milliseconds(millisecond: int) -> None:
    """A number above 1e11 is milliseconds, as a number and as digits."""
    for written in (millisecond, float(millisecond), str(millisecond)):
        assert fields.moment(written, NOW) == millisecond


@given(milliseconds, st.integers(-12 * 60, 14 * 60))
def test_iso_8601(millisecond: int, offset: int) -> None:
    """A time in ISO 8601 is itself in any time zone."""
    there = timezone(timedelta(minutes=offset))
    moment = datetime.fromtimestamp(millisecond // 1000, UTC) + timedelta(milliseconds=millisecond % 1000)
    assert fields.moment(moment.astimezone(there).isoformat(), NOW) == millisecond
    assert fields.moment(moment.isoformat().replace("+00:00", "Z"), NOW) == millisecond


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        pytest.param(1759912000, 1759912000000, id="seconds"),
        pytest.param(1759912084321, 1759912084321, id="milliseconds"),
        pytest.param("1759912084321", 1759912084321, id="milliseconds as digits"),
        pytest.param(1759912000.25, 1759912000250, id="a fraction of a second"),
        pytest.param("2025-10-08T11:42:07.250Z", 1759923727250, id="ISO 8601"),
        pytest.param("2025-10-08T13:42:07+02:00", 1759923727000, id="ISO 8601 elsewhere"),
        pytest.param("2025-10-08T11:42:07", 1759923727000, id="ISO 8601 of no time zone is UTC"),
        pytest.param("2025-10-08", 1759881600000, id="a day"),
        pytest.param(OLDEST, OLDEST, id="the first moment that makes sense"),
        pytest.param(OLDEST // 1000, OLDEST, id="the first second that makes sense"),
        pytest.param(NEWEST, NEWEST, id="the last moment that makes sense"),
        pytest.param(None, None, id="nothing"),
        pytest.param("", None, id="an empty string"),
        pytest.param(0, None, id="zero"),
        pytest.param("0", None, id="zero as a digit"),
        pytest.param(-1, None, id="minus one"),
    ],
)
def test_moment(value: object, moment: int | None) -> None:
    """Times come in seconds, milliseconds and ISO 8601; 0 and -1 say that the time is not known."""
    assert fields.moment(value, NOW) == moment


@pytest.mark.parametrize(
    "value",
    [
        OLDEST - 1,
        OLDEST // 1000 - 1,
        NEWEST + 1,
        60606060,
        99_999_999_999,
        100_000_000_000,
        10**20,
        10**400,
        1e308,
        math.inf,
        math.nan,
        True,
        False,
        "soon",
        "yesterday 12:00",
        "1759912000s",
        "9" * 30,
        "9" * 5000,
        "2009-12-31T23:59:59.999Z",
        "2125-10-08T11:42:07Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-12:00",
        "2025-13-45T99:99:99Z",
        "2025-10-08T\x00",
        "\ud83d",
        [],
        [1759912000],
        {},
        {"$date": 1759912000},
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_moment_that_makes_no_sense(value: object) -> None:
    """Outside 2010 to ten minutes past recording, and in any other dress, a time is unknown."""
    with pytest.raises(InvalidFieldError):
        fields.moment(value, NOW)


@pytest.mark.parametrize("place", ["Asia/Tokyo", "America/New_York"])
def test_a_time_is_the_same_everywhere(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A time without a time zone is UTC, wherever this machine stands."""
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", place)
        time.tzset()
        told = fields.moment("2025-10-08T11:42:07", NOW)
    time.tzset()
    assert told == 1759923727000


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (0, 0),
        (1, 1),
        (2**53, 2**53),
        ("0", 0),
        ("420", 420),
        (" 420 ", 420),
        (420.0, 420),
        (None, None),
        (-1, None),
        (-1.0, None),
    ],
    ids=repr,
)
def test_count(value: object, count: int | None) -> None:
    """A count is a whole number from 0; absent and -1 say that it is not known."""
    assert fields.count(value) == count


@pytest.mark.parametrize(
    "value",
    [
        *(-2, -(10**400), 0.5, math.nan, math.inf, -math.inf, 2**53 + 1, 10**400, 1e300, True, False),
        *("", "many", "0.5", "1e3", "9" * 17, "9" * 5000, "\u0663", [], [1], {}),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_count_that_makes_no_sense(value: object) -> None:
    """Anything but a whole number that a sample can hold is no count."""
    with pytest.raises(InvalidFieldError):
        fields.count(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param("1f4e8b2a-7d39", "1f4e8b2a-7d39", id="text"),
        pytest.param(" 1f4e\n", "1f4e", id="blanks around"),
        pytest.param("north sea", "north sea", id="a blank within"),
        pytest.param("Nordsjøen 北海", "Nordsjøen 北海", id="letters of the world"),
        pytest.param(42, "42", id="a number"),
        pytest.param("a" * 128, "a" * 128, id="as long as may be"),
        pytest.param(None, "", id="nothing"),
        pytest.param("", "", id="an empty string"),
        pytest.param("  ", "", id="blanks"),
        pytest.param(True, "", id="true"),
        pytest.param({"id": "a"}, "", id="an object"),
        pytest.param(["a"], "", id="an array"),
    ],
)
def test_identifier(value: object, text: str) -> None:
    """An id is text, or a whole number; anything else is none."""
    assert fields.identifier(value) == text


def test_a_long_identifier_is_cut() -> None:
    """An id of more than 128 characters is cut, ends in a digest, and differs from others that begin alike."""
    ids = [fields.identifier("a" * 200 + end) for end in ("b", "c", "\ud83d")]
    assert [len(identifier) for identifier in ids] == [128, 128, 128]
    assert len(set(ids)) == 3
    assert all(identifier.startswith("a" * 100) for identifier in ids)
    assert len({fields.identifier(10**400), fields.identifier(10**400 + 1)}) == 2
    assert len(fields.identifier(-(10**9999))) <= 128


@pytest.mark.parametrize(
    ("value", "name"),
    [
        pytest.param("Tide tables", "Tide tables", id="a name"),
        pytest.param("  SELECT port\r\n  FROM tides\n", "SELECT port", id="the first line of many"),
        pytest.param("\n\nSELECT port", "SELECT port", id="the first line that is not empty"),
        pytest.param("a" * 5000, "a" * 120, id="120 characters"),
        pytest.param("é" * 121, "é" * 120, id="120 characters, not bytes"),
        pytest.param("a\x00b\ud83d", "a\ufffdb\ufffd", id="what no database takes"),
        pytest.param(None, "", id="nothing"),
        pytest.param("", "", id="an empty string"),
        pytest.param(" \n ", "", id="blanks"),
    ],
)
def test_name(value: object, name: str) -> None:
    """A flow's name is its first line, of at most 120 characters."""
    assert fields.name(value) == name


@pytest.mark.parametrize("value", [1, True, 1.5, [], ["a"], {}], ids=repr)
def test_a_name_that_makes_no_sense(value: object) -> None:
    """A name that is no text is none."""
    with pytest.raises(InvalidFieldError):
        fields.name(value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("It rained.", "It rained."),
        (" It\nrained\x00. ", "It rained ."),
        ("rain" * 1000, "rain" * 500),
        ("", None),
        (" ", None),
        (None, None),
        (5, None),
        ({}, None),
        ([], None),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_message(value: object, message: str | None) -> None:
    """A message is text on one line, of at most 2,000 characters."""
    assert fields.message(value) == message


@given(trees, st.text())
def test_whatever_is_left_can_be_kept(value: object, text: str) -> None:
    """Whatever a leaf holds, what is made of it fits a label, a database and an encoder."""
    for leaf in (value, text):
        found = [fields.identifier(leaf), fields.message(leaf) or "", fields.clean(text)]
        for read in (fields.name, fields.count, lambda leaf: fields.moment(leaf, NOW)):
            try:
                kept = read(leaf)
            except InvalidFieldError:
                continue
            assert_keepable(kept)
        for kept in found:
            assert_keepable(kept)
        assert len(found[0]) <= 128
        assert len(found[1]) <= 2000
