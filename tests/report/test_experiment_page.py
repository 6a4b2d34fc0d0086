"""The page of an experiment, as text and in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qa_lightning.report.experiment_drawing import LearningPoint, learning_curve_chart, spread_chart
from qa_lightning.report.experiment_page import ExperimentPage, Part, Picture, write_experiment
from qa_lightning.runs.comparison_tables import ComparisonTable
from qa_lightning.runs.spread import scores_of_runs, spread_of
from tests.report.chromium import OfflinePage, chromium
from tests.report.runs import HOSTILE
from tests.report.test_comparison_page import Cells
from tests.runs.test_comparison import table_of


def make_page(folder: Path) -> Path:
    scores = np.random.default_rng(0).integers(0, 101, (3, 12)).tolist()
    golds = [[] if place % 3 == 0 else [{"text": "gold"}] for place in range(12)]
    spreads = spread_of(
        scores_of_runs({f"seed-{i}": table_of(f1, range(12), golds=golds) for i, f1 in enumerate(scores)})
    )
    picture = Picture("Scores over seeds", HOSTILE, HOSTILE, spread_chart(spreads))
    points = [LearningPoint(size, size / 3, (size / 4, size / 2), (size / 3, size / 2)) for size in (9.0, 90.0, 99.0)]
    curve = learning_curve_chart(points, lambda sizes: sizes / 3, 198.0, HOSTILE)
    pictures = [picture, Picture("Over training questions", "", HOSTILE, curve)]
    table = ComparisonTable(HOSTILE, ("run", "f1", "exact_match", "HasAns_f1", "seconds"), [(HOSTILE, *"1234")])
    parts = [Part("Scores", [HOSTILE], pictures, [table], HOSTILE)]
    write_experiment(folder / "page.html", ExperimentPage(HOSTILE, ["3 seeds"], parts, f"seeds --output {HOSTILE}"))
    return folder / "page.html"


def test_nothing_of_the_data_is_markup_and_nothing_is_loaded(tmp_path: Path) -> None:
    found = Cells(make_page(tmp_path).read_text(encoding="utf-8"))
    assert [HOSTILE, *"1234"] in found.rows
    assert not {"script", "img", "b"} & set(found.tags)
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert {value for name, value in found.attributes if name in ("href", "src")} <= {"data:,"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_all_of_it_offline(browser: Any, tmp_path: Path, width: int) -> None:
    url = make_page(tmp_path).as_uri()
    opened = OfflinePage(browser, url, width)
    page = opened.page
    first, second = page.locator("figure svg").all()
    assert all(figure.bounding_box()["width"] > 200 for figure in (first, second))
    assert "seed" in first.text_content()
    # 90 stands too near to 99 for a label of its own.
    assert {"9", "99"} <= set(second.locator("text").all_text_contents())
    assert "90" not in second.locator("text").all_text_contents()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("window.hacked") is None
    assert (opened.complaints, opened.requests) == ([], [url])
    page.close()
