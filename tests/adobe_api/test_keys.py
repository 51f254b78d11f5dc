import asyncio
import gc
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Final

import httpx
import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import LogCapture

from exporter.adobe.signature import MAX_PEM
from exporter.adobe_api import keys as module
from exporter.adobe_api.clock_skew import ClockSkew
from exporter.adobe_api.http_client import AdobeClient
from exporter.adobe_api.keys import MAX_AGE, MAX_KEYS, MAX_UNKNOWN, REFRESH_AFTER, REMEMBER_FAILURE, Keys
from exporter.adobe_api.trusted_paths import TrustedPaths
from exporter.errors import KeyPathError, KeyUnavailableError, LedgerUnavailableError
from tests.adobe import failing
from tests.adobe.test_signature import ATTACKS, HOST, PATH, of_size, pem, private_key

HOUR: Final = 60 * 60.0
DAY: Final = 24 * HOUR


def path(number: int) -> str:
    """The path of one of many keys."""
    return f"/prod/keys/pub-key-{number}.pem"


class Adobe:
    """A key host, a clock and the keys under test. It records the requests and gives the answer that was set."""

    def __init__(self, host: str = HOST, trusted: Iterable[tuple[str, int]] = ()) -> None:
        self.now = 1000.0
        self.requests: list[str] = []
        self.answer: Callable[[httpx.Request], httpx.Response] = key_of("")
        self.gate = asyncio.Event()
        self.gate.set()
        self.client = AdobeClient(host, httpx.MockTransport(self._handle), ClockSkew(lambda: self.now))
        self.saved: list[tuple[Sequence[tuple[str, int]], Sequence[str]]] = []
        self.trusted_paths = TrustedPaths(trusted, self._save, lambda: int(self.now * 1000))
        self.keys = Keys(self.client, host, lambda: self.now, self.trusted_paths)

    def _save(self, used: Sequence[tuple[str, int]], dropped: Sequence[str]) -> None:
        self.saved.append((used, dropped))

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(str(request.url))
        await self.gate.wait()
        return self.answer(request)

    async def trusted(self, path: str = PATH) -> RSAPublicKey:
        """The key, marked as trusted."""
        key = await self.keys.get(path)
        await self.keys.trust(path)
        await settled()
        return key

    async def fails(self, path: str = PATH) -> None:
        """Assert that the key can't be fetched."""
        with pytest.raises(KeyUnavailableError):
            await self.keys.get(path)


def key_of(name: str) -> Callable[[httpx.Request], httpx.Response]:
    """The answer that holds the key of that name."""
    return lambda _request: httpx.Response(200, content=pem(private_key(name).public_key()))


def status(code: int, **headers: str) -> Callable[[httpx.Request], httpx.Response]:
    """An answer of that status, with a key that must not be used."""
    content = pem(private_key().public_key())
    return lambda _request: httpx.Response(code, content=content, headers=headers)


def raising(error: type[httpx.HTTPError]) -> Callable[[httpx.Request], httpx.Response]:
    """An error in the place of an answer."""

    def answer(request: httpx.Request) -> httpx.Response:
        raise error("made up")

    return answer


def holding(content: bytes) -> Callable[[httpx.Request], httpx.Response]:
    """An answer of status 200 with this content."""
    return lambda _request: httpx.Response(200, content=content)


async def settled() -> None:
    """Let all tasks run as far as they can."""
    for _ in range(20):
        await asyncio.sleep(0)


def play(
    story: Callable[[Adobe], Awaitable[None]], host: str = HOST, trusted: Iterable[tuple[str, int]] = ()
) -> list[str]:
    """Run a scenario and return the requests to the key host. Asserts that no exception was left unhandled."""

    async def main() -> list[str]:
        unnoticed: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: unnoticed.append(context))
        adobe = Adobe(host, trusted)
        await story(adobe)
        await adobe.keys.close()
        await settled()
        gc.collect(1)
        assert unnoticed == []
        assert len(asyncio.all_tasks()) == 1
        return adobe.requests

    return asyncio.run(main())


