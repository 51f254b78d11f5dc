"""Settings that are each right and don't go together."""

from collections.abc import Iterator, Mapping, Set
from datetime import timedelta
from typing import Any, Final

from exporter import parsers

_AUTHENTICATION: Final = frozenset(
    {"webhook_auth", "webhook_client_id", "webhook_token", "webhook_token_file", "webhook_listen_address"}
)
_MAX_SIMULATED_FLOWS: Final = 10_000
_MAX_HISTORY: Final = timedelta(days=35)


def conflicts(values: Mapping[str, Any], given: Set[str]) -> Iterator[str]:
    """What is wrong with settings that are each right, and what to do about it: one sentence for each.

    `values` by field, without those that were refused: nothing is judged by these; `given`: fields that were set.
    """
    if values.keys() >= _AUTHENTICATION:
        yield from _of_authentication(values)
    yield from _of_simulation(values, given)
    yield from _of_time(values)
    telemetry, webhook = values.get("web_telemetry_path"), values.get("webhook_path")
    if telemetry is not None and webhook is not None and f"{telemetry}/".startswith(f"{webhook}/"):
        yield "--web.telemetry-path is the webhook's path or below it: change one"


def _of_time(values: Mapping[str, Any]) -> Iterator[str]:
    retention = values.get("ledger_retention")
    if retention is not None and retention < timedelta(days=8):
        yield "--ledger.retention is at least 8d: Adobe's journal reaches back 7"
    ttl = values.get("series_ttl")
    if retention is not None and ttl is not None and retention < ttl:
        yield "--ledger.retention is at least --series.ttl: what is on /metrics is to be explained by the ledger"
    if ttl is not None and not ttl:
        yield "--series.ttl is how long a silent flow stays: 0 would leave none"


def _of_simulation(values: Mapping[str, Any], given: Set[str]) -> Iterator[str]:
    url, flows, since = values.get("url"), values.get("flows"), values.get("since")
    if url is not None and not parsers.is_nearby(url) and values.get("allow_remote") is False:
        yield (
            "--url is on another machine, whose exporter would keep for good what is made up here: add --allow-remote "
            "if that is meant"
        )
    if values.get("sign") is False and "keys_listen_address" in values.keys() & given:
        yield "--keys.listen-address serves the keys of what --sign signs: add --sign, or leave it out"
    if flows is not None and flows > _MAX_SIMULATED_FLOWS:
        yield f"--flows is at most {_MAX_SIMULATED_FLOWS}"
    if since is not None and since > _MAX_HISTORY:
        yield "--since is at most 35d: the exporter learns nothing from what is older"


def _of_authentication(values: Mapping[str, Any]) -> Iterator[str]:
    auth, client_id = values["webhook_auth"], values["webhook_client_id"]
    has_token = values["webhook_token"] is not None or values["webhook_token_file"] is not None
    if values["webhook_token"] is not None and values["webhook_token_file"] is not None:
        yield "--webhook.token and --webhook.token-file both give the token: keep one"
    if auth == "token" and not has_token:
        yield "--webhook.auth=token needs --webhook.token or --webhook.token-file"
    if auth == "adobe" and not client_id:
        yield "--webhook.auth=adobe needs --webhook.client-id: Adobe signs for all its customers"
    if has_token and (auth in {"adobe", "none"} or client_id):
        yield f"--webhook.auth={auth or 'adobe'} ignores the token that is set: drop one of the two"
    if client_id and auth in {"token", "none"}:
        yield f"--webhook.auth={auth} ignores --webhook.client-id: drop one of the two"
    own, shared = values["webhook_listen_address"], values.get("web_listen_address")
    listen, flag = (own, "--webhook.listen-address") if own is not None else (shared, "--web.listen-address")
    is_open = auth == "none" or (auth is None and not has_token and not client_id)
    if is_open and listen is not None and not listen.is_loopback and not values.get("webhook_allow_unauthenticated"):
        yield (
            f"{flag}={listen} can be reached by others, and --webhook.auth=none would believe anybody: set "
            "--webhook.client-id or --webhook.token, listen on 127.0.0.1, or, behind a proxy that authenticates, add "
            "--webhook.allow-unauthenticated"
        )
    if own is not None and own == shared and own.port:
        yield "--webhook.listen-address is that of --web.listen-address: change one, or leave it out"
