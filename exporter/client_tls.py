"""TLS of the requests that this program sends, with the certificates that the environment names.

`ssl.create_default_context` is not used: it writes the secrets of every connection to the file that SSLKEYLOGFILE
names, and raises an error if it can't.
"""

import os
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path

from exporter.errors import SettingsError


def client_context(environment: Mapping[str, str], load_default: Callable[[ssl.SSLContext], None]) -> ssl.SSLContext:
    """A context that verifies a server's certificate and name.

    The trusted certificates are those of SSL_CERT_FILE and SSL_CERT_DIR. If neither is set, `load_default` loads them
    into the context. Raises SettingsError, which names the variable that can't be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    file, folders = environment.get("SSL_CERT_FILE"), environment.get("SSL_CERT_DIR")
    mistakes = []
    if file and not _loads(context, file):
        mistakes.append(
            "SSL_CERT_FILE names no file with certificates that can be read: change it, or unset it to trust the usual "
            "authorities"
        )
    # OpenSSL reads a folder only when a certificate is looked for in it.
    if folders and not any(os.access(each, os.R_OK | os.X_OK) and Path(each).is_dir() for each in _split(folders)):
        mistakes.append(
            "SSL_CERT_DIR names no folder that can be read: change it, or unset it to trust the usual authorities"
        )
    if mistakes:
        raise SettingsError("\n".join(mistakes))
    for folder in _split(folders or ""):
        context.load_verify_locations(capath=folder)
    if not file and not folders:
        load_default(context)
    return context


def _split(folders: str) -> list[str]:
    return [each for each in folders.split(os.pathsep) if each]


def _loads(context: ssl.SSLContext, file: str) -> bool:
    try:
        context.load_verify_locations(cafile=file)
    except (OSError, ValueError):  # OSError is the base class of ssl.SSLError too
        return False
    return True
