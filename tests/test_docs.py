"""The documents hold what they say: generated tables, links, names of files and of settings."""

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from exporter.commands.main import COMMANDS, settings_table
from exporter.metrics.catalogue import CATALOGUE, EXPORTER_METRICS, FLOW_METRICS, Metric
from tests.generated import hold

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
METRICS = DOCS / "metrics.md"
SETTINGS = DOCS / "settings.md"
DOCUMENTS = (
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
    ROOT / "prometheus" / "runbook.md",
    *sorted(DOCS.rglob("*.md")),
)
CITING = ("exporter", "tests", "benchmarks", "grafana", "prometheus", "deploy")

_FENCE = re.compile(r"(?ms)^( *)```.*?^\1```")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")
_HEADING = re.compile(r"(?m)^#+ +(.*?) *$")
# `docs/adobe.md, "Signatures"`: also over the end of a line, and after `#` or inside brackets.
_CITATION = re.compile(r'docs/([\w/.-]+\.md)\]?(?:\([^)]*\))?,[\s#*]*"([^"]+)"')
# But for those of other projects, "its docs/...".
_DOCUMENT = re.compile(r"(?<![\w/])(?<!its )docs/[\w/.-]+\.md")
# Files of the repository, where a text names one: by its path from the root.
_PATH = re.compile(
    r"(?:exporter|tests|grafana|prometheus|deploy|benchmarks|docs|\.ci)/[\w/.-]*\w/?|"
    r"(?:README|CHANGELOG|CONTRIBUTING|SECURITY)\.md|\.pre-commit-config\.yaml|pyproject\.toml|compose\.yaml|Dockerfile"
)
# Commands of other programs, which have flags of their own, with their continued lines.
_OTHER_PROGRAM = re.compile(r"(?m)^\$ (?:prometheus|alertmanager|amtool) (?:.*\\\n)*.*$")
# `MAX_EVENTS` in `exporter/adobe/deliveries.py`, or the file first.
_NAME_IN_FILE = re.compile(r"`([A-Za-z_]\w*)` (?:in|of) `(exporter/[\w/]+\.py)`")
_FILE_OF_NAME = re.compile(r"`(exporter/[\w/]+\.py)` \(`([A-Za-z_]\w*)`\)")


def metrics_table(metrics: tuple[Metric, ...]) -> str:
    """One half of the catalogue as a table."""
    rows = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for metric in metrics:
        labels = ", ".join(f"`{label}`" for label in metric.all_labels)
        rows.append(f"| `{metric.name}` | {metric.type} | {labels} | {metric.help} |")
    return "\n".join(rows)


def buckets_table() -> str:
    """The bounds of every histogram."""
    rows = [
        f"| `{metric.name}` | {', '.join(f'{bound:g}' for bound in metric.buckets)} |"
        for metric in CATALOGUE
        if metric.buckets
    ]
    return "\n".join(["| metric | bounds |", "|---|---|", *rows])


def settings_tables() -> str:
    """The settings of every command, each under its name."""
    return "\n\n".join(f"## `{command}`\n\n{settings_table(command)}" for command in COMMANDS)


def with_tables(path: Path, tables: dict[str, str]) -> str:
    """A document with these tables between their marks."""
    text = path.read_text(encoding="utf-8")
    for name, table in tables.items():
        before, opening, rest = text.partition(f"<!-- {name} -->\n")
        _, closing, after = rest.partition(f"<!-- /{name} -->")
        assert opening, f"{path.name} has no place for {name}"
        assert closing, f"{path.name} has no place for {name}"
        text = before + opening + table + "\n" + closing + after
    return text


