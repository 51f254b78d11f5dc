"""JSON that every client can read."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.pages.json_text import MAX_BODY, MAX_DEPTH, body_value, json_text, view_text
from exporter.pages.views import Json, Moment, as_json

ANY_JSON: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=())), inner),
)


def strictly(content: bytes) -> Any:
    """What a strict client reads: UTF-8, no NaN, no half of a surrogate, no number beyond a double."""

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    value = json.loads(content.decode(), parse_constant=refuse)
    assert "inf" not in repr(value) or "inf" in content.decode()
    # The writer refuses halves of surrogates when it encodes, and numbers that are not finite.
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    return value


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": [1, 2.5, null, true, "\\u00e9"]}', {"a": [1, 2.5, None, True, "é"]}),
        (b'{"a": "\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        (b'{"a": 12345678901234567890}', {"a": 12345678901234567890}),
        (b"[1]", [1]),
        (b'{"a": NaN}', '{"a": NaN}'),
        (b'{"a": -Infinity}', '{"a": -Infinity}'),
        (b'{"a": 1e999}', '{"a": 1e999}'),
        (b'{"a": ' + b"9" * 400 + b"}", '{"a": ' + "9" * 400 + "}"),
        (b'{"a": ' + b"9" * 5000 + b"}", '{"a": ' + "9" * 5000 + "}"),
        (b'{"a": "\\ud800"}', '{"a": "\\ud800"}'),
        (b'{"\\udc00": 1}', '{"\\udc00": 1}'),
        (b"[" * 5000 + b"]" * 5000, "[" * 5000 + "]" * 5000),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)),
        (b"[[]]", [[]]),
        (b'{"a": "\xff"}', '{"a": "\ufffd"}'),
        (b"no JSON \x00", "no JSON \x00"),
        (b"", ""),
    ],
)
def test_a_body_is_json_or_text(body: bytes, value: object) -> None:
    """A body that every client reads alike is its value. Any other one is its text, with nothing left out."""
    assert body_value(body) == value
    assert strictly(json_text({"body": body_value(body)})) == {"body": value}


@given(ANY_JSON, st.integers(-(1 << 70), 1 << 70))
def test_a_view_has_one_text(value: Json, milliseconds: int) -> None:
    """The quick way of writing a view gives what the other one gives: any text, any number, times beyond the years."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return
    view = {"items": [Moment(milliseconds), value, ("a", 1.5)], "next": None}
    assert strictly(view_text(view)) == strictly(json_text(as_json(view)))


def test_a_large_body_is_left_out() -> None:
    """What is larger than 1 MiB is null, whatever it holds."""
    assert body_value(b'"' + b"x" * (MAX_BODY - 2) + b'"') == "x" * (MAX_BODY - 2)
    assert body_value(b'"' + b"x" * (MAX_BODY - 1) + b'"') is None


@given(ANY_JSON | st.binary().map(lambda raw: raw.decode(errors="replace")))
def test_any_body_is_read_by_every_client(value: Json) -> None:
    """Whatever Python takes for JSON, the answer is JSON that is valid for everybody."""
    body = json.dumps(value).encode()
    assert strictly(json_text({"body": body_value(body)})) == {"body": body_value(body)}


@given(st.text(st.characters(exclude_categories=())))
def test_text_is_safe_and_whole(text: str) -> None:
    """A terminal gets no control or format character. A client gets each character but halves of surrogates."""
    content = json_text({"a": text})
    assert not set(content[:-1].decode()) & {*map(chr, range(32)), *map(chr, range(127, 160)), *"\u202e\u2066\u200b"}
    assert strictly(content) == {"a": text.encode(errors="replace").decode()}
