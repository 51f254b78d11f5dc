"""The URLs of ledgers."""

from pathlib import Path

import pytest

from exporter.errors import LedgerUnusableError
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