@cache
def anchors(path: Path) -> frozenset[str]:
    """The anchors of a document's headings, as the repository's host makes them."""
    text = _FENCE.sub("", path.read_text(encoding="utf-8"))
    found: set[str] = set()
    for heading in _HEADING.findall(text):
        plain = re.sub(r"[`*]|\]\([^)]*\)|[\[]", "", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        found.add(anchor if anchor not in found else f"{anchor}-1")
    return frozenset(found)


@cache
def titles(path: Path) -> frozenset[str]:
    """The titles of a document's sections."""
    return frozenset(_HEADING.findall(_FENCE.sub("", path.read_text(encoding="utf-8"))))


@cache
def names_of(path: Path) -> frozenset[str]:
    """Every function, class, method and variable that a module defines."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return frozenset(found)


def relative(path: Path) -> str:
    """A file's path from the root, for messages."""
    return str(path.relative_to(ROOT))


def broken_links(document: Path) -> Iterator[str]:
    """Links of a document that lead to no file, or to no heading of it."""
    for target in _LINK.findall(_FENCE.sub("", document.read_text(encoding="utf-8"))):
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (document.parent / name).resolve() if name else document
        if not path.exists():
            yield f"{relative(document)}: {target}"
        elif anchor and path.suffix == ".md" and anchor not in anchors(path):
            yield f"{relative(document)}: {target} (no such heading)"


def missing_files(document: Path) -> Iterator[str]:
    """Files of the repository that a document names, by path or as a module's own name, and that are not there."""
    text = document.read_text(encoding="utf-8")
    words = [word for code in _CODE.findall(_FENCE.sub("", text)) for word in code.split()]
    # Words in capitals stand for a name to be chosen.
    named = {word for word in words if _PATH.fullmatch(word) and not re.search("NAME|VERSION", word)}
    named |= {path for block in _FENCE.finditer(text) for path in re.findall(r"tests/samples/[\w.-]+", block[0])}
    for path in sorted(named):
        if not (ROOT / path).exists():
            yield f"{relative(document)}: {path}"
    if document.is_relative_to(DOCS):
        modules = {path.name for path in (ROOT / "exporter").rglob("*.py")}
        for word in sorted(word for word in words if re.fullmatch(r"[a-z_]+\.py", word)):
            if word not in modules:
                yield f"{relative(document)}: {word}"


def unknown_words(document: Path) -> Iterator[str]:
    """Flags, make targets and metrics that a document names and that there are not."""
    text = document.read_text(encoding="utf-8")
    flags = set(re.findall(r"(?m)^\| `(--[\w.-]+)`", settings_tables()))
    targets = set(re.findall(r"(?m)^([a-z]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8")))
    metrics = {metric.name for metric in CATALOGUE}
    metrics |= {name + end for name in metrics for end in ("_bucket", "_count", "_sum")}
    # External labels of Prometheus, which rules read.
    metrics |= {"aep_exporter_url", "aep_grafana_url"}
    ours = _OTHER_PROGRAM.sub("", text)
    for found in sorted(set(re.findall(r"(?<!prometheus )--[a-z]+\.[a-z.-]*[a-z]", ours)) - flags):
        yield f"{relative(document)}: {found}"
    for found in sorted(set(re.findall(r"(?:`|\$ )make ([a-z]+)", text)) - targets):
        yield f"{relative(document)}: make {found}"
    for found in sorted(set(re.findall(r"(?<![:\w])aep_\w*[a-z](?![\w*]|_\*)", text)) - metrics):
        yield f"{relative(document)}: {found}"


def missing_names(document: Path) -> Iterator[str]:
    """Names that a document says are in a module, and that are not."""
    text = re.sub(r"\s+", " ", document.read_text(encoding="utf-8"))
    named = {(path, name) for name, path in _NAME_IN_FILE.findall(text)} | set(_FILE_OF_NAME.findall(text))
    for path, name in sorted(named):
        if not (ROOT / path).exists() or name not in names_of(ROOT / path):
            yield f"{relative(document)}: {name} in {path}"


def citing_files() -> Iterator[tuple[str, str]]:
    """Every file of ours whose comments may cite a document, with its text in one line without comment signs."""
    for folder in CITING:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in {".py", ".sql", ".yml", ".yaml", ".service", ".default", ".md"} and path != Path(
                __file__
            ):
                text = path.read_text(encoding="utf-8")
                yield relative(path), re.sub(r"\s*\n\s*(?:#|--)?\s*", " ", text)


