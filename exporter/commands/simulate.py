"""`simulate`: sends the notifications of a made-up organisation to a webhook, in the forms that Adobe uses.

This is the only module that imports `exporter.simulate`.
"""

import asyncio
import secrets
from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Final

import uvloop
from pydantic import BeforeValidator

from exporter import parsers
from exporter.commands.base import Boolean, Command, CommandSettings, Count, Duration, ListenAddress, milliseconds
from exporter.commands.output import end_progress, print_result, show_progress
from exporter.commands.settings import Rule, setting
from exporter.server import listen
from exporter.simulate.program import Account, Plan, run_simulation

ClientId = Annotated[str, BeforeValidator(parsers.client_id)]
Seed = Annotated[int, BeforeValidator(parsers.seed)]
Speed = Annotated[float, BeforeValidator(parsers.speed)]
WebhookUrl = Annotated[str, BeforeValidator(parsers.webhook_url)]

_MAX_FLOWS: Final = 10_000
_MAX_HISTORY: Final = timedelta(days=35)
_SEEDS: Final = 1_000_000
"""Without `--seed`, one below this is drawn."""


class SimulateSettings(CommandSettings):
    """What is simulated, and where it is sent."""

    url: WebhookUrl = setting(
        "url",
        None,
        "Full address of the webhook, such as http://127.0.0.1:10464/webhook, with its token if it has one.",
        example="URL",
        is_secret=True,
    )
    allow_remote: Boolean = setting(
        "allow-remote",
        "false",
        "Allow a webhook on another machine. An exporter there counts what is sent, and can't take it back.",
    )
    seed: Seed | None = setting(
        "seed",
        None,
        "Number that determines every notification. With the same seed the same notifications are sent again, so a "
        "ledger counts them once (default: a random number).",
    )
    flows: Count = setting("flows", "40", "Number of flows. With 24 or more, every kind of notification is sent.")
    since: Duration | None = setting(
        "since", None, "First send, without pauses, what happened in this time before now: 7d for a week."
    )
    duration: Duration | None = setting(
        "duration",
        None,
        "Simulated time to continue after now. 0s ends after the notifications of --since (default: until it is "
        "stopped).",
    )
    speed: Speed = setting(
        "speed", "1", "How many times faster than real time. With 672 a week takes a quarter of an hour."
    )
    client_id: ClientId | None = setting(
        "client-id", None, "Client id that the notifications name as their recipient: one of the receiver's."
    )
    sign: Boolean = setting(
        "sign",
        "false",
        "Sign deliveries as Adobe does, and serve the public keys for the receiver's --adobe.keys-url.",
    )
    keys_listen_address: ListenAddress = setting(
        "keys.listen-address", "127.0.0.1:10466", "Address where the public keys are served, with --sign."
    )

    def rules(self) -> list[Rule]:
        """What must hold between the settings."""
        return [
            *super().rules(),
            self._check_remote,
            self._check_keys_are_used,
            self._check_flows,
            self._check_since,
        ]

    def _check_remote(self) -> Iterator[str]:
        if not parsers.is_nearby(self.url) and not self.allow_remote:
            yield (
                "--url is on another machine, whose exporter would count the simulated runs and could not take them "
                "back: add --allow-remote if that is intended"
            )

    def _check_keys_are_used(self) -> Iterator[str]:
        if "keys_listen_address" in self.model_fields_set and not self.sign:
            yield "--keys.listen-address is used only with --sign: add --sign, or leave it out"

    def _check_flows(self) -> Iterator[str]:
        if self.flows > _MAX_FLOWS:
            yield f"--flows must be at most {_MAX_FLOWS}"

    def _check_since(self) -> Iterator[str]:
        if self.since is not None and self.since > _MAX_HISTORY:
            yield "--since must be at most 35d: the exporter's metrics use nothing that is older"


def run(settings: SimulateSettings, _arguments: list[str]) -> int:
    """Send what is simulated until its end or until SIGTERM or SIGINT, and print what was sent and what became of it.

    Returns 1 if something was refused or could not be delivered.

    Raises NotAWebhookError, and CannotListenError if the public keys can't be served.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        account = runner.run(_simulate(settings))
    end_progress()
    print_result("\n".join(f"{word:<24}{count:>10}" for word, count in account.rows()))
    return 0 if account.is_complete else 1


async def _simulate(settings: SimulateSettings) -> Account:
    plan = Plan(
        seed=settings.seed if settings.seed is not None else secrets.randbelow(_SEEDS),
        flows=settings.flows,
        past=milliseconds(settings.since) if settings.since is not None else 0,
        duration=milliseconds(settings.duration) if settings.duration is not None else None,
        speed=settings.speed,
        client_id=settings.client_id,
    )
    keys = listen(settings.keys_listen_address, "--keys.listen-address") if settings.sign else None
    return await run_simulation(plan, settings.url, keys, show_progress)


COMMAND: Final = Command(
    summary="send the notifications of a made-up organisation to a webhook, as Adobe does",
    details="At the end it prints how many notifications were sent, and what became of them.",
    settings=SimulateSettings,
    run=run,
)
