import re
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model import Status
from exporter.pages.explanation_texts import Text, read, tables
from exporter.pages.explanations import (
    COPY,
    FLOW_SERVICE,
    NUMBER,
    SQLSTATE,
    Explanation,
    explain,
    explain_alert,
    explain_batch_state,
    explain_status,
)
from exporter.simulate.codes import FAILURES, REJECTIONS, SKIPPED_CODE, ErrorCause

DOCUMENTED: Final = tuple(
    (Path(__file__).parents[1] / "samples" / "error-codes.txt").read_text(encoding="utf-8").splitlines()
)
"""Every error code that a public document names."""
LONGEST: Final = 200
"""Characters of a text, so that it fits on a telephone."""

CODE: Final = r"[A-Z][A-Z_]{1,23}-[0-9]{1,6}-[A-Z0-9]{2,8}|[0-9]{2,6}(-[0-9]{3})?|[0-9][0-9A-Z]{4}"
PREFIXES: Final = ("CONNECTOR", "CTOR", "INGEST", "MAPPER", "DCVS", "UPINGT", "ACTBTC", "ACTIVATION_BATCH", "ACTSVC")

SOURCE: Final = re.compile(r"[A-Za-z0-9-]+/[\w.-]+:[\w-][\w./-]*\.(md|yaml)|https://[\w.-]+(/[\w.-]+)+")


def sentences(text: str) -> int:
    """How many sentences a text has."""
    return len(re.findall(r"\.(?= |$)", text))


def assert_readable(explanation: Explanation) -> None:
    """An explanation says something, and nothing is left to be filled in."""
    assert explanation.meaning
    assert explanation.action
    assert not re.search(r"[{}]", explanation.text)
    assert explanation.text.splitlines() == [explanation.meaning, explanation.action]


@pytest.mark.parametrize("code", DOCUMENTED)
def test_a_documented_code_has_its_own_explanation(code: str) -> None:
    """Every code that a public document names has an explanation of its own, with that document."""
    explanation = explain(code)
    assert explanation.code == code
    assert explanation.is_documented
    assert explanation.source
    assert_readable(explanation)


def test_no_code_is_explained_that_no_document_names() -> None:
    """The texts explain the documented codes and no others, so that no mistyped code is among them."""
    assert sorted(tables()["codes"]) == sorted(DOCUMENTED)


def is_short_and_plain(text: str) -> bool:
    """Whether a text is short enough for a telephone and has neither markup nor words that help nobody."""
    return (
        len(text) <= LONGEST
        and text == text.strip()
        and not re.search(r"[<>`*&;!?\[\]\n]|__|https?:", text)
        and not re.search(r"\b(please|sorry|oops|simply|just|we|our)\b", text, re.IGNORECASE)
    )


@pytest.mark.parametrize("table", tables())
def test_texts_are_short_and_plain(table: str) -> None:
    """A meaning is one sentence and an action is at most two, and both are short and without markup."""
    for text in tables()[table].values():
        assert sentences(text.meaning) == 1, text
        assert re.fullmatch(r"[A-Z0-9].*\.", text.meaning), text
        assert sentences(text.action) <= 2, text
        assert re.fullmatch(r"[A-Z].*\.|", text.action), text
        assert is_short_and_plain(text.meaning), text
        assert is_short_and_plain(text.action), text


@pytest.mark.parametrize("table", tables())
def test_a_source_is_a_file_or_a_page(table: str) -> None:
    """A source is a file in a public repository or a page, or it is empty."""
    assert [text for text in tables()[table].values() if text.source and not SOURCE.fullmatch(text.source)] == []


@pytest.mark.parametrize(
    ("code", "url"),
    [
        (
            "CONNECTOR-1001-500",
            "https://github.com/AdobeDocs/experience-platform.en/blob/HEAD/help/sources/notifications.md",
        ),
        (
            "INGEST-1205-400",
            "https://github.com/AdobeDocs/experience-platform.en/commits/HEAD/help/sources/notifications.md",
        ),
        ("22012", "https://www.postgresql.org/docs/current/errcodes-appendix.html"),
        ("other", ""),
    ],
)
def test_a_source_has_an_address(code: str, url: str) -> None:
    """A file in a repository has the address of its newest version, and a page has its own address."""
    assert explain(code).source_url == url


