import math
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.adobe import fields
from exporter.adobe.fields import InvalidFieldError
from exporter.plain_text import clean
from tests.adobe import NOW, assert_keepable, failing, trees

NEWEST = NOW + 10 * 60 * 1000
"""Ten minutes past the recording."""
SEPARATORS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
"""At which `str.splitlines` ends a line."""
OLDEST = 1_262_304_000_000
"""2010-01-01."""

seconds = st.integers(OLDEST // 1000, NEWEST // 1000)
milliseconds = st.integers(OLDEST, NEWEST)


@given(seconds)
def test_seconds(second: int) -> None:
    """A number below 1e11 is seconds, as a whole number, as a float and as digits."""
    for written in (second, float(second), str(second), f" {second} "):
        assert fields.moment(written, NOW) == second * 1000


@given(milliseconds)
def test_milliseconds(millisecond: int) -> None:
    """A number from 1e11 is milliseconds, as a whole number, as a float and as digits."""
    for written in (millisecond, float(millisecond), str(millisecond)):
        assert fields.moment(written, NOW) == millisecond


@given(milliseconds, st.integers(-12 * 60, 14 * 60))
def test_iso_8601(millisecond: int, offset: int) -> None:
    """A time in ISO 8601 is the same time in every time zone."""
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
        pytest.param(OLDEST, OLDEST, id="the first valid millisecond"),
        pytest.param(OLDEST // 1000, OLDEST, id="the first valid second"),
        pytest.param(NEWEST, NEWEST, id="the last valid millisecond"),
        pytest.param(None, None, id="nothing"),
        pytest.param("", None, id="an empty string"),
        pytest.param(0, None, id="zero"),
        pytest.param("0", None, id="zero as a digit"),
        pytest.param(-1, None, id="minus one"),
    ],
)
def test_moment(value: object, moment: int | None) -> None:
    """Times come in seconds, milliseconds and ISO 8601. 0 and -1 mean that the time is not known."""
    assert fields.moment(value, NOW) == moment


INVALID_TIMES: tuple[object, ...] = (
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
)


def test_invalid_times() -> None:
    """Anything but a time from 2010 to ten minutes after the recording is not valid."""

    def check(value: object) -> None:
        with pytest.raises(InvalidFieldError):
            fields.moment(value, NOW)

    assert failing(INVALID_TIMES, check) == {}


@pytest.mark.parametrize("place", ["Asia/Tokyo", "America/New_York"])
def test_a_time_is_the_same_everywhere(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A time without time zone is UTC, whatever the time zone of this host."""
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", place)
        time.tzset()
        found = fields.moment("2025-10-08T11:42:07", NOW)
    time.tzset()
    assert found == 1759923727000


COUNTS: tuple[tuple[object, int | None], ...] = (
    *((0, 0), (1, 1), (2**53, 2**53), ("0", 0), ("420", 420), (" 420 ", 420), (420.0, 420)),
    *((None, None), (-1, None), (-1.0, None)),
)
INVALID_COUNTS: tuple[object, ...] = (
    *(-2, -(10**400), 0.5, math.nan, math.inf, -math.inf, 2**53 + 1, 10**400, 1e300, True, False),
    *("", "many", "0.5", "1e3", "9" * 17, "9" * 5000, "\u0663", [], [1], {}),
)


def test_counts() -> None:
    """A count is a whole number from 0. If it is absent or -1 it is not known."""
    assert [(value, fields.count(value)) for value, _ in COUNTS] == list(COUNTS)


def test_invalid_counts() -> None:
    """Anything but a whole number that a sample can hold is not a valid count."""

    def check(value: object) -> None:
        with pytest.raises(InvalidFieldError):
            fields.count(value)

    assert failing(INVALID_COUNTS, check) == {}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param("1f4e8b2a-7d39", "1f4e8b2a-7d39", id="text"),
        pytest.param(" 1f4e\n", "1f4e", id="blanks around"),
        pytest.param("north sea", "north sea", id="a blank within"),
        pytest.param("Nordsjøen 北海", "Nordsjøen 北海", id="letters of the world"),
        pytest.param("\ufeff\n1f\u200b4e", "1f4e", id="characters without a glyph"),
        pytest.param(42, "42", id="a number"),
        pytest.param("a" * 128, "a" * 128, id="the longest"),
        pytest.param(None, "", id="nothing"),
        pytest.param("", "", id="an empty string"),
        pytest.param("  ", "", id="blanks"),
        pytest.param(True, "", id="true"),
        pytest.param({"id": "a"}, "", id="an object"),
        pytest.param(["a"], "", id="an array"),
    ],
)
def test_identifier(value: object, text: str) -> None:
    """An id is text or a whole number. Anything else is no id."""
    assert fields.identifier(value) == text


def test_a_long_identifier_is_cut() -> None:
    """An id of more than 128 characters is cut and ends in a digest, so that it differs from others."""
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
        pytest.param("a\x00b\ud83d", "a?b?", id="what a database refuses"),
        pytest.param("a\ufffdb", "a?b", id="what PromQL refuses"),
        pytest.param("\u202eTide\u2066 tables\u200b\ufeff", "Tide tables", id="characters without a glyph"),
        pytest.param("\ufeff\u200b\nTide tables", "Tide tables", id="a first line without a glyph"),
        pytest.param("\u200b", "", id="no glyph at all"),
        pytest.param(None, "", id="nothing"),
        pytest.param("", "", id="an empty string"),
        pytest.param(" \n ", "", id="blanks"),
    ],
)
def test_name(value: object, name: str) -> None:
    """A flow's name is its first line, of at most 120 characters."""
    assert fields.name(value) == name


@pytest.mark.parametrize("separator", SEPARATORS, ids=ascii)
def test_separators(separator: str) -> None:
    """Every line separator ends the first line of a name. In an id it is replaced, and around both it is left out."""
    assert fields.name(f"{separator}Tide{separator}tables") == "Tide"
    assert fields.identifier(f"{separator}tide{separator}tables{separator}") == "tide?tables"
    assert fields.message(f"Tide{separator}tables") == "Tide tables"


def test_invalid_names() -> None:
    """A name that is not text is not valid."""

    def check(value: object) -> None:
        with pytest.raises(InvalidFieldError):
            fields.name(value)

    assert failing([1, True, 1.5, [], ["a"], {}], check) == {}


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
def test_every_result_can_be_stored(value: object, text: str) -> None:
    """Whatever a field holds, a label, a database and an encoder can take what is read of it."""
    for leaf in (value, text):
        found = [fields.identifier(leaf), fields.message(leaf) or "", clean(text)]
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
