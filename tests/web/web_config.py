"""Configuration files for listeners, and what tests put into them."""

from pathlib import Path
from typing import Final

import bcrypt

PASSWORD: Final = "correct horse"
HASH: Final = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
OTHER_HASH: Final = HASH.replace("$2b$", "$2y$")
"""The same password, in the variant that htpasswd writes."""
TLS: Final = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n"


def write(folder: Path, text: str) -> Path:
    """Write a configuration file and return its path."""
    path = folder / "web.yml"
    path.write_text(text, encoding="utf-8")
    return path
