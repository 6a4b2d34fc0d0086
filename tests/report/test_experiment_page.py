"""The page of an experiment, as text and in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qa_lightning.report.experiment_drawing import spread_chart
from qa_lightning.report.experiment_page import ExperimentPage, Part, Picture, write_experiment
from qa_lightning.runs.comparison_tables import ComparisonTable
from qa_lightning.runs.spread import scores_of_runs, spread_of
from tests.report.chromium import chromium
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
    table = ComparisonTable(HOSTILE, ("run", "f1", "exact_match", "HasAns_f1", "seconds"), [(HOSTILE, *"1234")])
    parts = [Part("Scores", [HOSTILE], [picture], [table], HOSTILE)]
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
    page = browser.new_page(viewport={"width": width, "height": 844})
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(url)
    assert page.locator("figure svg").count() == 1
    assert page.locator("figure svg").bounding_box()["width"] > 200
    assert "seed" in page.locator("figure svg").text_content()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("window.hacked") is None
    assert (complaints, requests) == ([], [url])
    page.close()
