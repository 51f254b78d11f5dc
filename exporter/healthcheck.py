"""`python -m exporter.healthcheck`: whether the exporter of this container answers; what the image's health check runs.

The rule: nothing is configured twice. What process 1 was started with says where the exporter listens and how, by flag
or by variable, so the probe follows every setting. The webhook's own listener comes first, where there is one: that
never has TLS. It must not know what being healthy means: that is the route's.
"""

import http.client
import os
import ssl
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from exporter import settings
from exporter.errors import ExporterError
from exporter.web.config import load

_TIMEOUT: Final = 4.0
_HERE: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what is listened on, from inside


class NotHealthyError(ExporterError):
    """The exporter does not answer as it should."""

    reason = "not_healthy"


def main() -> int:
    """Ask once; 0 when all is well, else 1 and why, which `docker inspect` shows."""
    try:
        # Behind an init (`docker run --init`) the program's words come after its own.
        words = Path("/proc/1/cmdline").read_bytes().decode(errors="surrogateescape").split("\0")
        probe(words[words.index(settings.SERVE) + 1 : -1] if settings.SERVE in words else [], os.environ)
    except (ExporterError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def probe(flags: Sequence[str], environment: Mapping[str, str]) -> None:
    """Ask the exporter that was started with these; raises NotHealthyError, and SettingsError for what it can't be."""
    values, _ = settings.load(settings.SERVE, flags, environment)
    own = values.webhook_listen_address
    address = own if own is not None else values.web_listen_address
    host = _HERE.get(address.host, address.host)
    connection = http.client.HTTPConnection(host, address.port, timeout=_TIMEOUT)
    if own is None and values.web_config_file is not None and load(values.web_config_file).tls is not None:
        context = ssl.create_default_context()
        # Ourselves, by an address that no certificate names.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, address.port, timeout=_TIMEOUT, context=context)
    try:
        connection.request("GET", "/-/healthy")
        status = connection.getresponse().status
    except (http.client.HTTPException, OSError) as error:
        raise NotHealthyError(f"no answer from {address}") from error
    finally:
        connection.close()
    if status != http.HTTPStatus.OK:
        raise NotHealthyError(f"{address} answered {status}")


if __name__ == "__main__":
    sys.exit(main())