FAILURES: Final = {
    "not found": status(404),
    "forbidden": status(403),
    "no content": status(204),
    "a part": status(206),
    "an error": status(500),
    "unavailable": status(503),
    "moved": status(301, location="https://evil.com/prod/keys/pub-key-a.pem"),
    "found elsewhere": status(302, location=HOST + "/prod/keys/pub-key-a.pem"),
    "temporarily elsewhere": status(307, location="/prod/keys/pub-key-a.pem"),
    "permanently elsewhere": status(308, location="//evil.com/x"),
    "no connection": raising(httpx.ConnectError),
    "no connection in time": raising(httpx.ConnectTimeout),
    "no answer in time": raising(httpx.ReadTimeout),
    "no place": raising(httpx.PoolTimeout),
    "half an answer": raising(httpx.RemoteProtocolError),
    "not compressed as its header states": lambda _request: httpx.Response(
        200, stream=_Chunks(b"no gzip"), headers={"content-encoding": "gzip"}
    ),
    "compressed": lambda _request: httpx.Response(
        200, content=gzip.compress(pem(private_key().public_key())), headers={"content-encoding": "gzip"}
    ),
    "compressed twice": lambda _request: httpx.Response(
        200,
        content=gzip.compress(gzip.compress(pem(private_key().public_key()))),
        headers=[("content-encoding", "gzip"), ("content-encoding", "gzip")],
    ),
    "in another encoding": lambda _request: httpx.Response(
        200, stream=_Chunks(pem(private_key().public_key())), headers={"content-encoding": "x-unknown"}
    ),
    "empty": holding(b""),
    "a page": holding(b"<!doctype html>"),
    "half a key": holding(pem(private_key().public_key())[:200]),
    "a small key": holding(of_size(1024)),
    "too large": holding(pem(private_key().public_key()) + b"\n" * MAX_PEM),
    "a megabyte": holding(b"A" * 1_000_000),
}


class _Chunks(httpx.AsyncByteStream):
    def __init__(self, *chunks: bytes) -> None:
        self._chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk


def test_the_limits() -> None:
    """A key is cached for a day and refreshed after half of it. A failure is remembered for a minute."""
    assert (MAX_AGE, REFRESH_AFTER, REMEMBER_FAILURE, MAX_UNKNOWN) == (DAY, 12 * HOUR, 60, 10)


def test_a_key() -> None:
    """A key is fetched from Adobe's host by the path that the delivery names."""

    async def story(adobe: Adobe) -> None:
        assert adobe.keys.cached(PATH) is None
        key = await adobe.keys.get(PATH)
        assert key.public_numbers() == private_key().public_key().public_numbers()
        assert adobe.keys.cached(PATH) is key

    assert play(story) == [HOST + PATH]


@pytest.mark.parametrize(
    ("host", "base"),
    [
        (HOST + "/", HOST),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://mirror/adobe/", "http://mirror/adobe"),
        ("http://mirror//", "http://mirror"),
    ],
)
def test_another_host(host: str, base: str) -> None:
    """A mirror is used instead of Adobe's host, with or without a slash at its end."""

    async def story(adobe: Adobe) -> None:
        await adobe.keys.get(PATH)

    assert play(story, host) == [base + PATH]


def test_attacks() -> None:
    """A path that is not of Adobe's form causes no request."""

    def check(attack: str) -> None:
        async def story(adobe: Adobe) -> None:
            with pytest.raises(KeyPathError):
                await adobe.keys.get(attack)
            assert adobe.keys.cached(attack) is None
            await adobe.keys.trust(attack)

        assert play(story) == []

    assert failing(ATTACKS, check) == {}


@given(st.text() | st.text().map(lambda text: PATH + text) | st.text().map(lambda text: text + PATH))
def test_any_path(text: str) -> None:
    """A random path causes no request."""

    async def story(adobe: Adobe) -> None:
        if text != PATH:
            with pytest.raises(KeyPathError):
                await adobe.keys.get(text)

    assert play(story) == []


