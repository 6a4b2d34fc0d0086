"""The page of a suite: text stays text, and it can be read on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qa_lightning.suites.heat_map import heat_maps
from qa_lightning.suites.page import render_suite_page, write_suite_page
from qa_lightning.suites.results import ResultRow
from qa_lightning.suites.suite import Suite
from qa_lightning.suites.suite_file import parse_suite, read_suite
from tests.report.chromium import chromium
from tests.report.runs import HOSTILE

LONG = "organisation/a-model-of-a-very-long-name-that-goes-on-and-on-base-cased"


def made_rows(suite: Suite, *models: str) -> list[ResultRow]:
    """Rows with a score of its own for each set and model, from 20 on."""
    rows = []
    for number, model in enumerate(models):
        for place, each in enumerate(suite.sets):
            f1 = 20.0 + 10 * number + place
            about = (str(each.language), each.question_language or str(each.language), each.rule_title, "file.json")
            ends = (f1 - 1, f1 + 1)
            rows.append(ResultRow(model, "set", each.name, (each.name,), 1000, f1 - 10, f1, ends, ends, *about))
        for name, sets in suite.averages.items():
            rows.append(ResultRow(model, "average", name, sets, 9000, 30.0, 40.0, (29.0, 31.0), (39.0, 41.0)))
    return rows


def test_no_text_is_markup() -> None:
    suite = parse_suite("sets: {a: a.json, b: b.json}", "s.yaml", "s", None)
    hostile = replace(suite, title=HOSTILE)
    rows = [replace(row, name=HOSTILE, source=HOSTILE, rule=HOSTILE) for row in made_rows(suite, HOSTILE)]
    page = render_suite_page(hostile, rows, [HOSTILE])
    assert "hacked" in page
    for markup in ("<script", "<img", "<b ", "<!--"):
        assert markup not in page
    assert "&lt;script&gt;window.hacked" in page


def test_the_same_results_make_the_same_page(tmp_path: Path) -> None:
    suite = read_suite("xquad")
    for name in ("a", "b"):
        write_suite_page(tmp_path / name, suite, made_rows(suite, "m", "n"))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_tints_go_from_the_lowest_score_to_the_highest() -> None:
    suite = parse_suite("sets: {a: a.json, b: b.json, c: c.json}\naverages: {}", "s.yaml", "s", None)
    f1, exact = heat_maps(suite, made_rows(suite, "m"))
    assert (f1.lowest, f1.highest, exact.lowest) == (20, 22, 10)
    assert [(name, cells[0].text, cells[0].share) for name, cells in f1.rows] == [
        ("a", "20.0", 0.0),
        ("b", "21.0", 0.5),
        ("c", "22.0", 1.0),
    ]
    assert f1.rows[0][1][0].note == "19.0 – 21.0"
    (single, _) = heat_maps(suite, made_rows(suite, "m")[:1])
    assert single.rows[0][1][0].share == 0.0


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize(("name", "models"), [("xquad", ["m", LONG]), ("mlqa", [LONG]), ("squad-adversarial", ["m"])])
def test_in_a_browser(browser: Any, tmp_path: Path, name: str, models: list[str], width: int) -> None:
    suite = read_suite(name)
    path = tmp_path / "results.html"
    write_suite_page(path, suite, made_rows(suite, *models), ["left out"])
    complaints: list[str] = []
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: complaints.append(request.url))
    page.goto(path.as_uri())
    assert complaints == [path.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") == width
    if name == "mlqa":  # whole on every screen
        grids = page.locator(".grid").all()
        assert len(grids) == 2
        assert all(grid.evaluate("box => box.scrollWidth <= box.clientWidth") for grid in grids)
        assert page.locator(".heat").first.locator("tbody tr").count() == 8
    colors = [
        page.locator(".heat td[style]").nth(i).evaluate("cell => getComputedStyle(cell).backgroundColor")
        for i in (0, -1)
    ]
    assert colors[0] != colors[1]
    page.locator("summary", has_text="LaTeX").click()
    assert "\\toprule" in page.locator("pre").first.inner_text()
    page.close()
