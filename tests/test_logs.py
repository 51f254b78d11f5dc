"""Logs: one line for each message, as logfmt or JSON."""

import contextlib
import json
import logging
import sys
from collections.abc import Iterator
from datetime import datetime

import pytest
import structlog

from exporter import logs

LOUDNESS = {"debug": 10, "info": 20, "warn": 30, "error": 40}


@contextlib.contextmanager
def restored_logging() -> Iterator[None]:
    """Restore the configuration of logging afterwards."""
    root, uvicorn = logging.getLogger(), logging.getLogger("uvicorn")
    before = root.handlers, root.level, uvicorn.level
    configuration = structlog.get_config()
    try:
        yield
    finally:
        root.handlers = before[0]
        root.setLevel(before[1])
        uvicorn.setLevel(before[2])
        structlog.configure(**configuration)


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    with restored_logging():
        yield


def ours(name: str = "webhook") -> structlog.stdlib.BoundLogger:
    """A logger as this program's modules have one."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines that were logged. Fail where anything went to standard output."""
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.removesuffix("\n").split("\n") if captured.err else []


def test_logfmt(capsys: pytest.CaptureFixture[str]) -> None:
    """A logfmt line begins with time, level, logger and event. The fields follow."""
    logs.configure("info", "logfmt")
    ours().info("delivery refused", reason="token", bytes=12, big=True)
    (line,) = lines(capsys)
    time, rest = line.split(" ", 1)
    assert datetime.fromisoformat(time.removeprefix("ts=")).tzinfo is not None
    assert rest == 'level=info logger=webhook event="delivery refused" reason=token bytes=12 big=true'


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    """A JSON line is an object with the same fields, which keep their types."""
    logs.configure("info", "json")
    ours().warning("delivery refused", reason="token", bytes=12)
    (line,) = lines(capsys)
    fields = json.loads(line)
    assert datetime.fromisoformat(fields.pop("ts")).tzinfo is not None
    assert fields == {
        "level": "warning",
        "logger": "webhook",
        "event": "delivery refused",
        "reason": "token",
        "bytes": 12,
    }


@pytest.mark.parametrize("format_", logs.FORMATS)
@pytest.mark.parametrize("name", ["webhook", "uvicorn.error"], ids=["ours", "a library's"])
def test_no_text_breaks_a_line(capsys: pytest.CaptureFixture[str], format_: str, name: str) -> None:
    """No character of a message or a value ends a line, drives a terminal or turns the direction of writing."""
    awkward = "a\rb\vc\x85d\u2028e\x1b[31mf\x9bg\u202eh\ufeff\ti\ud83d"
    logs.configure("info", format_)
    if name == "webhook":
        ours().warning(awkward, value=awkward)
    else:
        logging.getLogger(name).warning(awkward)
    (line,) = lines(capsys)
    assert line.splitlines() == [line]
    assert line.isprintable()


@pytest.mark.parametrize("format_", logs.FORMATS)
def test_a_message_is_a_line(capsys: pytest.CaptureFixture[str], format_: str) -> None:
    """Line breaks and quotes in a message or an exception begin no new line, so that nobody can forge a line."""
    logs.configure("info", format_)
    ours().info('first\nts=now level=error event="forged"', detail='second\r\n"third"\x1b[31m')
    try:
        int("fourth\nfifth")
    except ValueError:
        ours().exception("it\nfailed")
        logging.getLogger("library").exception("theirs\nfailed")
    logged = lines(capsys)
    assert len(logged) == 3
    assert "Traceback" in logged[1]
    assert "Traceback" in logged[2]
    if format_ == "json":
        assert json.loads(logged[0])["detail"] == 'second\r\n"third"\x1b[31m'


@pytest.mark.parametrize("format_", logs.FORMATS)
def test_libraries_write_the_same_way(capsys: pytest.CaptureFixture[str], format_: str) -> None:
    """A library's message has the format of our own, with its arguments filled in."""
    logs.configure("info", format_)
    logging.getLogger("library").warning("%d of %s", 1, "two")
    (line,) = lines(capsys)
    if format_ == "json":
        fields = json.loads(line)
        assert (fields["level"], fields["logger"], fields["event"]) == ("warning", "library", "1 of two")
    else:
        assert 'level=warning logger=library event="1 of two"' in line


@pytest.mark.parametrize("level", logs.LEVELS)
def test_levels(capsys: pytest.CaptureFixture[str], level: str) -> None:
    """Messages below the level are not logged, neither our own nor a library's."""
    logs.configure(level, "logfmt")
    for log in (ours("web"), logging.getLogger("library")):
        log.debug("debug")
        log.info("info")
        log.warning("warn")
        log.error("error")
    expected = [each for each in LOUDNESS if LOUDNESS[each] >= LOUDNESS[level]]
    assert [line.split("event=")[1] for line in lines(capsys)] == expected * 2


@pytest.mark.parametrize("level", logs.LEVELS)
def test_uvicorns_messages(capsys: pytest.CaptureFixture[str], level: str) -> None:
    """Messages of uvicorn about start and stop are not logged. Its warnings are."""
    logs.configure(level, "logfmt")
    logging.getLogger("uvicorn.error").info("Started server process")
    logging.getLogger("uvicorn.error").warning("trouble")
    assert [line.split("event=")[1] for line in lines(capsys)] == ([] if level == "error" else ["trouble"])


def test_configured_again(capsys: pytest.CaptureFixture[str]) -> None:
    """After repeated configuration each message is still one line, with the last format and level."""
    earlier = ours()
    for level, format_ in (("debug", "json"), ("info", "json"), ("warn", "logfmt")):
        logs.configure(level, format_)
        earlier.error("loud")
    earlier.info("quiet")
    logged = lines(capsys)
    assert [line[0] for line in logged] == ["{", "{", "t"]
    assert len(logging.getLogger().handlers) == 1


def test_it_goes_where_standard_error_goes(capsys: pytest.CaptureFixture[str]) -> None:
    """Messages go to standard error, because standard output is for results."""
    logs.configure("info", "logfmt")
    (handler,) = logging.getLogger().handlers
    assert isinstance(handler, logging.StreamHandler)
    assert handler.stream is sys.stderr


def test_fields_of_a_request(capsys: pytest.CaptureFixture[str]) -> None:
    """Fields that are bound to a request are on each of its messages, and on no later one."""
    logs.configure("info", "logfmt")
    with structlog.contextvars.bound_contextvars(request="7"):
        ours().info("inside")
    ours().info("outside")
    inside, outside = lines(capsys)
    assert inside.endswith(" request=7")
    assert "request" not in outside


def test_the_throttle() -> None:
    """One message of a reason is allowed in ten seconds. The next one comes with the number of those in between."""
    now = [100.0]
    throttle = logs.LogThrottle(lambda: now[0])
    assert [throttle.allow("token"), throttle.allow("token"), throttle.allow("token")] == [0, None, None]
    now[0] += 9.9
    assert [throttle.allow("token"), throttle.allow("key_path")] == [None, 0]
    now[0] += 0.1
    assert [throttle.allow("token"), throttle.allow("token")] == [3, None]
