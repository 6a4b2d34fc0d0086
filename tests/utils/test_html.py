"""Pages: what they may load, their colours, and that text in them is text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import qa_lightning
from qa_lightning.utils.html import (
    PALETTE,
    content_policy,
    html_environment,
    palette_css,
    read_resource,
    source_hash,
    style_sheet,
)


def test_a_policy_allows_nothing_but_what_is_named() -> None:
    policy = content_policy(style="'self'", script=source_hash("x"))
    assert policy == (
        "default-src 'none'; style-src 'self'; script-src 'sha256-LXEWQrcmsEQBYnyp+6wy9chTD7GQPMTbAiWHF5IaSIE='; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    assert content_policy(frames=False).endswith("; frame-ancestors 'none'")


def test_every_colour_has_a_light_and_a_dark_one() -> None:
    light, dark = palette_css().split("@media (prefers-color-scheme: dark)")
    for name, (on_light, on_dark) in PALETTE.items():
        assert f"--{name}: {on_light};" in light
        assert f"--{name}: {on_dark};" in dark


@pytest.mark.parametrize("room", ["report", "demo", "inspection", "utils"])
def test_pages_use_colours_of_the_palette_and_no_others(room: str) -> None:
    style = Path(qa_lightning.__file__).with_name(room).joinpath("page.css").read_text(encoding="utf-8")
    assert set(re.findall(r"var\(--([\w-]+)\)", style)) <= set(PALETTE)
    assert not re.search(r"#[0-9a-f]{6}\b", style)


def test_a_style_sheet_stands_behind_the_palette_and_what_all_pages_share() -> None:
    shared, own = (read_resource(f"qa_lightning.{room}", "page.css") for room in ("utils", "report"))
    assert style_sheet("qa_lightning.report", "page.css") == palette_css() + shared + own


def test_what_is_put_into_a_template_is_text() -> None:
    environment = html_environment("qa_lightning.report")
    assert environment.from_string("{{ x }}").render(x="<b>&") == "&lt;b&gt;&amp;"
