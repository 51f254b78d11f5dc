"""The URLs of ledgers."""

from pathlib import Path

import pytest

from exporter.errors import LedgerMissingError, LedgerUnusableError
from exporter.ledger.urls import open_ledger, sqlite_path


@pytest.mark.parametrize(
    ("url", "path"),
    [
        pytest.param("sqlite:///data/ledger.db", "data/ledger.db", id="relative"),
        pytest.param("sqlite:////var/lib/ledger.db", "/var/lib/ledger.db", id="absolute"),
        pytest.param("sqlite:///ledger", "ledger", id="bare-name"),
        pytest.param("sqlite:////srv/a b?x=1#y%41é.db", "/srv/a b?x=1#y%41é.db", id="taken-literally"),
    ],
)
def test_a_url_names_a_file(url: str, path: str) -> None:
    """Three slashes begin a relative path and four an absolute one. The rest is the path, character for character."""
    assert sqlite_path(url) == Path(path)


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("", id="nothing"),
        pytest.param("ledger.db", id="a-path"),
        pytest.param("/var/lib/ledger.db", id="an-absolute-path"),
        pytest.param("sqlite:", id="scheme-alone"),
        pytest.param("sqlite:///", id="no-path"),
        pytest.param("sqlite:////", id="root"),
        pytest.param("sqlite:///data/", id="a-folder"),
        pytest.param("sqlite://data/ledger.db", id="two-slashes"),
        pytest.param("SQLITE:///data/ledger.db", id="capitals"),
        pytest.param("mysql://root:s3cret-word@db/ledger", id="another-engine"),
    ],
)
def test_what_names_no_file_is_refused(url: str) -> None:
    """Any other URL is refused with a message that shows the right form, and that does not repeat the URL."""
    assert sqlite_path(url) is None
    with pytest.raises(LedgerUnusableError, match="sqlite:///") as refused:
        open_ledger(url)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("name", ["ledger.db", "a b?mode=ro#x%41é.db", ":memory:", "new/folders/ledger.db"])
def test_opening_makes_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A ledger that does not exist is created with its folders, under exactly the name in the URL."""
    monkeypatch.chdir(tmp_path)
    for url in (f"sqlite:///{name}", f"sqlite:///{tmp_path}/{name}"):
        open_ledger(url).close()
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()] == [Path(name)]


@pytest.mark.parametrize("name", ["ledger.db", "new/folders/ledger.db", "notes.txt/ledger.db", "link.db"])
def test_a_ledger_that_must_exist(tmp_path: Path, name: str) -> None:
    """If no ledger may be made, one that does not exist is an error with its absolute path, and no file is made."""
    (tmp_path / "notes.txt").touch()
    (tmp_path / "link.db").symlink_to(tmp_path / "nowhere.db")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(LedgerMissingError) as missing:
        open_ledger(f"sqlite:///{tmp_path}/{name}", create=False)
    assert str(tmp_path / name) in str(missing.value)
    assert sorted(tmp_path.rglob("*")) == before
    assert not (tmp_path / "notes.txt").stat().st_size


def test_ledgers_near_one_that_is_missing(tmp_path: Path) -> None:
    """The message names some ledgers in the folder, or in the nearest folder above that exists, and no other file."""
    for name in ("d.db", "c.db", "b.db", "a.db"):
        open_ledger(f"sqlite:///{tmp_path}/{name}").close()
    (tmp_path / "0.db").write_text("notes", encoding="utf-8")
    (tmp_path / "1.db").mkdir()
    for path in ("missing.db", "new/folders/missing.db"):
        with pytest.raises(LedgerMissingError) as missing:
            open_ledger(f"sqlite:///{tmp_path}/{path}", create=False)
        assert str(missing.value).endswith(f"near it: {tmp_path}/a.db, {tmp_path}/b.db, {tmp_path}/c.db")


def test_a_ledger_that_exists(tmp_path: Path) -> None:
    """A ledger that exists is opened, whether one may be made or not."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    open_ledger(url).close()
    open_ledger(url, create=False).close()


def test_a_missing_database_beside_its_log(tmp_path: Path) -> None:
    """Where the newest entries are in a log without its database, the message names the log."""
    path = tmp_path / "ledger.db"
    ledger = open_ledger(f"sqlite:///{path}")
    ledger.save_checkpoint(0, b"state")
    log = path.with_name("ledger.db-wal").read_bytes()
    ledger.close()
    path.unlink()
    path.with_name("ledger.db-wal").write_bytes(log)
    with pytest.raises(LedgerUnusableError, match=r"ledger\.db-wal"):
        open_ledger(f"sqlite:///{path}", create=False)
