import json
import math
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.adobe import lenient_json
from exporter.adobe.lenient_json import MAX_DEPTH, Decoded, decode, elements, elements_at
from tests.adobe import DEEP, encoded

BOM = b"\xef\xbb\xbf"
HALF = b'"\\ud83d"'
"""Half an emoji. The fast decoder refuses a text with it."""

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=10)
    | st.text(st.characters(categories=["Cs", "Cc"]), max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=15,
)


def _as_json(value: list[object]) -> list[object]:
    """The value after it was encoded and decoded, which joins two halves of an emoji."""
    read: list[object] = json.loads(json.dumps(value))
    return read


@given(values, st.booleans())
def test_is_json(value: object, ascii_only: bool) -> None:
    """Valid JSON is decoded as Python's own decoder does it, by the fast way and by the lenient one."""
    raw = json.dumps(value, ensure_ascii=ascii_only).encode(errors="replace")
    expected = json.loads(raw)
    assert decode(raw) == decode(BOM + raw) == Decoded(expected)
    assert decode(b"[" + HALF + b", " + raw + b"]") == Decoded(["\ud83d", expected])


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        pytest.param(b'\xef\xbb\xbf{"a": 1}', {"a": 1}, id="byte order mark"),
        pytest.param(b'["\\ud83d", 1]', ["\ud83d", 1], id="half an emoji"),
        pytest.param(b'["\\ud83d\\ude00", "\\ud83d"]', ["\N{GRINNING FACE}", "\ud83d"], id="an emoji and a half"),
        pytest.param(b'["a\x00b", 1]', ["a\x00b", 1], id="raw NUL"),
        pytest.param(b'["a\n\tb", 1]', ["a\n\tb", 1], id="raw line break"),
        pytest.param(b'["\xff", 1]', ["\ufffd", 1], id="no UTF-8"),
        pytest.param(b"[1e400, 1]", [math.inf, 1], id="more than a float"),
        pytest.param(b"[-1e400, 1]", [-math.inf, 1], id="less than a float"),
        pytest.param(b'{"a": 1, "b": 0, "a": 2}', {"a": 2, "b": 0}, id="key twice"),
        pytest.param(b'{"a": 1, "b": "\\ud83d", "a": 2}', {"a": 2, "b": "\ud83d"}, id="key twice beside half an emoji"),
        pytest.param(b" \r\n\t1 ", 1, id="blanks around"),
    ],
)
def test_forgives(raw: bytes, value: object) -> None:
    """Damage loses only the value that it is in."""
    decoded = decode(raw)
    assert decoded is not None
    assert (decoded.value, decoded.is_pruned) == (value, False)


NOT_JSON = (
    *(b"", b" ", b"\x00", b"nul", b"{", b'{"a": 1', b'{"a" 1}', b"[1,]", b"[1] [2]", b'"', b"]", b"}{", b"[" * 10_000),
)


def test_is_not_json() -> None:
    """A text that is not JSON, even by the lenient rules, is not decoded."""
    assert [raw[:30] for raw in NOT_JSON if decode(raw) is not None] == []


@pytest.mark.parametrize("digits", [b"1" * 400, b"1" * 5000, b"-" + b"1" * 5000, b"1" * 5000 + b".5"])
def test_a_number_of_any_length(digits: bytes) -> None:
    """A very long number is decoded as some number, and the values beside it are decoded."""
    decoded = decode(b'{"long": ' + digits + b', "next": 1}')
    assert decoded is not None
    assert isinstance(decoded.value, dict)
    assert isinstance(decoded.value["long"], int | float)
    assert decoded.value["next"] == 1


@given(st.integers(1, 3 * MAX_DEPTH), st.sampled_from(["[", "{"]), st.sampled_from([b"0", HALF]))
def test_too_deep(depth: int, bracket: str, beside: bytes) -> None:
    """A value nested deeper than MAX_DEPTH may be dropped, and `is_pruned` shows it. The values around it are kept."""
    opening, closing = ("[", "]") if bracket == "[" else ('{"a":', "}")
    leaf = opening * depth + "1" + closing * depth
    rest = b', "before": [1], "leaf": ' + leaf.encode() + b', "after": {"b": 2}}'
    decoded = decode(b'{"beside": ' + beside + rest)
    assert decoded is not None
    assert isinstance(decoded.value, dict)
    assert (decoded.value["before"], decoded.value["after"]) == ([1], {"b": 2})
    assert decoded.is_pruned or decoded.value["leaf"] == json.loads(leaf)
    assert not (decoded.is_pruned and depth < MAX_DEPTH)


