"""Pages of HTML: one Jinja environment, one palette, and what a page may load."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment

PALETTE = {
    "ground": ("#f7f8f9", "#13161a"),
    "surface": ("#ffffff", "#1b1f25"),
    "ink": ("#1d2430", "#e7eaee"),
    "muted": ("#5c6675", "#9da7b4"),
    "line": ("#dfe3e8", "#313840"),
    "accent": ("#1c63b7", "#78b2f7"),
    "accent-soft": ("#c3d9f3", "#264a75"),
    "on-accent": ("#ffffff", "#10151b"),
    "second": ("#b45309", "#f0a64b"),
    "gold": ("#f7e3a6", "#54430f"),
    "gold-line": ("#94690a", "#e5bd4a"),
    "both": ("#dbe0c4", "#3c4a45"),
    "wrong": ("#b3261e", "#ff9b92"),
    "shade": ("#1d243033", "#000000a0"),
}
"""The colours of all pages by the name of their CSS variable: on a light ground, and on a dark one."""


def html_environment(package: str) -> Environment:
    """Makes a Jinja environment that escapes everything, and fails for a name that it does not know.

    Args:
        package: The package that holds the templates.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader(package, ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def style_sheet(package: str, file: str) -> str:
    """Reads a style sheet, with the palette and what all pages share in front of it.

    Args:
        package: The package that holds the file.
        file: Its name.
    """
    return palette_css() + read_resource("qa_lightning.utils", "page.css") + read_resource(package, file)


def palette_css() -> str:
    """Writes the palette as CSS variables, which follow the reader's choice of a light or a dark ground."""
    light, dark = ("".join(f" --{name}: {pair[i]};" for name, pair in PALETTE.items()) for i in (0, 1))
    return f":root {{{light} }}\n@media (prefers-color-scheme: dark) {{ :root {{{dark} }} }}\n"


def read_resource(package: str, file: str) -> str:
    """Reads a text file of a package."""
    return files(package).joinpath(file).read_text(encoding="utf-8")


def content_policy(*, frames: bool = True, **sources: str) -> str:
    """Writes a Content-Security-Policy by which a page loads nothing but what is named here.

    Args:
        frames: Whether other pages may show it in a frame; a policy within the page cannot forbid it.
        **sources: Where a kind of content may come from: ``style="'self'"``.
    """
    allowed = [f"{kind}-src {source}" for kind, source in sources.items()]
    closed = ["base-uri 'none'", "form-action 'none'", *([] if frames else ["frame-ancestors 'none'"])]
    return "; ".join(["default-src 'none'", *allowed, "img-src data:", *closed])


def source_hash(text: str) -> str:
    """The source by which a policy allows a script or a style of this text: ``'sha256-…'``."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