def test_the_metrics_are_those_of_the_catalogue() -> None:
    """docs/metrics.md shows the metrics and buckets that the catalogue declares."""
    tables = {
        "flow-metrics": metrics_table(FLOW_METRICS),
        "exporter-metrics": metrics_table(EXPORTER_METRICS),
        "buckets": buckets_table(),
    }
    hold(METRICS, with_tables(METRICS, tables))


def test_the_settings_are_those_that_are_declared() -> None:
    """docs/settings.md shows the flags, variables, defaults and help of every command."""
    hold(SETTINGS, with_tables(SETTINGS, {"settings": settings_tables()}))


@pytest.mark.parametrize("find", [broken_links, missing_files, missing_names, unknown_words])
def test_what_the_documents_name_exists(find: Callable[[Path], Iterator[str]]) -> None:
    """Every link, file, name of the code, flag, make target and metric in a document leads somewhere."""
    wrong = [each for document in DOCUMENTS for each in find(document)]
    assert not wrong, "\n".join(wrong)


def test_every_module_is_in_the_tree() -> None:
    """docs/architecture.md names every module and package of exporter/ in "The tree", and the simulation as a whole."""
    _, _, rest = (DOCS / "architecture.md").read_text(encoding="utf-8").partition("\n## The tree\n")
    tree = rest.partition("\n## ")[0]
    simulation = ROOT / "exporter" / "simulate"
    files = sorted(path for path in (ROOT / "exporter").rglob("*.py") if path.parent != simulation)
    modules = {relative(path) for path in files if path.name != "__init__.py"}
    packages = {f"{relative(path.parent)}/" for path in files if path.name == "__init__.py"} - {"exporter/"}
    named = re.findall(r"(?m)^\| `(exporter/[\w/.]+)` \| \S", tree)
    assert sorted(named) == sorted(modules | packages | {f"{relative(simulation)}/"})


def test_the_checks_find_something() -> None:
    """The patterns of this module match: a check that finds nothing to look at would always pass."""
    text = re.sub(r"\s+", " ", "".join(path.read_text(encoding="utf-8") for path in DOCUMENTS))
    assert _LINK.search(text)
    assert _PATH.search(text)
    assert _NAME_IN_FILE.search(text)
    assert _FILE_OF_NAME.search(text)
    assert _DOCUMENT.search(text)
    assert _CITATION.findall('(docs/adobe.md, "Signatures") [docs/adobe.md](adobe.md), "Bodies"') == [
        ("adobe.md", "Signatures"),
        ("adobe.md", "Bodies"),
    ]
    assert "one-notification-step-by-step" in anchors(DOCS / "architecture.md")


def test_citations_name_sections_that_exist() -> None:
    """Where code or a document cites a document by a section's title, the document has that section."""
    documents = ((relative(path), re.sub(r"\s+", " ", path.read_text(encoding="utf-8"))) for path in DOCUMENTS)
    texts = [*citing_files(), *documents]
    wrong = [
        f'{name}: docs/{document}, "{title}"'
        for name, text in texts
        for document, title in _CITATION.findall(text)
        if not (DOCS / document).exists() or title not in titles(DOCS / document)
    ]
    assert not wrong, "\n".join(wrong)


def test_code_cites_only_documents_of_this_repository() -> None:
    """A comment that names a document names one that a reader of the repository has."""
    wrong = []
    for name, text in citing_files():
        wrong += [f"{name}: {cited}" for cited in _DOCUMENT.findall(text) if not (ROOT / cited).exists()]
        if name.startswith(("exporter/", "grafana/", "benchmarks/")):
            wrong += [
                f"{name}: {found}" for found in re.findall(r"(?<!docs/)\badobe\.md.{0,9}|\bcontract\b.{0,9}", text)
            ]
        elif name.startswith("tests/"):
            wrong += [
                f"{name}: {found}" for found in re.findall(r"(?<!docs/)\badobe\.md [A-F]\d?|\bcontract \d.{0,4}", text)
            ]
    assert not wrong, "\n".join(wrong)
