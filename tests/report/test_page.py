"""The page as a file: what it holds, that data stays text, its size, and that it is the same each time."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from qa_lightning.report.about import About
from qa_lightning.report.page import ScoreRow, other_scores, render, score_rows, write_page
from qa_lightning.runs.run_info import Command
from tests.report.runs import HOSTILE, answered, many, table

METRICS: dict[str, Any] = {
    "epoch": 1,
    "step": 1551,
    "loss": 0.5,
    "exact_match": 60.0,
    "exact_match_ci95": [50.0, 70.0],
    "f1": 65.0,
    "f1_ci95": [55.5, 75.25],
    "total": 1200,
    "HasAns_f1": 80.0,
    "NoAns_exact": 30.0,
    "best_f1": 66.0,
    "best_f1_thresh": -1.5,
    "null_score_diff_threshold": 0.0,
}


class Elements(HTMLParser):
    """Collects a page's elements and what they say."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, list[str]] = {}
        self._open = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = tag

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        self.inside.setdefault(self._open, []).append(data)


def test_scores_say_where_they_were_taken() -> None:
    assert score_rows(METRICS) == [
        ScoreRow("all", "1,200", "60.00", "50.00 – 70.00", "65.00", "55.50 – 75.25", "0.00"),
        ScoreRow("answerable", f1="80.00", threshold="0.00"),
        ScoreRow("unanswerable", exact="30.00", threshold="0.00"),
        ScoreRow("all, best F1", f1="66.00", threshold="−1.50", tuned=True),
    ]
    assert other_scores(METRICS) == [("loss", "0.50")]
    assert score_rows({"f1": 1.0}) == [ScoreRow("all", f1="1.00")]


def test_a_tuned_score_is_called_that_on_the_page() -> None:
    assert "tuned on these very questions" in render("run", table(), METRICS, {})
    without = {key: value for key, value in METRICS.items() if not key.startswith("best_")}
    assert "tuned on" not in render("run", table(), without, {})


def test_without_scores_there_is_no_table_of_them() -> None:
    assert 'id="scores"' in render("run", table(), METRICS, {})
    assert 'id="scores"' not in render("run", table(), {}, {})


def test_the_same_run_gives_the_same_page() -> None:
    assert render("run", table(), METRICS, {}) == render("run", table(), METRICS, {})


def test_nothing_but_the_pages_own_script_may_run_and_nothing_is_fetched() -> None:
    page = render("run", table(), METRICS, {})
    elements = Elements(page)
    policy = next(found["content"] for tag, found in elements.tags if found.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    script = elements.inside["script"][-1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in policy
    for tag, found in elements.tags:
        assert "src" not in found, tag
        assert (found.get("href") or "#").startswith(("#", "data:,")), tag
        assert not [name for name in found if name.startswith("on")], tag
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", script)


def test_hostile_text_makes_no_element() -> None:
    hostile = answered(0, [HOSTILE], HOSTILE, context=f"{HOSTILE} Ada", question=HOSTILE, name=HOSTILE)
    plain = answered(0, ["Ada"], "Ada", context="one Ada", question="who", name="x")
    scores = {"f1": 1.0}
    bad, good = (
        Elements(render(name, table([prediction]), scores | {name: 2.0}, {}))
        for name, prediction in ((HOSTILE, hostile), ("x", plain))
    )
    assert HOSTILE in bad.inside["h1"]

    def but_for_pictures(elements: Elements) -> list[str]:
        return [tag for tag, _ in elements.tags if tag not in ("path", "use", "g", "text", "rect")]

    assert but_for_pictures(bad) == but_for_pictures(good)


def test_a_part_of_the_questions_is_called_that() -> None:
    assert "Here are the first" not in render("run", table(), {}, {})
    assert "Here are the first 2 of 6 questions" in render("run", table(), {}, {}, questions=2)


def test_how_the_run_was_made_is_said() -> None:
    command = Command("program fit --x '<b>'", "2026-11-30T04:19:58+00:00", {"torch": "2.13"})
    about = About(
        "bert<i>", {"training": "a.json; 5 questions"}, "30 November 2026", (command, command), {"x": "<u>"}, True
    )
    page = render("run", table(), METRICS, {}, about=about)
    said = Elements(page).inside
    assert said["pre"] == ["program fit \\\n  --x '<b>'"] * 2
    assert "bert<i>" in said["dd"]
    assert "a.json; 5 questions" in said["dd"]
    assert [text for text in said["code"] if text.strip()] == ["x", "<u>"]
    assert "Began on 30 November 2026, 04:19 UTC, with" in said["p"]
    assert "torch 2.13" in said["p"]
    assert "Every setting is the default." in render(
        "run", table(), METRICS, {}, about=About(commands=(command,), all_known=True)
    )
    assert "How it was made" not in render("run", table(), METRICS, {})


def test_nothing_at_all_makes_a_page() -> None:
    assert "0 questions" in render("run", table([]), {}, {})


@pytest.mark.slow
def test_ten_thousand_questions_take_less_than_ten_megabytes(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_page(path, "run", table(many(10_000, 2_000, 750, 20)), METRICS, {})
    assert path.stat().st_size < 10_000_000
    assert "Here are the first" not in path.read_text()


@pytest.mark.slow
def test_where_contexts_are_long_fewer_questions_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_page(path, "run", table(many(300, 300, 30_000, 5, letter="字")), METRICS, {})
    assert path.stat().st_size < 10_000_000
    shown = re.search(r"Here are the first (\d+) of 300 questions", path.read_text())
    assert shown
    assert 80 <= int(shown[1]) < 100