@pytest.mark.parametrize(
    ("code", "family", "words"),
    [
        ("CONNECTOR-4711-500", "CONNECTOR", "source flow"),
        ("CTOR-4711-500", "CTOR", "source flow"),
        ("INGEST-4711-400", "INGEST", "fit the schema"),
        ("INGEST-4711-503", "INGEST", "Adobe's service failed"),
        ("MAPPER-4711-400", "MAPPER", "could not be applied"),
        ("MAPPER-4711-500", "MAPPER", "Adobe's Data Prep"),
        ("DCVS-4711-400", "DCVS", "does not fit the schema"),
        ("DCVS-4711-500", "DCVS", "does not fit the schema"),
        ("UPINGT-004711-400", "UPINGT", "Profile"),
        ("UPINGT-004711-500", "UPINGT", "Adobe's service failed"),
        ("ACTBTC-4711-400", "ACTBTC", "scheduled export"),
        ("ACTIVATION_BATCH-0001-SKIP", "ACTIVATION_BATCH", "scheduled export"),
        ("ACTSVC-4711-500", "ACTSVC", "streaming export"),
        ("9999-404", FLOW_SERVICE, "HTTP status 404"),
        ("9999-403", FLOW_SERVICE, "lacks a permission"),
        ("9999-418", FLOW_SERVICE, "HTTP status 418"),
        ("9999-599", FLOW_SERVICE, "HTTP status 599"),
        ("9999-200", FLOW_SERVICE, "no public document"),
        ("22012", SQLSTATE, "division by zero"),
        ("42703", SQLSTATE, "names something that does not exist"),
        ("57014", SQLSTATE, "was stopped"),
        ("40P01", SQLSTATE, "rolled back"),
        ("9Z999", SQLSTATE, "class"),
        ("2108", COPY, "Azure Data Factory"),
        ("99999", NUMBER, "number"),
        ("3204", NUMBER, "number"),
        ("107", NUMBER, "number"),
    ],
)
def test_a_family_answers_for_a_code_that_is_not_documented(code: str, family: str, words: str) -> None:
    """A code that no document names has the explanation of its family, and says so."""
    explanation = explain(code)
    assert explanation.family == family
    assert words in explanation.meaning
    assert not explanation.is_documented
    assert_readable(explanation)


@pytest.mark.parametrize(
    ("code", "family"),
    [
        ("CONNECTOR-1001-500", "CONNECTOR"),
        ("1101-404", FLOW_SERVICE),
        ("42P01", SQLSTATE),
        ("2200", COPY),
        ("106", NUMBER),
        ("Unknown error code", ""),
    ],
)
def test_a_documented_code_has_a_family_too(code: str, family: str) -> None:
    """The family of a code depends on its form alone."""
    assert explain(code).family == family


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("other", "without a usable code"),
        ("none", "reported no error code"),
        ("FLUX-12-400", "400 says that data or a setting was refused"),
        ("FLUX-12-500", "500 says that a service failed"),
        ("FLUX-12-LATE", "in no public document"),
        ("4xx", "in no public document"),
        ("", "in no public document"),
    ],
)
def test_what_is_no_known_code_says_so(code: str, words: str) -> None:
    """A code of no family, and a word that stands in the place of a code, says what is not known and what to do."""
    explanation = explain(code)
    assert words in explanation.meaning
    assert not explanation.is_documented
    assert explanation.family == ""
    assert_readable(explanation)


@given(code=st.one_of(st.from_regex(CODE, fullmatch=True), st.text()))
def test_every_text_has_an_explanation(code: str) -> None:
    """Whatever a run reports in the place of a code, there is a meaning and an action."""
    assert_readable(explain(code))


