"""Explains error codes, statuses of runs, states of batches and Adobe's alerts: what they mean and what to do.

The person who reads an explanation was woken by an alert. So a meaning is one sentence, an action is one or two, and
both are plain text without markup. The texts are in data files (`exporter.pages.explanation_texts`).

A code that a public document names has an explanation of its own. Any other code has that of its family, which is found
by the form of the code. Every text has an explanation, whatever it holds, and no explanation repeats the text.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from exporter.model import Status
from exporter.pages.explanation_texts import Table, Text, tables

FLOW_SERVICE: Final = "Flow Service"
"""The family of a number and an HTTP status, such as `1101-404`."""
SQLSTATE: Final = "SQLSTATE"
"""The family of the codes of queries, such as `42P01`."""
COPY: Final = "copy"
"""The family of the numbers of the step that copies data, such as `2200`."""
NUMBER: Final = "number"
"""The family of all other numbers, such as `106`."""

_PREFIXED: Final = re.compile(r"([A-Z][A-Z_]*)-[0-9]+-([A-Z0-9]+)")
_NUMBER_AND_STATUS: Final = re.compile(r"[0-9]{2,6}-([0-9]{3})")
_SQLSTATE: Final = re.compile(r"[0-9][0-9A-Z]{4}")
_COPY_NUMBER: Final = re.compile(r"2[0-9]{3}")
_NUMBER: Final = re.compile(r"[0-9]{2,6}")
_HTTP_ERROR: Final = re.compile(r"[45][0-9]{2}")

_OUTCOMES_TOO: Final = frozenset({"success", "failed", "failure"})
"""Words that are states of a batch and outcomes of a run."""
_IN_REPOSITORY: Final = re.compile(r"([\w.-]+/[\w.-]+):([\w./-]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What an error code, a state or an alert means, and what to do about it."""

    code: str
    """The code that was asked for, as it was given. It can be any text: escape it where it is shown."""
    meaning: str
    """One sentence that can stand alone in a list."""
    action: str
    """What to check first and who can correct it, in one or two sentences."""
    source: str
    """The public document: a file in a repository (`owner/name:path`) or a URL. Empty if there is none."""
    is_documented: bool
    """Whether the source names this code itself. If not, the explanation is that of its family."""
    family: str
    """A prefix such as `INGEST`, or FLOW_SERVICE, SQLSTATE, COPY or NUMBER. Empty if the code is of no family."""

    @property
    def text(self) -> str:
        """The meaning, and the action in a second line."""
        return f"{self.meaning}\n{self.action}"

    @property
    def source_url(self) -> str:
        """Where the source can be read. Empty if there is none."""
        in_repository = _IN_REPOSITORY.fullmatch(self.source)
        # HEAD is the newest version, whatever the name of the main branch is.
        return f"https://github.com/{in_repository[1]}/blob/HEAD/{in_repository[2]}" if in_repository else self.source


def explain(code: str) -> Explanation:
    """Explain an error code of a run, or what stands in its place: `other`, `none` or any text."""
    family, text = _of_family(code)
    documented = tables()["codes"].get(code)
    return _explanation(code, documented or text, is_documented=documented is not None, family=family)


def explain_batch_state(state: str) -> Explanation:
    """Explain a state of a batch, such as `stalled`. Upper and lower case are the same."""
    states = tables()["batch_states"]
    known = states.get(state.lower())
    return _explanation(state, known or states[""], is_documented=bool(state) and known is not None)


def explain_batch_states(words: Iterable[str]) -> tuple[Explanation, ...]:
    """Explain those of the words that are states of a batch, but for outcomes of runs, of which the run says more."""
    found = (explain_batch_state(word) for word in words if word.lower() not in _OUTCOMES_TOO)
    return tuple(each for each in found if each.is_documented)


def explain_alert(name: str) -> Explanation:
    """Explain one of Adobe's alerts by its name, such as `sources_flow_run_delay`."""
    words = name.lower().replace(" ", "_")
    part, text = next((part, text) for part, text in tables()["alerts"].items() if part in words)
    return _explanation(name, text, is_documented=bool(part))


def explain_status(status: Status) -> str:
    """What the status of a run means, in one sentence."""
    return tables()["statuses"][status].meaning


def _explanation(code: str, text: Text, *, is_documented: bool, family: str = "") -> Explanation:
    return Explanation(
        code=code,
        meaning=text.meaning,
        action=text.action,
        source=text.source,
        is_documented=is_documented,
        family=family,
    )


def _of_family(code: str) -> tuple[str, Text]:
    """The family of a code with its text. A code of no family has the empty family and the text for unknown codes."""
    unknown = tables()["unknown"]
    if prefixed := _PREFIXED.fullmatch(code):
        return _of_prefix(prefixed[1], prefixed[2])
    if with_status := _NUMBER_AND_STATUS.fullmatch(code):
        http = tables()["http"]
        return FLOW_SERVICE, http.get(with_status[1]) or _for_http_class(http, with_status[1]) or http[""]
    if _SQLSTATE.fullmatch(code):
        classes = tables()["classes"]
        # Five digits can be a number of another kind. With a letter among them it is an SQLSTATE.
        if code[:2] in classes or not code.isdigit():
            return SQLSTATE, classes.get(code[:2], classes[""])
    if _COPY_NUMBER.fullmatch(code):
        return COPY, tables()["families"][COPY]
    if _NUMBER.fullmatch(code):
        return NUMBER, tables()["families"][NUMBER]
    return "", unknown.get(code, unknown[""])


def _of_prefix(prefix: str, ending: str) -> tuple[str, Text]:
    families = tables()["families"]
    if prefix in families:
        of_class = families.get(f"{prefix} {ending[0]}xx") if _HTTP_ERROR.fullmatch(ending) else None
        return prefix, of_class or families[prefix]
    return "", _for_http_class(tables()["endings"], ending) or tables()["unknown"][""]


def _for_http_class(table: Table, status: str) -> Text | None:
    """The text for all statuses like this one (`4xx`, `5xx`). None if this is not the HTTP status of an error."""
    if not _HTTP_ERROR.fullmatch(status):
        return None
    text = table[f"{status[0]}xx"]
    return replace(text, meaning=text.meaning.replace("{status}", status))