def test_one_request_for_many_waiters() -> None:
    """However many deliveries wait for a key, it is fetched once."""

    async def story(adobe: Adobe) -> None:
        adobe.gate.clear()
        waiting = [asyncio.create_task(adobe.keys.get(PATH)) for _ in range(100)]
        await settled()
        assert len(adobe.requests) == 1
        adobe.gate.set()
        assert len({id(key) for key in await asyncio.gather(*waiting)}) == 1

    assert len(play(story)) == 1


def test_one_failure_for_many_waiters() -> None:
    """However many deliveries wait for a key that can't be fetched, all of them fail, and it is requested once."""

    async def story(adobe: Adobe) -> None:
        adobe.gate.clear()
        adobe.answer = status(404)
        waiting = [asyncio.create_task(adobe.keys.get(PATH)) for _ in range(100)]
        await settled()
        adobe.gate.set()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(error, KeyUnavailableError) for error in results)

    assert len(play(story)) == 1


def test_two_keys_at_once() -> None:
    """Different keys are fetched at the same time."""

    async def story(adobe: Adobe) -> None:
        adobe.gate.clear()
        waiting = [asyncio.create_task(adobe.keys.get(path(number))) for number in range(2)]
        await settled()
        assert len(adobe.requests) == 2
        adobe.gate.set()
        await asyncio.gather(*waiting)

    play(story)


def test_a_waiter_that_goes_away() -> None:
    """If one delivery is cancelled while it waits for a key, the others get the key."""

    async def story(adobe: Adobe) -> None:
        adobe.gate.clear()
        waiting = [asyncio.create_task(adobe.keys.get(PATH)) for _ in range(3)]
        await settled()
        waiting[0].cancel()
        await settled()
        assert waiting[0].cancelled()
        adobe.gate.set()
        assert await waiting[1] is await waiting[2] is adobe.keys.cached(PATH)

    assert len(play(story)) == 1


@pytest.mark.parametrize("failure", ["not found", "no connection"])
def test_the_last_waiter_goes_away(failure: str) -> None:
    """If all deliveries that wait for a key are cancelled, its fetch goes on, and a failure is remembered."""

    async def story(adobe: Adobe) -> None:
        adobe.gate.clear()
        adobe.answer = FAILURES[failure]
        waiting = asyncio.create_task(adobe.keys.get(PATH))
        await settled()
        waiting.cancel()
        await settled()
        adobe.gate.set()
        await settled()
        await adobe.fails()

    assert len(play(story)) == 1


def test_close() -> None:
    """Closing cancels the fetches that are running, and no task is left."""

    async def story(adobe: Adobe) -> None:
        adobe.gate.clear()
        waiting = [asyncio.create_task(adobe.keys.get(path(number))) for number in (1, 1, 2)]
        await settled()
        await adobe.keys.close()
        await settled()
        assert all(task.done() for task in waiting)

    assert len(play(story)) == 2


def test_close_before_anything() -> None:
    """Keys that were never used can be closed, once or twice."""

    async def story(adobe: Adobe) -> None:
        await adobe.keys.close()

    assert play(story) == []


def test_close_ends_a_refresh() -> None:
    """Closing does not wait for a refresh."""

    async def story(adobe: Adobe) -> None:
        await adobe.trusted()
        adobe.now += REFRESH_AFTER
        adobe.gate.clear()
        await adobe.keys.trust(PATH)
        await settled()

    assert len(play(story)) == 2


def test_a_key_is_kept_for_a_day_and_no_longer() -> None:
    """A key is fetched again after 24 hours, and not before."""

    async def story(adobe: Adobe) -> None:
        await adobe.keys.get(PATH)
        adobe.now += DAY - 1
        await adobe.keys.get(PATH)
        assert len(adobe.requests) == 1
        adobe.now += 1
        assert adobe.keys.cached(PATH) is None
        adobe.answer = key_of("another")
        key = await adobe.keys.get(PATH)
        assert key.public_numbers() == private_key("another").public_key().public_numbers()

    assert len(play(story)) == 2