@given(prefix=st.sampled_from(PREFIXES), rest=st.from_regex(r"-[0-9]{1,6}-[A-Z0-9]{2,8}", fullmatch=True))
def test_every_code_of_a_prefix_belongs_to_its_family(prefix: str, rest: str) -> None:
    """A code with a known prefix is of that family, whatever its numbers are."""
    assert explain(prefix + rest).family == prefix


@given(text=st.text())
def test_an_explanation_does_not_repeat_free_text(text: str) -> None:
    """Free text in the place of a code gets into no explanation, because it can hold anything."""
    marked = f"<{text}>"
    assert marked not in explain(marked).text
    assert marked not in explain_alert(marked).text
    assert marked not in explain_batch_state(marked).text


def test_the_simulation_reports_explained_codes() -> None:
    """Every code that the simulation sends has an explanation of its own."""
    causes: list[ErrorCause] = [cause for table in (FAILURES, REJECTIONS) for each in table.values() for cause in each]
    codes = {code for cause in causes for code in (cause.code, cause.detail_code) if code} | {SKIPPED_CODE}
    assert {code for code in codes if not explain(code).is_documented} == set()


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("retrying", "tries it again"),
        ("stalled", "retries of the batch are used up"),
        ("abandoned", "not completed in time"),
        ("Stalled", "retries of the batch are used up"),
        ("ACTIVE", "was ingested"),
    ],
)
def test_a_state_of_a_batch_is_explained(state: str, words: str) -> None:
    """A state of a batch has an explanation, in upper and lower case."""
    explanation = explain_batch_state(state)
    assert words in explanation.meaning
    assert explanation.is_documented
    assert_readable(explanation)


@pytest.mark.parametrize("state", ["", "melted"])
def test_an_unknown_state_of_a_batch_says_so(state: str) -> None:
    """A state that Adobe does not document has an explanation that says so."""
    explanation = explain_batch_state(state)
    assert "no explanation" in explanation.meaning
    assert not explanation.is_documented
    assert_readable(explanation)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sources_flow_run_delay_e2e_va7_prod", "longer"),
        ("destinations_flow_run_delay", "longer"),
        ("sources_ingestion_error_rate_exceeded", "failed"),
        ("Destination Skip Rate Exceeded", "left too large a part"),
        ("query_quarantine", "ten failed runs"),
        ("segment_definition_disabled", "was disabled"),
        ("profile_flow_run_failure", "a run failed"),
    ],
)
def test_an_alert_of_adobe_is_explained(name: str, words: str) -> None:
    """An alert is explained by a part of its name, because names differ by region and by environment."""
    explanation = explain_alert(name)
    assert words in explanation.meaning
    assert explanation.is_documented
    assert_readable(explanation)


@pytest.mark.parametrize("name", ["", "other", "profile_threshold_exceeded"])
def test_an_unknown_alert_says_so(name: str) -> None:
    """An alert that no part of the name explains has an explanation that says so."""
    explanation = explain_alert(name)
    assert "no explanation" in explanation.meaning
    assert not explanation.is_documented


@pytest.mark.parametrize("status", Status)
def test_every_status_is_explained(status: Status) -> None:
    """Every status of a run has a sentence of its own."""
    sentence = explain_status(status)
    assert sentences(sentence) == 1
    assert [each for each in Status if explain_status(each) == sentence] == [status]


GROUP = '[[codes]]\naction = "Wait."\nsource = ""\n[codes.meanings]\n"12" = "Late."\n'


def test_groups_of_several_files_are_one_table() -> None:
    """Groups of the same table in several files become one table in the order of the files."""
    table = read([GROUP, GROUP.replace('"12"', '"11"')])["codes"]
    assert list(table) == ["12", "11"]
    assert table["12"] == Text(meaning="Late.", action="Wait.", source="")


def test_a_key_that_is_explained_twice_is_refused() -> None:
    """Two explanations of one code are a mistake, even in different files."""
    with pytest.raises(ValueError, match="codes explains '12' twice"):
        read([GROUP, GROUP])


def test_an_empty_meaning_is_refused() -> None:
    """A text without a meaning cannot be made."""
    with pytest.raises(ValueError, match="needs a meaning"):
        read([GROUP.replace("Late.", "")])
