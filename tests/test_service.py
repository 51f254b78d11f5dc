"""The wiring of `serve`, from settings to answers, without a socket."""

import asyncio
import base64
import contextlib
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from starlette.types import ASGIApp

from exporter.commands.serve_settings import ServeSettings
from exporter.commands.settings import load
from exporter.errors import LedgerUnavailableError, SettingsError
from exporter.ledger import Ledger
from exporter.ledger.sqlite import SqliteLedger
from exporter.service import App, build_app, find_sandboxes
from exporter.web.config import WebConfig
from tests.adobe.test_signature import PATH_1, SIGNATURE_1, private_key, signed

RUN = b'{"id": "run-1", "flowId": "flow", "metrics": {"statusSummary": {"status": "success"}}}'
KEY = "/prod/keys/pub-key-good.pem"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A new ledger."""
    with contextlib.closing(SqliteLedger(tmp_path / "ledger.db")) as opened:
        yield opened


@contextlib.contextmanager
def built(
    ledger: Ledger, *flags: str, web: WebConfig | None = None, transport: httpx.AsyncBaseTransport | None = None
) -> Iterator[App]:
    """The application that these flags describe."""
    settings, _ = load(ServeSettings, ["--series.hold=0s", f"--ledger.url=sqlite:///{ledger.location}", *flags], {})
    with contextlib.closing(build_app(settings, ledger, web or WebConfig(), transport=transport)) as app:
        yield app


async def ask(app: ASGIApp, method: str, path: str, content: bytes = b"", **headers: str) -> httpx.Response:
    """The answer to one request."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        return await client.request(method, path, content=content, headers=headers)


def answers(app: ASGIApp, *requests: tuple[str, str]) -> list[int]:
    """The statuses of these requests."""
    return [asyncio.run(ask(app, method, path, RUN)).status_code for method, path in requests]


def test_one_listener(ledger: Ledger) -> None:
    """Without a listener of the webhook's own, the main application answers everything."""
    with built(ledger, "--webhook.path=/adobe", "--web.telemetry-path=/m") as app:
        assert app.webhook is None
        requests = [("POST", "/adobe"), ("GET", "/m"), ("GET", "/"), ("GET", "/-/healthy"), ("POST", "/webhook")]
        assert answers(app.main, *requests) == [200, 200, 200, 200, 404]


def test_a_listener_of_the_webhooks_own(ledger: Ledger) -> None:
    """With a listener of its own, the webhook is there alone, and both listeners answer health checks."""
    with built(ledger, "--webhook.listen-address=127.0.0.1:1") as app:
        assert app.webhook is not None
        requests = [("POST", "/webhook"), ("GET", "/metrics"), ("GET", "/"), ("GET", "/-/healthy"), ("GET", "/-/ready")]
        assert answers(app.webhook, *requests) == [200, 404, 404, 200, 503]
        assert answers(app.main, *requests) == [404, 200, 200, 200, 200]


def test_passwords_and_headers(ledger: Ledger) -> None:
    """Passwords protect all paths but the webhook and the health checks, and every answer has the headers."""
    users = {"prometheus": bcrypt.hashpw(b"made up", bcrypt.gensalt(4)).decode()}
    with built(ledger, web=WebConfig(users=users, headers={"X-Frame-Options": "sameorigin"})) as app:
        requests = [("POST", "/webhook"), ("GET", "/-/healthy"), ("GET", "/metrics"), ("GET", "/"), ("GET", "/other")]
        assert answers(app.main, *requests) == [200, 200, 401, 401, 401]
        credentials = base64.b64encode(b"prometheus:made up").decode()
        answer = asyncio.run(ask(app.main, "GET", "/metrics", authorization=f"Basic {credentials}"))
        assert (answer.status_code, answer.headers["x-frame-options"]) == (200, "sameorigin")


def scrape_of_another_name(app: App, credentials: str = "") -> int:
    """The status of a scrape that names another host than this machine, as after DNS rebinding."""
    headers = {"host": "evil.example"} | ({"authorization": credentials} if credentials else {})
    return asyncio.run(ask(app.main, "GET", "/metrics", b"", **headers)).status_code


def test_the_web_configuration_is_replaced(ledger: Ledger) -> None:
    """Passwords, headers and the check of host names follow the web configuration, from one request to the next."""
    right = "Basic " + base64.b64encode(b"prometheus:made up").decode()
    users = {"prometheus": bcrypt.hashpw(b"made up", bcrypt.gensalt(4)).decode()}
    with built(ledger) as app:
        assert scrape_of_another_name(app) == 421
        app.use_web_config(WebConfig(users=users, headers={"X-Frame-Options": "sameorigin"}))
        # Passwords keep web pages away by themselves.
        assert (scrape_of_another_name(app), scrape_of_another_name(app, right)) == (401, 200)
        answer = asyncio.run(ask(app.main, "GET", "/metrics", authorization=right))
        assert answer.headers.get_list("x-frame-options") == ["sameorigin"]
        app.use_web_config(WebConfig())
        assert (scrape_of_another_name(app), scrape_of_another_name(app, right)) == (421, 421)
        assert asyncio.run(ask(app.main, "GET", "/metrics")).headers["x-frame-options"] == "DENY"


