"""What all pages have in common: the frame around their content, one stylesheet and one small script.

A page is a template in `templates/`, which extends `base.html`. Everything in it is escaped, and a name that the
template does not get is an error. The script adds the reader's own time to times in UTC, and no page needs it. The
addresses of both hold a digest of their content, so browsers keep them for a year and still take new ones at once.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from itertools import islice
from typing import Any, Final, NamedTuple

from jinja2 import DictLoader, Environment, StrictUndefined

from exporter.pages import texts
from exporter.pages.links import OwnLinks, own_links, relative_root
from exporter.plain_text import with_escapes

_PARTS: Final = 50
"""Parts of a page that are rendered without giving way. A row of a table has some ten."""
_STYLESHEET: Final = "style.css"
_SCRIPT: Final = "local-times.js"
_MEDIA_TYPES: Final = {_STYLESHEET: "text/css", _SCRIPT: "text/javascript"}


class NavigationItem(NamedTuple):
    """A page that every page links to."""

    path: str
    title: str


class StaticFile(NamedTuple):
    """A file that pages load."""

    content: bytes
    media_type: str


class Frame:
    """Renders templates. All methods can be called on any thread."""

    def __init__(
        self,
        version: str,
        navigation: Sequence[NavigationItem],
        external_url: str | None = None,
        give_way: Callable[[], None] = lambda: None,
    ) -> None:
        """Reads the templates and the stylesheet. `navigation` has pages that exist, and no others.

        `give_way` is called now and then while a page is rendered.
        """
        package = resources.files(__package__)
        sources = {file.name: file.read_text(encoding="utf-8") for file in package.joinpath("templates").iterdir()}
        files = {
            name: StaticFile(package.joinpath("static", name).read_bytes(), media_type)
            for name, media_type in _MEDIA_TYPES.items()
        }
        self._paths = {name: f"/static/{_digest(file.content)}/{name}" for name, file in files.items()}
        self.static_files: Final = {self._paths[name]: file for name, file in files.items()}
        """The files that pages load, by their paths."""
        self._external_url = external_url
        self._give_way = give_way
        self._environment = Environment(
            loader=DictLoader(sources),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        self._environment.globals.update(version=version, navigation=tuple(navigation))
        self._environment.filters.update(
            time=texts.time,
            short_time=texts.short_time,
            iso_time=texts.iso_time,
            ago=texts.ago,
            duration=texts.duration,
            number=texts.number,
            size=texts.size,
            shown=texts.shown,
            status_words=texts.status_words,
            escapes=with_escapes,
            shellquote=texts.shell_word,
        )
        # A mistake in a template shows at the start, and the first page does not wait for the compiler.
        for name in sources:
            self._environment.get_template(name)

    def links(self, raw_path: str) -> OwnLinks:
        """The addresses of our pages, as the page at a path links to them."""
        return own_links(self._external_url, raw_path)

    def render(self, template: str, raw_path: str, values: Mapping[str, Any]) -> bytes:
        """The page of a template. `raw_path`: the path of the page as it is in the request line."""
        links = self.links(raw_path)
        parts = self._environment.get_template(template).generate(
            values,
            links=links,
            here=raw_path,
            # Relative also with an external URL: the policy allows files of the same origin alone, and the page can
            # be opened under another name.
            stylesheet=relative_root(raw_path) + self._paths[_STYLESHEET].removeprefix("/"),
            script=relative_root(raw_path) + self._paths[_SCRIPT].removeprefix("/"),
        )
        texts = []
        while text := "".join(islice(parts, _PARTS)):
            texts.append(text)
            self._give_way()
        return "".join(texts).encode(errors="replace")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