def test_a_failure_is_remembered_a_minute() -> None:
    """A key that can't be fetched is requested again after a minute, not before, and from no other host."""

    def check(answer: Callable[[httpx.Request], httpx.Response]) -> None:
        async def story(adobe: Adobe) -> None:
            adobe.answer = answer
            await adobe.fails()
            adobe.now += REMEMBER_FAILURE - 1
            await adobe.fails()
            assert adobe.requests == [HOST + PATH]
            adobe.answer = key_of("")
            adobe.now += 1
            await adobe.keys.get(PATH)

        assert play(story) == [HOST + PATH] * 2

    assert failing(FAILURES, check) == {}


def test_a_host_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key host that never answers delays a delivery for a few seconds, less than the ten that Adobe waits."""
    assert module.TIMEOUT < 8
    monkeypatch.setattr(module, "TIMEOUT", 0.0)

    async def story(adobe: Adobe) -> None:
        adobe.gate.clear()
        await adobe.fails()
        adobe.gate.set()
        await adobe.fails()

    assert len(play(story)) == 1


def test_a_large_answer_is_not_read_to_its_end() -> None:
    """Reading an answer stops as soon as it is too large to be a key."""

    class Endless(httpx.AsyncByteStream):
        given = 0

        async def __aiter__(self) -> AsyncIterator[bytes]:
            while self.given < 100 * MAX_PEM:
                self.given += 1024
                yield b"A" * 1024

    async def story(adobe: Adobe) -> None:
        endless = Endless()
        adobe.answer = lambda _request: httpx.Response(200, stream=endless)
        await adobe.fails()
        assert endless.given <= MAX_PEM + 1024

    play(story)


def test_ten_unknown_keys_a_minute() -> None:
    """Invented paths cause ten requests a minute, however many there are."""

    async def story(adobe: Adobe) -> None:
        adobe.answer = status(404)
        for number in range(30):
            await adobe.fails(path(number))
        assert len(adobe.requests) == 10
        adobe.now += 59
        await adobe.fails(path(100))
        assert len(adobe.requests) == 10
        adobe.now += 1
        for number in range(100, 130):
            await adobe.fails(path(number))

    assert len(play(story)) == 20


def test_ten_unknown_keys_at_once() -> None:
    """The limit holds for requests at the same time, and for keys that exist."""

    async def story(adobe: Adobe) -> None:
        adobe.gate.clear()
        waiting = [asyncio.create_task(adobe.keys.get(path(number))) for number in range(30)]
        await settled()
        adobe.gate.set()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [isinstance(each, KeyUnavailableError) for each in results] == [False] * 10 + [True] * 20

    assert len(play(story)) == 10


def test_the_bound_slides() -> None:
    """In no minute are more than ten unknown keys requested."""

    async def story(adobe: Adobe) -> None:
        adobe.answer = status(404)
        asked_at: list[float] = []
        for number in range(400):
            before = len(adobe.requests)
            await adobe.fails(path(number))
            asked_at += [adobe.now] * (len(adobe.requests) - before)
            adobe.now += 1 if number % 3 else 2.5
        assert len(asked_at) > 50
        assert all(later - earlier >= 60 for earlier, later in zip(asked_at, asked_at[10:], strict=False))

    play(story)


def test_cached_keys_are_not_bounded() -> None:
    """Cached keys are returned while the limit is used up."""

    async def story(adobe: Adobe) -> None:
        key = await adobe.keys.get(PATH)
        for number in range(30):
            if number < MAX_UNKNOWN - 1:
                await adobe.keys.get(path(number))
            else:
                await adobe.fails(path(number))
        assert await adobe.keys.get(PATH) is key

    play(story)


def test_a_trusted_key_is_renewed_ahead_of_time() -> None:
    """After 12 hours a trusted key is refreshed, while the old one is used."""

    async def story(adobe: Adobe) -> None:
        old = await adobe.trusted()
        adobe.now += REFRESH_AFTER - 1
        assert await adobe.trusted() is old
        assert len(adobe.requests) == 1
        adobe.now += 1
        adobe.gate.clear()
        adobe.answer = key_of("another")
        assert await adobe.trusted() is old
        assert await adobe.trusted() is old
        assert len(adobe.requests) == 2
        adobe.gate.set()
        await settled()
        new = await adobe.trusted()
        assert new.public_numbers() == private_key("another").public_key().public_numbers()
        adobe.now += DAY - 1
        assert adobe.keys.cached(PATH) is new

    assert len(play(story)) == 2


def test_a_key_that_verified_nothing_is_not_renewed() -> None:
    """A key that is not trusted is not refreshed."""

    async def story(adobe: Adobe) -> None:
        await adobe.keys.get(PATH)
        adobe.now += DAY - 1
        await adobe.keys.get(PATH)
        await settled()

    assert len(play(story)) == 1


@pytest.mark.parametrize("failure", ["not found", "no connection", "empty", "moved"])
def test_a_refresh_that_fails(failure: str) -> None:
    """A trusted key that can't be refreshed is used until it is 24 hours old, and the refresh is tried again."""

    async def story(adobe: Adobe) -> None:
        old = await adobe.trusted()
        adobe.answer = FAILURES[failure]
        adobe.now += REFRESH_AFTER
        for _ in range(12 * 30):
            assert await adobe.trusted() is old
            adobe.now += 120
        assert 2 < len(adobe.requests) < 200
        await adobe.fails()
        adobe.answer = key_of("another")
        adobe.now += 60
        assert await adobe.trusted() is not old

    play(story)


