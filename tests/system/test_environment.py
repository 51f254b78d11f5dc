"""Variables of the environment that are not ours: the program starts with them, or says which one it can't use."""

import http.server
import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.system.adobe import PATHS, Adobe, serving
from tests.system.processes import EXPORTER, PATIENCE, Exporter, Process, free_port, http_server, until

SECRET = "s3cret"

# What containers, shells and other programs set, each with a value that is of no use.
STRAY = {
    "NO_PROXY": "fd00::/8,::1/128,[::1],*.corp,a..b",
    "ALL_PROXY": f"socks5://me:{SECRET}@proxy.corp:1080",
    "https_proxy": "nonsense:x",
    "SSL_CERT_FILE": "/nonexistent/file",
    "SSL_CERT_DIR": "/nonexistent",
    "SSLKEYLOGFILE": "/nonexistent/file",
    "OPENSSL_CONF": "/nonexistent/file",
    "PROMETHEUS_MULTIPROC_DIR": "/nonexistent",
    "PROMETHEUS_DISABLE_CREATED_SERIES": "x",
    "PROMETHEUS_LEGACY_NAME_VALIDATION": "x",
    "WEB_CONCURRENCY": "x",
    "FORWARDED_ALLOW_IPS": "x",
    "FORCE_COLOR": "1",
    "COLUMNS": "x",
    "LANG": "xx",
    "LC_ALL": "xx",
    "TZ": "nonsense",
    "TMPDIR": "/nonexistent",
    "SQLITE_TMPDIR": "/nonexistent",
    "HOME": "/nonexistent",
    "SOURCE_DATE_EPOCH": "x",
    "PYTHONIOENCODING": "ascii",
    "PYTHONWARNINGS": "error",
}
LINKS = {
    "AEP_EXPORTER_WEBHOOK_SERVICE_HOST": "10.96.0.17",
    "AEP_EXPORTER_WEBHOOK_SERVICE_PORT": "8080",
    "AEP_EXPORTER_WEBHOOK_PORT": "tcp://10.96.0.17:8080",
    "AEP_EXPORTER_WEBHOOK_PORT_8080_TCP": "tcp://10.96.0.17:8080",
    "AEP_EXPORTER_WEBHOOK_PORT_8080_TCP_PROTO": "tcp",
    "AEP_EXPORTER_WEBHOOK_PORT_8080_TCP_PORT": "8080",
    "AEP_EXPORTER_WEBHOOK_PORT_8080_TCP_ADDR": "10.96.0.17",
}


def ended(folder: Path, environment: dict[str, str], *words: str) -> tuple[int, str]:
    """The exit status and all output of a command. It prints no traceback and no secret."""
    with Process(folder, "command") as process:
        process.start(EXPORTER, *words, environment=environment)
        status = process.wait()
        output = process.output()
    assert "Traceback" not in output
    assert SECRET not in output
    return status, output


@pytest.mark.parametrize("flags", [(), ("--webhook.token=sixteen-characters",)], ids=["none", "token"])
def test_where_nothing_is_requested(tmp_path: Path, flags: tuple[str, ...]) -> None:
    """Where nothing is requested of Adobe, the program starts with all of them, and logs which one has no effect."""
    with Process(tmp_path, "exporter") as process:
        port = free_port()
        flags = (f"--web.listen-address=127.0.0.1:{port}", "--ledger.url=sqlite:///ledger.db", *flags)
        process.start(EXPORTER, "serve", *flags, environment=STRAY | LINKS)
        process.until_ready(f"http://127.0.0.1:{port}/-/ready")
        assert process.stop() == 0
        lines = [line for line in process.output().splitlines() if "level=info" not in line]
    assert len(lines) == 1
    assert "variables=PROMETHEUS_MULTIPROC_DIR" in lines[0]


def test_other_commands(tmp_path: Path) -> None:
    """The other commands, and help, need none of the variables."""
    run = {"id": "run", "flowId": "flow", "metrics": {"statusSummary": {"status": "success"}}}
    (tmp_path / "runs.json").write_text(json.dumps(run))
    for words in (
        ("version",),
        ("simulate", "--help"),
        ("replay", "--create", "--ledger.url=sqlite:///ledger.db", "runs.json"),
    ):
        status, output = ended(tmp_path, STRAY | LINKS, *words)
        assert status == 0, output


def test_where_keys_are_requested(tmp_path: Path) -> None:
    """Where keys are requested, every variable that is needed and can't be used is named in one message."""
    flags = ("--web.listen-address=127.0.0.1:0", "--ledger.url=sqlite:///ledger.db", "--webhook.client-id=ours")
    status, output = ended(tmp_path, {**STRAY, "https_proxy": ""}, "serve", *flags)
    named = re.findall(r"^aep-flow-exporter: ([A-Za-z_]+) (?:gives|names)", output, re.MULTILINE)
    assert (status, named) == (2, ["ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"])
    assert not (tmp_path / "ledger.db").exists()


def test_a_proxy_that_refuses(tmp_path: Path) -> None:
    """A key that the proxy keeps away is a 503 that names the cause, and a log line that names host and proxy too."""

    class Proxy(http.server.BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            self.send_error(407)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            """Log nothing."""

    adobe = Adobe()
    with http_server(Proxy) as url, pytest.MonkeyPatch.context() as patched:
        patched.setenv("HTTPS_PROXY", url.replace("//", f"//me:{SECRET}@"))
        patched.setenv("NO_PROXY", "127.0.0.1")
        flags = ("--webhook.client-id=ours", "--adobe.keys-url=https://keys.invalid")
        with Exporter(tmp_path, *flags) as exporter:
            body = b'{"id": "run", "flowId": "flow"}'
            answer = post(exporter, body, adobe)
            output = exporter.output()
    assert (answer.status_code, answer.text) == (
        503,
        "Adobe's key host can't be reached: the proxy answered 407, because it asks for a user and a password\n",
    )
    where = f"keys.invalid:443 through the proxy {url.removeprefix('http://')} (HTTPS_PROXY)"
    assert f'host="{where}"' in output
    assert SECRET not in output


def test_the_clock(tmp_path: Path) -> None:
    """After a delivery of Adobe's the difference of the clocks is on /metrics, and after a restart it is again."""
    adobe = Adobe()
    with serving(adobe):
        flags = ("--webhook.client-id=ours", f"--adobe.keys-url={adobe.url}")
        with Exporter(tmp_path, *flags) as exporter:
            assert skew(exporter) is None
            body = b'{"event_id": "e", "recipient_client_id": "ours", "event": {"id": "run", "flowId": "flow"}}'
            assert post(exporter, body, adobe).status_code == 200
            assert abs(skew(exporter) or 1000) < 60
            assert exporter.stop() == 0
            asked = list(adobe.asked)
            exporter.run()
            until(lambda: skew(exporter) is not None, "a comparison of the clocks")
            assert len(adobe.asked) == len(asked) + 1
            assert adobe.asked[-1] in PATHS


def post(exporter: Exporter, body: bytes, adobe: Adobe) -> httpx.Response:
    """Post a signed delivery."""
    return httpx.post(
        exporter.url + "/webhook", content=body, headers=adobe.headers(body), timeout=PATIENCE, trust_env=False
    )


def skew(exporter: Exporter) -> float | None:
    """The difference of the clocks on /metrics. None if there is none."""
    found = re.search(r"^aep_exporter_clock_skew_seconds (\S+)$", exporter.get("/metrics").text, re.MULTILINE)
    return float(found[1]) if found else None
