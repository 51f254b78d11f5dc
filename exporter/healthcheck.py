"""`python -m exporter.healthcheck`: asks the exporter in this container whether it is healthy.

The image's HEALTHCHECK runs it. It has no settings of its own. Process 1 is the exporter, and its flags and variables
give the address and whether TLS is used there. If the webhook has its own listener, that one is asked, because it never
has TLS. Whether the exporter is healthy is decided by the route `/-/healthy` alone.
"""

import http.client
import os
import ssl
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from exporter.commands.serve_settings import ServeSettings
from exporter.commands.settings import Rule, load, setting
from exporter.errors import ExporterError, NotHealthyError, SettingsError
from exporter.parsers import Address
from exporter.web import config

_TIMEOUT: Final = 4.0
"""Seconds. HEALTHCHECK in the Dockerfile allows 5, so the message is written before the check is killed."""
_LOOPBACK: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}  # noqa: S104 - replaced, not listened on
"""Where an exporter that listens on every address is asked. `::` means every address of IPv4 as well."""


class _Settings(ServeSettings):
    """The settings of `serve`, without what its files hold.

    A running exporter keeps the old version while a file is wrong or gone, so it is healthy then.
    """

    web_config_file: Path | None = setting("web.config.file", None, "")
    webhook_token: Any | None = setting("webhook.token", None, "", is_secret=True)
    webhook_token_file: Any | None = setting("webhook.token-file", None, "", is_secret=True)

    def rules(self) -> list[Rule]:
        """None: the exporter that is asked has checked them."""
        return []


def main() -> int:
    """Ask once. Returns 0 if the exporter is healthy, else 1 after writing the reason, which `docker inspect` shows."""
    try:
        words = Path("/proc/1/cmdline").read_bytes().decode(errors="surrogateescape").split("\0")
        # With `docker run --init` process 1 is the init, whose arguments end with the exporter's command line.
        flags = words[words.index("serve") + 1 : -1] if "serve" in words else []
        check_health(flags, os.environ)
    except (ExporterError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def check_health(flags: Sequence[str], environment: Mapping[str, str]) -> None:
    """Ask the exporter that was started with these flags and variables.

    Raises NotHealthyError, and SettingsError for flags and variables with which no exporter can have started.
    """
    settings, _ = load(_Settings, flags, environment)
    own = settings.webhook_listen_address
    address = own if own is not None else settings.web_listen_address
    ways = [False] if own is not None or settings.web_config_file is None else _ways(settings.web_config_file)
    for number, is_tls in enumerate(ways, start=1):
        try:
            status = _ask(address, is_tls=is_tls)
            break
        except (http.client.HTTPException, OSError) as error:
            # Who speaks the other way answers at once.
            if number == len(ways) or isinstance(error, TimeoutError):
                raise NotHealthyError(f"no answer from {address}") from error
    if status != http.HTTPStatus.OK:
        raise NotHealthyError(f"{address} answered {status}")


def _ways(web_config_file: Path) -> list[bool]:
    """With TLS and without, in the order in which they are tried.

    The file may have changed after the start, and the exporter still speaks what it said then.
    """
    try:
        is_tls = config.load(web_config_file).tls is not None
    except SettingsError:
        is_tls = False
    return [is_tls, not is_tls]


def _ask(address: Address, *, is_tls: bool) -> int:
    """The status of the answer. Raises HTTPException and OSError."""
    host = _LOOPBACK.get(address.host, address.host)
    connection = http.client.HTTPConnection(host, address.port, timeout=_TIMEOUT)
    if is_tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # It connects to this container by an address that no certificate names.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, address.port, timeout=_TIMEOUT, context=context)
    try:
        connection.request("GET", "/-/healthy")
        return connection.getresponse().status
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
