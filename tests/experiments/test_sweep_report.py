"""The page of a sweep: what it says, that all of it is escaped, and that a browser shows it on a phone and a desk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qa_lightning.experiments.sweep_file import read_sweep
from qa_lightning.experiments.sweep_report import write_report
from qa_lightning.experiments.sweep_study import SweepStudy
from qa_lightning.report.sweep_drawing import choice_scale, number_scale
from tests.experiments.sweeps import LR, write_sweep
from tests.report.chromium import OfflinePage, chromium
from tests.report.runs import HOSTILE
from tests.report.test_comparison_page import Cells

PARAMETERS: dict[str, Any] = {
    "model.learning_rate": LR,
    "data": {"parameters": {"batch_size": {"values": [8, 16, 32, 64]}}},
    "name": {"values": [HOSTILE, "plain", "x" * 60]},
    "model.api_key": {"value": "open sesame"},
}
COMMAND = f"python -m qa_lightning sweep '{HOSTILE}'"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> SweepStudy:
    """Nine trials: six that ended, one of each other state, and one without a value."""
    folder = tmp_path_factory.mktemp("page")
    path = write_sweep(
        folder / "a & b.yaml",
        parameters=PARAMETERS,
        metric={"name": f"val/{HOSTILE}", "goal": "maximize"},
        early_terminate={"type": "hyperband", "min_iter": 2},
        run_cap=9,
    )
    made = SweepStudy(folder / "sweep", read_sweep(path))
    for number, state in enumerate(["complete"] * 6 + ["pruned", "fail", "running"]):
        trial = made.next(None)
        assert trial is not None
        run = made.run_of(number)
        run.mkdir()
        (run / "config.yaml").write_text(f"number: {number}\n")
        values = [50.0 + number, 60.125 + number] if state != "fail" else []
        for value in values:
            made.report(trial, value)
        if state != "running":
            made.finish(trial, state, values, 100.0)
    write_report(made, COMMAND)
    return made


def page_of(study: SweepStudy) -> str:
    return (study.folder / "sweep.html").read_text(encoding="utf-8")


def test_the_page_says_what_came_out(study: SweepStudy) -> None:
    text = page_of(study)
    assert "<title>a &amp; b</title>" in text
    assert "The best: val/" in text
    assert "Trial 5, in " in text
    assert "13 min of training" in text
    assert "the best of 7 trials is 65.12" in text  # pictures have no place for one that failed or has not ended
    rows = {row[0]: row[1:] for row in Cells(text).rows}
    assert len([name for name in rows if name.startswith("trial ")]) == 9
    first = [row[0] for row in Cells(text).rows if row[0].startswith("trial ")]
    assert first == ["trial 8", "trial 6", "trial 5", "trial 4", "trial 3", "trial 2", "trial 1", "trial 0", "trial 7"]
    assert rows["trial 5"][:2] == ["65.12", "complete"]
    assert rows["trial 5"][-2:] == ["2", "2 min"]
    assert [rows[f"trial {number}"][1] for number in (6, 7, 8)] == ["stopped", "failed", "not ended"]
    assert rows["trial 7"][0] == "–"
    assert {"model.learning_rate", "data.batch_size", "name"} <= {*rows}  # with their importance
    assert "Trials were compared after 2, 6, 18, 54, 162 … values; one in 3 went on." in text
    assert (study.folder / "best.yaml").read_text().endswith("number: 5\n")


def test_nothing_of_it_is_markup_or_a_secret(study: SweepStudy) -> None:
    text = page_of(study)
    found = Cells(text)
    assert not {"script", "img", "b"} & set(found.tags)
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert {value for name, value in found.attributes if name in ("href", "src")} <= {"data:,"}
    written = {path.name: path.read_bytes() for path in study.folder.rglob("*") if path.is_file()}
    assert {"sweep.parquet", "journal.log"} <= {*written}
    assert not [name for name, content in written.items() if b"sesame" in content]


def test_the_report_says_where_everything_is(study: SweepStudy) -> None:
    lines = write_report(study, COMMAND)
    assert lines[0] == "9 trials: 6 complete, 1 stopped, 1 failed, 1 not ended"
    assert lines[1].startswith("the best is trial 5: val/")
    assert lines[2].endswith(f"the page is {study.folder / 'sweep.html'}")


def test_a_page_without_trials(tmp_path: Path) -> None:
    study = SweepStudy(tmp_path / "sweep", read_sweep(write_sweep(tmp_path / "a.yaml")))
    assert write_report(study, "x")[0] == "0 trials: "
    assert "No trial has come to its end" in page_of(study)


def test_a_page_with_one_trial(tmp_path: Path) -> None:
    path = write_sweep(tmp_path / "a.yaml", parameters={"size": {"value": 1}}, run_cap=1)
    study = SweepStudy(tmp_path / "sweep", read_sweep(path))
    trial = study.next(None)
    assert trial is not None
    study.report(trial, 1.0)
    study.finish(trial, "complete", [1.0], 1.0)
    write_report(study, "x")
    assert "That takes 4 trials that ended" in page_of(study)


def test_scales() -> None:
    scale = number_scale("lr", np.array([1e-5, 1e-3, 1e-1, np.nan]), logarithmic=True)
    np.testing.assert_allclose(scale.places, [0, 0.5, 1, np.nan])
    assert [text for _, text in scale.ticks] == ["1e-05", "0.001", "0.1"]
    scale = number_scale("size", np.array([2.0, 4.0, 3.0]))
    assert list(scale.places) == [0, 1, 0.5]
    assert scale.ticks == [(0, "2"), (0.5, "3"), (1, "4")]
    assert number_scale("size", np.array([7.0])).ticks == [(0.5, "7")]
    scale = choice_scale("kind", ["b", "a"], ["a", "b", "c"])
    assert list(scale.places) == [0.5, 0]
    assert choice_scale("kind", ["a"], ["a"]).places[0] == 0.5


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_all_of_it_offline(browser: Any, study: SweepStudy, width: int) -> None:
    url = (study.folder / "sweep.html").as_uri()
    opened = OfflinePage(browser, url, width)
    page = opened.page
    *parts, trials = page.locator(".scroll").all()
    for part in [*parts, *([trials] if width < 500 else [])]:  # on a desk, the table of all trials may be scrolled
        scroll, client = part.evaluate("part => [part.scrollWidth, part.clientWidth]")
        assert scroll <= client, part.text_content()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    titles = page.locator("figure h3").all_text_contents()
    assert titles[:3] == ["The best so far", "All trials over all parameters", "Importance"]
    assert titles[3:] == ["model.learning_rate", "data.batch_size", "name"]
    for picture in page.locator("figure svg").all():
        box = picture.bounding_box()
        assert box["width"] > 250
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    assert (opened.complaints, opened.requests) == ([], [url])
    assert page.evaluate("window.hacked ?? null") is None
    page.close()
