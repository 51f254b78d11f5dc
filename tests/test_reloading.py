"""Files that change while a program runs, in the ways in which people and programs change them."""

import asyncio
import os
import shutil
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from exporter import reloading
from exporter.errors import SettingsError
from exporter.reloading import Note, Reloading, Source
from tests.system.processes import until

SECRET = "s3cret"


class Pair:
    """A source of two files, as a certificate and its key are: both must hold the same text."""

    def __init__(self, folder: Path) -> None:
        self.one, self.other = folder / "one", folder / "other"
        self.in_force: list[str] = []
        self.loads = 0
        self.during_load: Callable[[], object] = lambda: None
        self.reloading = Reloading([Source("--pair", self._load, self._apply)])

    def _load(self, note: Note) -> str:
        self.loads += 1
        texts = []
        for path in (self.one, self.other):
            note(path.name, path)
            self.during_load()
            try:
                texts.append(path.read_text())
            except OSError:
                raise SettingsError(f"{path.name}: there is no such file") from None
        if texts[0] != texts[1]:
            raise SettingsError("the two do not belong together")
        if texts[0] == "defect":
            raise ZeroDivisionError
        return texts[0]

    def _apply(self, value: str) -> Mapping[str, object]:
        if value == "restart":
            raise SettingsError("restart the program")
        self.in_force.append(value)
        return {"length": len(value)}

    def write(self, text: str) -> None:
        """Write both files."""
        self.one.write_text(text)
        self.other.write_text(text)

    def step(self, times: int = 1, *, is_asked: bool = False) -> list[MutableMapping[str, Any]]:
        """Compare so many times, and return the log."""
        with capture_logs() as logs:
            for _ in range(times):
                asyncio.run(self.reloading.step(is_asked=is_asked))
        assert SECRET not in repr(logs)
        return logs


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """Two files that hold the same, and were read at the start."""
    made = Pair(tmp_path)
    made.write("first")
    assert made.step() == []
    return made


