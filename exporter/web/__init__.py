"""The HTTP interface: webhook, metrics and health. Webhook and metrics are plain ASGI applications, for speed."""
