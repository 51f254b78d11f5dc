"""Gives the pages and the API what they are made from: functions that ask the parts of the running program.

It belongs to the wiring of `serve` (`exporter.service`) and contains no rule of its own. The functions are called on
the threads of the pages.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from exporter import __version__
from exporter.adobe.deliveries import is_quick
from exporter.adobe.fields import identifier
from exporter.adobe.payloads import read
from exporter.adobe.run_details import is_readable, read_details
from exporter.adobe_api.clock_skew import ClockSkew
from exporter.commands.serve_settings import ServeSettings
from exporter.commands.settings_in_force import settings_in_force
from exporter.follower import Follower
from exporter.intake import Intake
from exporter.kept_reasons import find_reason
from exporter.ledger import Ledger
from exporter.metrics.code_labels import event_code_label
from exporter.metrics.fold import Fold
from exporter.metrics.telemetry import Telemetry
from exporter.pages.error_texts import text_of
from exporter.pages.notices import CORRECTED_WITHIN, ProcessState
from exporter.pages.page_request import Addresses, Reading, Sources
from exporter.pages.platform import Platform
from exporter.pages.process_facts import LedgerFacts, MetricsFacts, ProcessFacts, SettingInForce, ValidationFacts
from exporter.refused import RefusedDeliveries
from exporter.web.scrape import Scrape
from exporter.web.validation import Validations

_STATUS_SECONDS = 2.0
"""How long `/status` waits for the metrics. It has other questions, and must be answered while the metrics are busy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessParts:
    """The parts of the program that pages show something of."""

    settings: ServeSettings
    ledger: Ledger
    follower: Follower
    intake: Intake
    scrape: Scrape
    clock_skew: ClockSkew
    telemetry: Telemetry
    validations: Validations
    refused: RefusedDeliveries
    webhook: str
    """Where the webhook is, without a token."""
    started_at: int
    """Milliseconds since 1970."""
    has_passwords: Callable[[], bool]
    give_way: Callable[[], None]
    """Waits for a moment while deliveries are being taken."""


def page_sources(parts: ProcessParts) -> Sources:
    """What pages ask."""
    settings, ledger, follower = parts.settings, parts.ledger, parts.follower
    shown = settings_in_force(settings)
    return Sources(
        facts=lambda: _process_facts(parts, shown),
        ledger=lambda: _ledger_facts(ledger),
        metrics=lambda: _metrics_facts(follower),
        now=ledger.now,
        flows=lambda: follower.ask(Fold.current_flows),
        read=read,
        reading=Reading(find_reason=find_reason, is_quick=is_quick, event_code_label=event_code_label),
        platform=Platform(read=read, tenant=settings.adobe_tenant),
        process=lambda: _process_state(parts),
        addresses=Addresses(telemetry_path=settings.web_telemetry_path, webhook=parts.webhook),
        is_full=lambda: _is_full(parts),
        refused=parts.refused.latest,
        read_details=read_details,
        is_readable=is_readable,
        stored_id=identifier,
        give_way=parts.give_way,
    )


def _is_full(parts: ProcessParts) -> bool:
    return parts.settings.pages(has_passwords=parts.has_passwords()) == "full"


def _process_state(parts: ProcessParts) -> ProcessState:
    error = parts.intake.last_error
    return ProcessState(
        write_error=None if error is None else text_of(error, is_full=_is_full(parts)),
        clock_notes=tuple(parts.follower.clock_notes(CORRECTED_WITHIN)),
        clock_skew=parts.clock_skew.value(),
        unscraped=parts.scrape.seconds_unasked(),
        was_scraped=parts.scrape.was_answered,
        skipped=parts.follower.skipped,
    )


def _process_facts(parts: ProcessParts, shown: tuple[SettingInForce, ...]) -> ProcessFacts:
    settings, validation = parts.settings, parts.validations.latest
    return ProcessFacts(
        version=__version__,
        time=time.time_ns() // 1_000_000,
        started_at=parts.started_at,
        ledger_location=parts.ledger.location,
        ledger_max_bytes=settings.ledger_max_size,
        retention_seconds=settings.ledger_retention.total_seconds(),
        flows_limit=settings.series_max_flows,
        clock_corrections=parts.ledger.clock_corrections(),
        clock_notes=tuple(parts.follower.clock_notes()),
        webhook=parts.webhook,
        authentication=settings.authentication,
        refused=parts.refused.counts(),
        not_understood=parts.telemetry.counts(parts.telemetry.not_understood),
        validation=None
        if validation is None
        else ValidationFacts(url=validation.url, received_at=validation.received_at, is_signed=validation.is_signed),
        external_url=settings.web_external_url,
        has_passwords=parts.has_passwords(),
        settings=shown,
    )


def _ledger_facts(ledger: Ledger) -> LedgerFacts:
    content = ledger.content()
    return LedgerFacts(
        entries=content.entries,
        is_exact=content.is_exact,
        head=ledger.head(),
        bytes_on_disk=ledger.size(),
        bytes_used=content.bytes_used,
        checkpoint_written_at=max((each.written_at for each in ledger.checkpoints()), default=None),
    )


def _metrics_facts(follower: Follower) -> MetricsFacts:
    status = follower.status(_STATUS_SECONDS)
    return MetricsFacts(
        position=status.position,
        checkpoint_position=status.checkpoint_position,
        flows=status.flows,
        overflowed=status.overflowed,
        series=status.series,
        skipped=follower.skipped,
        dropped=status.dropped,
    )