def replace(path: Path, text: str) -> None:
    """Put a new file in a file's place, as editors and `mv` do."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(text)
    new.replace(path)


def same_size_same_time(path: Path, text: str) -> None:
    """Write into a file without changing its time."""
    before = path.stat()
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("change", [Path.write_text, replace, same_size_same_time], ids=lambda each: each.__name__)
def test_a_change(pair: Pair, change: Callable[[Path, str], object]) -> None:
    """A change is in force after the second comparison that finds it, and is logged once, without what it holds."""
    for path in (pair.one, pair.other):
        change(path, SECRET)
    assert pair.step() == []
    (line,) = pair.step(3)
    assert line["event"] == "files were read again"
    assert (line["source"], line["changed"], line["length"]) == ("--pair", "one, other", len(SECRET))
    assert pair.in_force == ["first", SECRET]
    assert pair.loads == 2


def test_links_of_kubernetes(tmp_path: Path) -> None:
    """A mounted Secret is found to be new when Kubernetes points its link `..data` at another folder."""
    for version in ("first", "second"):
        (tmp_path / f"..{version}").mkdir()
        for name in ("one", "other"):
            (tmp_path / f"..{version}" / name).write_text(version)
    (tmp_path / "..data").symlink_to("..first")
    for name in ("one", "other"):
        (tmp_path / name).symlink_to(Path("..data") / name)
    pair = Pair(tmp_path)
    pair.step()
    (tmp_path / "..data_tmp").symlink_to("..second")
    (tmp_path / "..data_tmp").replace(tmp_path / "..data")
    shutil.rmtree(tmp_path / "..first")
    pair.step(2)
    assert pair.in_force == ["first", "second"]


def test_one_after_the_other(pair: Pair) -> None:
    """While one of two files that belong together is new, the old version stays. It is logged once."""
    pair.one.write_text("second")
    (line,) = pair.step(5)
    assert line["log_level"] == "error"
    assert line["detail"] == "the two do not belong together"
    assert pair.in_force == ["first"]
    pair.other.write_text("second")
    (line,) = pair.step(5)
    assert line["changed"] == "one, other"
    assert pair.in_force == ["first", "second"]


def test_a_folder_that_is_gone_for_a_moment(tmp_path: Path) -> None:
    """A missing folder is logged once, and what is there when it is back is used."""
    folder = tmp_path / "folder"
    folder.mkdir()
    pair = Pair(folder)
    pair.write("first")
    pair.step()
    folder.rename(tmp_path / "away")
    (line,) = pair.step(4)
    assert line["detail"] == "one: there is no such file"
    (tmp_path / "away").rename(folder)
    (line,) = pair.step(4)
    assert (line["event"], line["changed"]) == ("files were read again", "nothing")
    assert pair.in_force == ["first", "first"]


def test_a_moment_that_passes(pair: Pair) -> None:
    """What is there for one comparison only, such as half of a file, is not read at all."""
    pair.write("")
    assert pair.step() == []
    pair.write("second")
    (line,) = pair.step(3)
    assert line["changed"] == "one, other"
    assert pair.in_force == ["first", "second"]


def test_a_file_that_never_settles(pair: Pair) -> None:
    """A file that is different each time is read after the third comparison all the same."""
    for number in range(3):
        pair.write(f"version {number}")
        pair.step()
    assert pair.in_force == ["first", "version 2"]


def test_each_wrong_version_is_logged_once(pair: Pair) -> None:
    """Each wrong version is logged, and each of them once."""
    details = []
    for text in ("second", "third", "third"):
        pair.one.write_text(text)
        details += [line["detail"] for line in pair.step(3)]
    assert details == ["the two do not belong together"] * 2


def test_it_is_asked_for(pair: Pair) -> None:
    """When it is asked for, everything is read at once, and the log says what came of it each time."""
    (line,) = pair.step(is_asked=True)
    assert line["changed"] == "nothing"
    pair.write("second")
    (line,) = pair.step(is_asked=True)
    assert line["changed"] == "one, other"
    pair.one.unlink()
    assert [line["log_level"] for line in pair.step(2, is_asked=True)] == ["error", "error"]
    assert pair.in_force[-1] == "second"


def test_a_change_during_the_reading(pair: Pair) -> None:
    """What changes while it is read is read again, so that no mixture of two versions stays."""
    pair.write("second")

    def change() -> None:
        pair.during_load = lambda: None
        pair.write("third")

    pair.during_load = change
    pair.step(6)
    assert pair.in_force == ["first", "third"]


@pytest.mark.parametrize("text", ["restart", "defect"])
def test_versions_that_can_not_be_used(pair: Pair, text: str) -> None:
    """A version that needs a restart, or that meets a defect, is logged, and the next one is used."""
    pair.write(text)
    lines = pair.step(4)
    assert {line["log_level"] for line in lines} == {"error"}
    assert lines[-1]["event"] == "a new version can't be used, the one before stays in force"
    pair.write("third")
    pair.step(2)
    assert pair.in_force == ["first", "third"]


def test_a_pipe_is_never_opened(tmp_path: Path) -> None:
    """A pipe can be read once, which the start has done. It is left alone, and the log says what to do once."""
    pair = Pair(tmp_path)
    pair.other.write_text("first")
    os.mkfifo(pair.one)
    (line,) = pair.step(4)
    assert "read at the start only: restart the exporter after a change" in str(line["detail"])
    assert pair.in_force == []


def test_two_sources(tmp_path: Path) -> None:
    """A source that is wrong does not keep another one from being read."""
    pairs = [Pair(tmp_path / name) for name in ("a", "b")]
    for each in pairs:
        each.one.parent.mkdir()
        each.write("first")
    both = Reloading([Source("--pair", each._load, each._apply) for each in pairs])
    asyncio.run(both.step())
    pairs[0].write("defect")
    pairs[1].write("second")
    asyncio.run(both.step(is_asked=True))
    assert [each.in_force for each in pairs] == [["first"], ["first", "second"]]


def test_running(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it runs, a change is found without a question, and a question is answered before the next comparison."""
    monkeypatch.setattr(reloading, "_MIN_PAUSE", 0.001)
    monkeypatch.setattr(reloading, "_INTERVAL", 0.002)

    async def until_applied(times: int) -> None:
        await asyncio.to_thread(until, lambda: len(pair.in_force) >= times, "a version in force")

    async def story() -> None:
        async with pair.reloading.running():
            pair.write("second")
            while pair.in_force[-1] != "second":
                await until_applied(len(pair.in_force) + 1)
            monkeypatch.setattr(reloading, "_INTERVAL", 3600)
            # The pause that has begun may still be a short one.
            for _ in range(2):
                length = len(pair.in_force)
                pair.reloading.ask()
                await until_applied(length + 1)

    asyncio.run(story())
