"""What `--web.config.file` puts around the main listener's application besides TLS: passwords and headers."""

from starlette.types import ASGIApp, Receive, Scope, Send

from exporter.web.basic_auth import BasicAuth
from exporter.web.config import WebConfig
from exporter.web.headers import ExtraHeaders

_HEALTH = frozenset({"/-/healthy", "/-/ready"})


class Protection:
    """ASGI middleware that asks for the passwords of the file and sets its headers. Both can be replaced."""

    def __init__(self, app: ASGIApp, web: WebConfig, webhook_path: str) -> None:
        """`webhook_path`: the path at and below which no password is asked for."""

        def is_open(path: str) -> bool:
            # The webhook has its own authentication, and health checks have none.
            return path in _HEALTH or path == webhook_path or path.startswith(webhook_path + "/")

        self._passwords = BasicAuth(app, web.users, is_open)
        self._headers = ExtraHeaders(self._passwords, web.headers)

    @property
    def has_users(self) -> bool:
        """Whether metrics and pages require a password."""
        return self._passwords.has_users

    def replace(self, web: WebConfig) -> None:
        """Put another version of the file in force, also for requests whose password is being checked."""
        self._passwords.replace(web.users)
        self._headers.replace(web.headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401."""
        await self._headers(scope, receive, send)