def test_trusted_keys_are_renewed_whatever_strangers_do() -> None:
    """A trusted key is fetched although the limit is used up, to refresh it and after a day."""

    async def story(adobe: Adobe) -> None:
        old = await adobe.trusted()
        adobe.now += REFRESH_AFTER
        for number in range(30):
            adobe.answer = status(404)
            await adobe.fails(path(number))
        adobe.answer = key_of("another")
        assert await adobe.trusted() is old
        renewed = await adobe.trusted()
        assert renewed is not old
        adobe.now += DAY
        adobe.answer = status(404)
        for number in range(30, 60):
            await adobe.fails(path(number))
        adobe.answer = key_of("")
        assert await adobe.trusted() is not renewed

    play(story)


@pytest.mark.parametrize("is_trusted", [True, False], ids=["trusted", "not trusted"])
@pytest.mark.parametrize("failure", ["not found", "no connection", "empty"])
def test_a_key_that_is_too_old_and_can_not_be_had(failure: str, is_trusted: bool) -> None:
    """A key of more than a day that can't be fetched is requested once a minute, like any other."""

    async def story(adobe: Adobe) -> None:
        await (adobe.trusted() if is_trusted else adobe.keys.get(PATH))
        adobe.now += DAY
        adobe.answer = FAILURES[failure]
        for _ in range(5):
            await adobe.fails()
        assert len(adobe.requests) == 2
        adobe.now += REMEMBER_FAILURE
        adobe.answer = key_of("")
        await adobe.keys.get(PATH)

    assert len(play(story)) == 3


def test_a_trusted_key_is_tried_again_soon() -> None:
    """After a failure of the key host, a trusted key is fetched again within seconds, another one after a minute."""

    async def story(adobe: Adobe) -> None:
        adobe.answer = FAILURES["an error"]
        await adobe.fails()
        await adobe.fails()
        assert len(adobe.requests) == 1
        adobe.now += 5
        adobe.answer = key_of("")
        await adobe.keys.get(PATH)

    assert len(play(story, trusted=[(PATH, 1_000_000)])) == 2


def test_few_keys_are_kept() -> None:
    """64 keys are cached. The oldest that is not trusted is dropped first, trusted ones last."""

    async def story(adobe: Adobe) -> None:
        trusted = [await adobe.trusted(path(number)) for number in range(3)]
        for number in range(3, 3 * MAX_KEYS):
            adobe.now += 10
            await adobe.keys.get(path(number))
        held = [number for number in range(3 * MAX_KEYS) if adobe.keys.cached(path(number)) is not None]
        assert held == [0, 1, 2, *range(2 * MAX_KEYS + 3, 3 * MAX_KEYS)]
        assert [adobe.keys.cached(path(number)) for number in range(3)] == trusted

    play(story)


