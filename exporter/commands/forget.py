"""`forget`: takes a flow that was deleted on purpose off /metrics. Its entries stay in the ledger."""

import asyncio
import contextlib
from typing import Final

from exporter.commands.base import Command, FlowId, LedgerSettings
from exporter.commands.output import print_result
from exporter.commands.settings import setting
from exporter.errors import UnknownFlowError
from exporter.intake import Intake
from exporter.ledger.urls import open_ledger
from exporter.service import find_sandboxes


class ForgetSettings(LedgerSettings):
    """Which flow to forget, and the ledger of the exporter that shows it."""

    flow: FlowId = setting(
        "flow", None, "Id of the flow that was deleted on purpose: the label flow_id of its series.", example="ID"
    )


def run(settings: ForgetSettings, _arguments: list[str]) -> int:
    """Record that the flow was deleted, and print the sandboxes in which it was shown.

    Raises UnknownFlowError if the metrics do not show it, LedgerMissingError if there is no ledger, and what opening
    and writing one raises.
    """
    with contextlib.closing(open_ledger(settings.ledger_url, create=False)) as ledger:
        sandboxes = find_sandboxes(ledger, settings.flow)
        if not sandboxes:
            raise UnknownFlowError(
                f"no flow of this id is on /metrics: {settings.flow}\n"
                "Copy the id from the label flow_id of its series, in the same upper and lower case"
            )
        asyncio.run(Intake(ledger, ledger.now).forget(settings.flow))
    print_result(f"forgotten: {settings.flow} in {', '.join(sandbox or '(no sandbox)' for sandbox in sandboxes)}")
    return 0


COMMAND: Final = Command(
    summary="take a flow that was deleted on purpose off /metrics; its history stays in the ledger",
    details="Run it beside the exporter, on the same ledger. The flow comes back if it runs again.",
    settings=ForgetSettings,
    run=run,
)
