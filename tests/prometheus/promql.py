"""Analyses PromQL: which metrics and labels an expression uses, and whether they exist."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

import promql_parser
from prometheus_client import CollectorRegistry, ProcessCollector
from promql_parser import (
    AggModifierType,
    AggregateExpr,
    BinaryExpr,
    Call,
    Expr,
    MatchOp,
    MatrixSelector,
    ParenExpr,
    StringLiteral,
    SubqueryExpr,
    UnaryExpr,
    VectorMatchCardinality,
    VectorSelector,
)

from exporter.metrics.catalogue import CATALOGUE, FLOWS, MetricType
from tests.prometheus.files import rules

TARGET: Final = frozenset({"job", "instance"})
"""The labels that Prometheus adds to every scraped series."""
ALERT: Final = frozenset({"alertname", "alertstate", "severity"})


def _samples() -> Iterator[tuple[str, frozenset[str]]]:
    for metric in CATALOGUE:
        labels = TARGET.union(metric.all_labels)
        if metric.type in {MetricType.HISTOGRAM, MetricType.SUMMARY}:
            yield from ((metric.name + suffix, labels) for suffix in ("_sum", "_count"))
            if metric.type is MetricType.HISTOGRAM:
                yield metric.name + "_bucket", labels | {"le"}
        else:
            yield metric.name, labels
    # The process metrics of prometheus_client. Which ones exist depends on the system.
    for family in ProcessCollector(registry=CollectorRegistry()).collect():
        yield from ((sample.name, TARGET) for sample in family.samples)


SAMPLES: Final = {**dict(_samples()), "up": TARGET}
"""The labels of each sample name that a scrape has."""
LABELS: Final = frozenset().union(*SAMPLES.values(), ALERT)
OF_FLOWS: Final = frozenset(
    name for name in SAMPLES for metric in CATALOGUE if metric.half == FLOWS and name.startswith(metric.name)
)
"""Sample names of the flow half. Each instance on one ledger exports the same."""


def nodes(expression: Expr) -> list[Expr]:
    """An expression and all its subexpressions."""
    found: list[Expr] = []
    promql_parser.walk(expression, found.append)
    return found


def parse(text: str) -> Expr:
    """Parse an expression. Raises ValueError if the text is not PromQL."""
    parsed: Expr = promql_parser.parse(text)
    return parsed


def name_of(selector: VectorSelector) -> str:
    """The metric that a selector selects. It must be exactly one."""
    if selector.name:
        return selector.name
    return next(
        each.value for each in selector.matchers.matchers if (each.name, each.op) == ("__name__", MatchOp.Equal)
    )


def selectors(expression: Expr) -> list[VectorSelector]:
    """All selectors in an expression."""
    return [node for node in nodes(expression) if isinstance(node, VectorSelector)]


def named_labels(node: Expr) -> list[str]:
    """The labels that an aggregation or a vector matching names."""
    if isinstance(node, AggregateExpr) and node.modifier is not None:
        assert node.modifier.type == AggModifierType.By, "use by(): without() keeps labels that the rule does not name"
        return node.modifier.labels
    if isinstance(node, BinaryExpr) and node.modifier is not None:
        matching = node.modifier.matching
        return [*(matching.labels if matching else ()), *(node.modifier.group_labels or ())]
    return []


def parts(node: Expr) -> list[Expr]:
    """The operands of an expression."""
    match node:
        case Call():
            return list(node.args)
        case MatrixSelector():
            return [node.vector_selector]
        case AggregateExpr() | ParenExpr() | SubqueryExpr() | UnaryExpr():
            return [node.expr]
        case BinaryExpr():
            return [node.lhs, node.rhs]
        case _:
            return []


def made_labels(node: Expr) -> set[str]:
    """The labels that label_replace and label_join create within an expression (their second argument)."""
    calls = [each for each in nodes(node) if isinstance(each, Call) and each.func.name.startswith("label_")]
    return {each.args[1].val for each in calls if isinstance(each.args[1], StringLiteral)}


def copies(node: Expr, kinds: tuple[type[Expr], ...], around: str = "nothing") -> list[str]:
    """The innermost aggregation around each selector of these kinds that selects samples of the flow half."""
    if isinstance(node, kinds):
        selector = node.vector_selector if isinstance(node, MatrixSelector) else node
        assert isinstance(selector, VectorSelector)
        return [around] if name_of(selector) in OF_FLOWS else []
    if isinstance(node, AggregateExpr):
        around = operator(node)
    return [found for part in parts(node) for found in copies(part, kinds, around)]


def operator(node: AggregateExpr) -> str:
    """The operator of an aggregation, such as "sum"."""
    return re.split(r"\W", str(node), maxsplit=1)[0]


def result_labels(node: Expr, recorded: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """The labels that the result of an expression can have. `recorded` has the labels of recorded series."""
    if isinstance(node, VectorSelector):
        equal = {each.name for each in node.matchers.matchers if each.op == MatchOp.Equal}
        return {**SAMPLES, **recorded}.get(name_of(node), frozenset()) | equal - {"__name__"}
    of_parts = [result_labels(part, recorded) for part in parts(node)]
    if isinstance(node, AggregateExpr) and operator(node) not in {"topk", "bottomk"}:
        return frozenset(named_labels(node))
    if isinstance(node, BinaryExpr) and node.modifier is not None and node.modifier.matching is not None:
        if node.modifier.card == VectorMatchCardinality.OneToOne:
            return frozenset(node.modifier.matching.labels)
        if node.modifier.card == VectorMatchCardinality.ManyToOne:
            return of_parts[0].union(node.modifier.group_labels or ())
    return frozenset().union(*of_parts)


def recorded() -> dict[str, frozenset[str]]:
    """The labels of each recorded series."""
    found: dict[str, frozenset[str]] = {}
    for rule in rules():
        if not rule.is_alert:
            found[rule.name] = result_labels(parse(rule.expression), found)
    return found


def unknown(text: str, recorded: Mapping[str, frozenset[str]]) -> list[str]:
    """The metrics and labels in an expression that do not exist."""
    known = {**SAMPLES, **recorded, "ALERTS": LABELS}
    found: list[str] = []
    for node in nodes(parse(text)):
        if isinstance(node, VectorSelector):
            labels = known.get(name_of(node))
            if labels is None:
                found.append(name_of(node))
                continue
            found += [
                f"{name_of(node)}{{{matcher.name}}}"
                for matcher in node.matchers.matchers
                if matcher.name not in labels | {"__name__"}
            ]
        else:
            within = frozenset(made_labels(node)).union(
                *(known.get(name_of(each), frozenset()) for each in selectors(node))
            )
            found += [label for label in named_labels(node) if label not in within]
    return found