def test_failures_go_before_keys() -> None:
    """Failures are dropped before keys, trusted or not."""

    async def story(adobe: Adobe) -> None:
        await adobe.trusted(path(0))
        await adobe.keys.get(path(1))
        adobe.answer = status(404)
        for number in range(2, 5 * MAX_KEYS):
            adobe.now += 10
            await adobe.fails(path(number))
        assert adobe.keys.cached(path(0)) is not None
        assert adobe.keys.cached(path(1)) is not None
        assert len(adobe.keys._cache) == MAX_KEYS

    play(story)


def test_trusted_keys_are_few_too() -> None:
    """If all keys are trusted, the oldest is dropped."""

    async def story(adobe: Adobe) -> None:
        for number in range(MAX_KEYS + 5):
            adobe.now += 10
            await adobe.trusted(path(number))
        held = [number for number in range(MAX_KEYS + 5) if adobe.keys.cached(path(number)) is not None]
        assert held == list(range(5, MAX_KEYS + 5))

    play(story)


def test_a_compressed_answer_is_not_inflated() -> None:
    """An answer that claims to be compressed is refused before any of its body is read."""

    class Unread(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b""
            raise AssertionError("the body was read")

    async def story(adobe: Adobe) -> None:
        adobe.answer = lambda _request: httpx.Response(200, stream=Unread(), headers={"content-encoding": "br"})
        await adobe.fails()

    play(story)


def test_a_trusted_path_is_fetched_after_a_start() -> None:
    """A path that an earlier process trusted is fetched although strangers have used the limit up."""

    async def story(adobe: Adobe) -> None:
        adobe.answer = status(404)
        for number in range(30):
            await adobe.fails(path(number))
        adobe.answer = key_of("")
        assert adobe.keys.rank(PATH) == 1
        await adobe.keys.get(PATH)
        assert adobe.keys.rank(PATH) == 0

    assert len(play(story, trusted=[(PATH, 1_000_000)])) == 11


@pytest.mark.parametrize(
    ("used_at", "rank"),
    [(-29 * DAY, 1), (-31 * DAY, 2), (46 * DAY, 1)],
    ids=["29 days ago", "31 days ago", "by a clock that was ahead"],
)
def test_a_path_that_was_not_used_for_long(used_at: float, rank: int) -> None:
    """A path that was not used for 30 days is not trusted any more. A time in the future is no reason to drop one."""

    async def story(adobe: Adobe) -> None:
        assert adobe.keys.rank(PATH) == rank

    play(story, trusted=[(PATH, int((1000 + used_at) * 1000))])


def test_a_clock_that_was_wrong_drops_no_path() -> None:
    """A path that seemed unused because the clock was ahead is trusted again when the clock is right."""

    async def story(adobe: Adobe) -> None:
        adobe.now += 46 * DAY
        assert adobe.keys.rank(PATH) == 2
        adobe.now -= 46 * DAY
        assert adobe.keys.rank(PATH) == 1
        assert adobe.saved == []

    play(story, trusted=[(PATH, 1_000_000)])


def test_a_path_is_stored_once_a_day() -> None:
    """A path is stored when its key is trusted, and again at most once a day, also after a clock that was ahead."""

    async def story(adobe: Adobe) -> None:
        for hours in (0, 1, 23, 24, 25, 47, 48, 24):
            adobe.now = 1000 + hours * HOUR
            await adobe.trusted()
            await adobe.trusted_paths.stored()
        assert [used for used, _ in adobe.saved] == [
            [(PATH, int((1000 + hours * HOUR) * 1000))] for hours in (0, 24, 48, 24)
        ]

    play(story)


def test_a_ledger_that_is_away() -> None:
    """A path that can't be stored is trusted all the same, and is stored with a later delivery."""

    async def story(adobe: Adobe) -> None:
        def fail(_used: object, _dropped: object) -> None:
            raise LedgerUnavailableError("made up")

        save, adobe.trusted_paths._save = adobe.trusted_paths._save, fail
        await adobe.trusted()
        await adobe.trusted_paths.stored()
        assert PATH in adobe.trusted_paths
        adobe.trusted_paths._save = save
        await adobe.trusted()
        await adobe.trusted_paths.stored()
        assert adobe.saved == [([(PATH, 1_000_000)], [])]

    play(story)


def test_a_key_that_is_gone_is_not_trusted() -> None:
    """A path that the key host answers with 404 is dropped, and any other failure drops none."""

    async def story(adobe: Adobe) -> None:
        for failure in ("an error", "no connection", "empty", "forbidden"):
            adobe.answer = FAILURES[failure]
            await adobe.fails()
            assert PATH in adobe.trusted_paths
            adobe.now += REMEMBER_FAILURE
        adobe.answer = status(404)
        await adobe.fails()
        await adobe.trusted_paths.stored()
        assert (PATH in adobe.trusted_paths, adobe.saved) == (False, [([], [PATH])])
        await adobe.fails()

    assert len(play(story, trusted=[(PATH, 1_000_000)])) == 5


def test_a_cached_key_that_is_gone() -> None:
    """A cached key that is gone from the host is used for a day, and its path is trusted when it is there again."""

    async def story(adobe: Adobe) -> None:
        old = await adobe.trusted()
        adobe.now += REFRESH_AFTER
        adobe.answer = status(404)
        assert await adobe.trusted() is old
        assert await adobe.trusted() is old
        assert PATH not in adobe.trusted_paths
        adobe.now += 300
        adobe.answer = key_of("another")
        await adobe.trusted()
        await adobe.trusted()
        assert PATH in adobe.trusted_paths

    play(story)


def test_the_other_key_of_a_delivery() -> None:
    """A key that a verified delivery names is fetched although strangers have used the limit up, ten a minute."""

    async def story(adobe: Adobe) -> None:
        adobe.answer = status(404)
        for number in range(30):
            await adobe.fails(path(number))
        adobe.answer = key_of("")
        adobe.keys.prepare(PATH)
        adobe.keys.prepare(PATH)
        await settled()
        assert adobe.keys.cached(PATH) is not None
        assert PATH not in adobe.trusted_paths
        for number in range(100, 130):
            adobe.keys.prepare(path(number))
        await settled()

    assert len(play(story)) == 10 + 10


def test_few_paths_are_remembered() -> None:
    """64 paths are trusted, those that were used last."""

    async def story(adobe: Adobe) -> None:
        for number in range(70):
            adobe.now += 10
            await adobe.trusted(path(number))
        await adobe.trusted_paths.stored()
        assert [number for number in range(70) if path(number) in adobe.trusted_paths] == list(range(6, 70))
        assert {dropped for _, all_ in adobe.saved for dropped in all_} == {path(number) for number in range(6)}

    play(story)


def test_the_last_path_that_was_used() -> None:
    """The path that was used last is known, unless that was too long ago, or no path is."""
    now = 100 * int(DAY) * 1000
    stored = [(path(1), now - 5), (path(2), now), (path(3), now - 9)]
    for paths, expected in ((stored, path(2)), ([], None), ([(path(1), 0)], None)):
        assert TrustedPaths(paths, lambda _used, _dropped: None, lambda: now).latest == expected


CAUSES: Final = {
    "no connection in time": "Adobe's key host can't be reached: it gave no answer within 4 s",
    "half an answer": "Adobe's key host can't be reached: it answered something other than HTTP",
    "found elsewhere": "Adobe's key host answered 302, a redirect, which is not followed",
    "not found": "Adobe's key host has no such key",
    "unavailable": "Adobe's key host answered 503",
    "a page": "Adobe's key file holds no public key",
}


@pytest.mark.parametrize("failure", CAUSES)
def test_the_cause_of_a_failure(monkeypatch: pytest.MonkeyPatch, failure: str) -> None:
    """The error has the cause, without the host. The log has both, and nothing of an exception's text."""
    logged = LogCapture()
    monkeypatch.setattr(module, "_log", structlog.wrap_logger(None, processors=[logged]))

    async def story(adobe: Adobe) -> None:
        adobe.answer = FAILURES[failure]
        with pytest.raises(KeyUnavailableError) as raised:
            await adobe.keys.get(PATH)
        assert str(raised.value) == CAUSES[failure]

    play(story)
    assert [(entry["detail"], entry["host"]) for entry in logged.entries] == [
        (CAUSES[failure], HOST.removeprefix("https://") + ":443")
    ]
    assert "made up" not in repr(logged.entries)
