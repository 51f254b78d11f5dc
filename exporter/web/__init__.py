"""What is served over HTTP. Hot routes (webhook, scrape) are plain ASGI endpoints."""