@pytest.mark.parametrize("depth", [MAX_DEPTH - 2, MAX_DEPTH - 1, MAX_DEPTH, 1000, 20_000])
def test_what_is_not_too_deep_stays(depth: int) -> None:
    """Of a value that is nested too deep, everything down to MAX_DEPTH is kept, before the brackets and after them."""
    decoded = decode(b"[" + HALF + b", " + b"[1, " * depth + b"0" + b", 2]" * depth + b", 2]")
    assert decoded is not None
    assert isinstance(decoded.value, list)
    value = decoded.value[1]
    levels = 1
    while isinstance(value, list):
        assert (value[0], value[2]) == (1, 2)
        value = value[1]
        levels += 1
    assert levels == min(depth + 1, MAX_DEPTH)
    assert value == (None if decoded.is_pruned else 0)
    assert decoded.is_pruned is (depth + 1 > MAX_DEPTH)


@pytest.mark.parametrize(
    "leaf",
    [DEEP, b'"' + b"[" * 10_000 + b'\\""', DEEP + b"," + DEEP, b"[" + DEEP + b", 1, " + DEEP + b"]"],
    ids=["deep", "brackets in a string", "a second, unnamed", "two in an array"],
)
def test_brackets_belong_to_their_leaf(leaf: bytes) -> None:
    """10,000 brackets lose only the element that they are in. Brackets in a string have no effect."""
    texts = elements(b"[" + leaf + b', {"a": 1}]')
    assert texts is not None
    assert decode(texts[-1]) == Decoded({"a": 1})


@given(st.lists(values, max_size=6), st.sampled_from([b"[", BOM + b"["]), st.sampled_from([b"", HALF, b"nul"]))
def test_elements_are_the_elements(array: list[object], start: bytes, last: bytes) -> None:
    """Each element, decoded by itself, is what the array holds, by the fast way and by the lenient one."""
    written = [encoded(element) for element in array] + [last] * bool(last)
    texts = elements(start + b", ".join(written) + b"]")
    assert texts is not None
    assert [decode(text) for text in texts] == [decode(text) for text in written]
    assert [decode(text) for text in texts][: len(array)] == [Decoded(element) for element in _as_json(array)]


@pytest.mark.parametrize(
    ("raw", "parts"),
    [
        pytest.param(b"[]", [], id="empty"),
        pytest.param(b' [ 1 , "," , [2, 3] ] ', [b"1", b'","', b"[2, 3]"], id="blanks"),
        pytest.param(b'[nul, {"a": 1}]', [b"nul", b'{"a": 1}'], id="no JSON"),
        pytest.param(b'[{"a" 1}, 2]', [b'{"a" 1}', b"2"], id="no colon"),
        pytest.param(b'["\\",]\\\\", nul, 2]', [b'"\\",]\\\\"', b"nul", b"2"], id="commas and brackets in a string"),
        pytest.param(b'[{"a": 1}, {"b"', [b'{"a": 1}', b'{"b"'], id="cut off"),
        pytest.param(b'["\xff", 1]', [b'"\xff"', b"1"], id="no UTF-8"),
    ],
)
def test_elements_are_told_apart(raw: bytes, parts: list[bytes]) -> None:
    """An array that can't be decoded is split at the commas outside of brackets and strings."""
    assert elements(raw) == parts