def test_the_host_of_the_external_url_is_ours(ledger: Ledger) -> None:
    """Behind a proxy that passes its own name on, metrics, pages and the webhook answer, and other names get 421."""
    with built(ledger, "--web.external-url=https://Monitor.example:8443/aep") as app:
        for method, path in (("GET", "/metrics"), ("GET", "/"), ("POST", "/webhook")):
            hosts = ("monitor.example:8443", "monitor.example", "localhost", "evil.example")
            found = [asyncio.run(ask(app.main, method, path, RUN, host=host)).status_code for host in hosts]
            assert found == [200, 200, 200, 421], path


@pytest.mark.parametrize(
    ("flags", "url"), [([], ""), (["--web.external-url=https://monitor.example/aep/"], "https://monitor.example/aep")]
)
def test_the_external_url_is_a_label(ledger: Ledger, flags: list[str], url: str) -> None:
    """The metrics say under which URL the pages are, and have an empty label where that is not set."""
    with built(ledger, *flags) as app:
        text = asyncio.run(ask(app.main, "GET", "/metrics")).text
        assert f'aep_exporter_web_info{{url="{url}"}} 1.0\n' in text


def test_tokens_are_replaced(ledger: Ledger) -> None:
    """Deliveries need one of the newest tokens. Without the method `token`, tokens change nothing."""
    old, new = "a-token-of-yesterday", "a-token-of-tomorrow"
    requests = [("POST", f"/webhook/{old}"), ("POST", f"/webhook/{new}"), ("POST", "/webhook")]
    with built(ledger, f"--webhook.token={old}") as app:
        assert answers(app.main, *requests) == [200, 401, 401]
        app.use_tokens((old, new))
        assert answers(app.main, *requests) == [200, 200, 401]
        app.use_tokens((new,))
        assert answers(app.main, *requests) == [401, 200, 401]
    with built(ledger) as app:
        app.use_tokens((new,))
        assert answers(app.main, *requests) == [404, 404, 200]


def test_signed_deliveries(ledger: Ledger) -> None:
    """With a client id, a delivery needs a signature of a key from --adobe.keys-url, and the client id."""
    asked: list[str] = []

    def give_key(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        public = private_key(KEY).public_key()
        return httpx.Response(200, content=public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))

    async def deliver(app: App, client_id: str) -> int:
        body = b'{"event_id": "e", "recipient_client_id": "%s", "event": %s}' % (client_id.encode(), RUN)
        signature = base64.b64encode(signed(body, KEY).value).decode()
        headers = {SIGNATURE_1.decode(): signature, PATH_1.decode(): KEY}
        return (await ask(app.main, "POST", "/webhook", body, **headers)).status_code

    async def deliver_all(app: App) -> list[int]:
        unsigned = await ask(app.main, "POST", "/webhook", RUN)
        return [unsigned.status_code, await deliver(app, "ours"), await deliver(app, "theirs")]

    transport = httpx.MockTransport(give_key)
    flags = ["--webhook.client-id=ours", "--adobe.keys-url=https://keys.example"]
    with built(ledger, *flags, transport=transport) as app:
        assert asyncio.run(deliver_all(app)) == [401, 200, 401]
    assert asked == [f"https://keys.example{KEY}"]
    assert ledger.head() == 1


def test_running(ledger: Ledger) -> None:
    """While it runs, the ledger is followed without a scrape. At the end a checkpoint is saved."""

    async def wait_until_ready(app: App) -> None:
        await ask(app.main, "POST", "/webhook", RUN)
        async with app.running():
            for _ in range(1000):
                if (await ask(app.main, "GET", "/-/ready")).is_success:
                    return
                await asyncio.sleep(0.02)
        pytest.fail("it did not become ready")

    with built(ledger) as app:
        asyncio.run(wait_until_ready(app))
    assert [checkpoint.position for checkpoint in ledger.checkpoints()] == [1]


def test_the_clocks(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger's clock is on /metrics. If it can't be read it is absent, as is Adobe's before the first answer."""

    async def names(app: App) -> dict[str, str]:
        text = (await ask(app.main, "GET", "/metrics?collect[]=exporter")).text
        return dict(
            line.split()
            for line in text.splitlines()
            if line.startswith(("aep_exporter_clock_s", "aep_exporter_ledger_t"))
        )

    def fail() -> int:
        raise LedgerUnavailableError("made up")

    monkeypatch.setattr(ledger, "now", lambda: 1_772_366_400_250)
    with built(ledger) as app:
        assert asyncio.run(names(app)) == {"aep_exporter_ledger_time_seconds": "1.77236640025e+09"}
    with built(ledger) as app:
        monkeypatch.setattr(ledger, "now", fail)
        assert asyncio.run(names(app)) == {}


def test_no_variable_is_read_without_need(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that can't be used is an error with a client id and with auto-validate, and else none."""
    monkeypatch.setenv("ALL_PROXY", "socks5://proxy.example")
    with built(ledger), built(ledger, "--webhook.token=sixteen-characters") as app:
        assert (app.keys, app.clock_check) == (None, None)
    for flag, host in (
        ("--webhook.client-id=ours", "static.adobeioevents.com"),
        ("--webhook.auto-validate", "csm.adobe.io"),
    ):
        with pytest.raises(SettingsError, match=f"^ALL_PROXY .* {host}: "), built(ledger, flag):
            pass


def test_find_sandboxes(ledger: Ledger) -> None:
    """A flow is found by its id in the sandboxes in which the metrics show it, and no other flow is."""
    with built(ledger) as app:
        answers(app.main, ("POST", "/webhook"))
    assert find_sandboxes(ledger, "flow") == [""]
    assert find_sandboxes(ledger, "Flow") == []
