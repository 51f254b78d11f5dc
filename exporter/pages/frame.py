"""What all pages have in common: the frame around their content, and the one stylesheet.

A page is a template in `templates/`, which extends `base.html`. Everything in it is escaped, and a name that the
template does not get is an error. No page has a script. The stylesheet's address holds a digest of its content, so
browsers keep it for a year and still take a new one at once.
"""

import hashlib
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any, Final, NamedTuple

from jinja2 import DictLoader, Environment, StrictUndefined

from exporter.pages import texts
from exporter.pages.links import OwnLinks, own_links, relative_root

_STYLESHEET: Final = "style.css"


class NavigationItem(NamedTuple):
    """A page that every page links to."""

    path: str
    title: str


class Frame:
    """Renders templates. All methods can be called on any thread."""

    def __init__(self, version: str, navigation: Sequence[NavigationItem], external_url: str | None = None) -> None:
        """Reads the templates and the stylesheet. `navigation` has pages that exist, and no others."""
        package = resources.files(__package__)
        sources = {file.name: file.read_text(encoding="utf-8") for file in package.joinpath("templates").iterdir()}
        self.stylesheet: Final = package.joinpath("static", _STYLESHEET).read_bytes()
        digest = hashlib.sha256(self.stylesheet).hexdigest()[:16]
        self.stylesheet_path: Final = f"/static/{digest}/{_STYLESHEET}"
        self._external_url = external_url
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
            time=texts.time, iso_time=texts.iso_time, number=texts.number, size=texts.size, shown=texts.shown
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
        text = self._environment.get_template(template).render(
            values,
            links=links,
            here=raw_path,
            # Relative also with an external URL: the policy allows styles of the same origin alone, and the page can
            # be opened under another name.
            stylesheet=relative_root(raw_path) + self.stylesheet_path.removeprefix("/"),
        )
        return text.encode(errors="replace")