def test_has_no_elements() -> None:
    """A text that is not an array has no elements."""
    assert [raw for raw in (b"{}", b'{"a": [1]}', b"1", b'"[1]"', b"", b"nul") if elements(raw) is not None] == []


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b'[{"a": 1}}, {"b": 2}, {"c": 3}]', id="a brace"),
        pytest.param(b'[{"a": 1}], {"b": 2}, {"c": 3}]', id="a bracket"),
        pytest.param(b'[{"a": 1}, {"b": 2}], {"c": 3}', id="the array's own"),
        pytest.param(b'[{"a": 1}, {"b": 2}][{"c": 3}]', id="another array"),
    ],
)
def test_no_byte_is_lost(raw: bytes) -> None:
    """No byte after a bracket too many is lost, because unreadable bodies are stored too."""
    texts = elements(raw)
    assert texts is not None
    assert all(part in b"".join(texts) for part in (b'{"a": 1}', b'{"b": 2}', b'{"c": 3}'))


@pytest.mark.parametrize(
    ("raw", "path", "values"),
    [
        pytest.param(b'{"a": {"b": [ {"c":1},2 ]}}', ("a", "b"), [{"c": 1}, 2], id="nested"),
        pytest.param(b'{"a": 0, "a": [1]}', ("a",), [1], id="key twice"),
        pytest.param(b'{"a": [1, "\\ud83d"], "b": "\\ud83d"}', ("a",), [1, "\ud83d"], id="half an emoji"),
        pytest.param(b'{"\xff": 0, "a": [1]}', ("a",), [1], id="no UTF-8"),
        pytest.param(b'{"b": 1e400, "a": [1, 1e400]}', ("a",), [1, math.inf], id="more than a float"),
        pytest.param(b'\xef\xbb\xbf{"a": [1]}', ("a",), [1], id="byte order mark"),
    ],
)
def test_elements_at_a_path(raw: bytes, path: tuple[str, ...], values: list[object]) -> None:
    """The elements of an array in nested objects are found by its path."""
    texts = elements_at(raw, path)
    assert texts is not None
    assert [decode(text) for text in texts] == [Decoded(value) for value in values]


def test_elements_at_a_path_keep_their_bytes() -> None:
    """The elements of an array that can be decoded are cut out byte for byte, with blanks and repeated keys."""
    assert elements_at(b'{"a": [ {"b" : 1,  "b":2.50} ,3]}', ("a",)) == [b'{"b" : 1,  "b":2.50}', b"3"]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"[" * 12_000, id="brackets"),
        pytest.param(b"{" * 12_000, id="braces"),
        pytest.param(DEEP, id="brackets that close"),
        pytest.param(b"[]" * 6_000, id="brackets by turns"),
        pytest.param(b"][" * 6_000, id="brackets the wrong way round"),
        pytest.param(b"[{" * 6_000, id="brackets and braces"),
        pytest.param(b"[" + b"," * 12_000, id="commas"),
        pytest.param(b'"' * 12_001, id="quotes"),
        pytest.param(b'["' + b'\\"' * 6_000, id="escaped quotes, cut off"),
        pytest.param(b'["' + b'\\"' * 6_000 + b"\\", id="escaped quotes, cut off within an escape"),
        pytest.param(b'{"a":"' + b'\\"' * 6_000 + b"\\", id="the same in an object"),
        pytest.param(b'["' + b"\\" * 12_001, id="backslashes"),
        pytest.param(b'["' + b"\\ud83d" * 2_000, id="halves of emoji"),
        pytest.param(b"[" + b"9" * 12_000, id="digits"),
        pytest.param(b"\xff" * 12_000, id="no UTF-8"),
        pytest.param(b"\x00" * 12_000, id="NUL"),
    ],
)
def test_costs_no_more_than_its_length(text: bytes) -> None:
    """No text of 12 kB takes long to decode or refuse: the time grows with its length, not with the square of it."""
    started = process_time()
    decode(text)
    elements(text)
    elements_at(text, ("a",))
    assert process_time() - started < 0.3


@pytest.mark.parametrize("damage", [b"\xff", b"\x00", b"\x01\x1f", b"\xed\xa0\xbd", b"\xf0\x9f"], ids=repr)
def test_damage_that_is_repaired(damage: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that JSON does not allow in a string are replaced or escaped, and the fast decoder reads the rest."""
    raw = b'{"a": "x' + damage + b'y", "b": [1, {"c": null}]}'
    expected = json.loads(raw.decode(errors="replace"), strict=False)
    monkeypatch.setattr(lenient_json, "_prune", None)
    decoded = decode(raw)
    assert decoded is not None
    assert decoded.value == expected
