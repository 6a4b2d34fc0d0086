"""Which charts there are, and what they show."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pytest
from matplotlib.figure import Figure

from qa_lightning.report.drawing import to_svg
from qa_lightning.report.figures import draw_charts, draw_figures
from qa_lightning.runs.history import Curves
from tests.report.runs import answered, some, table

CURVES: Curves = {
    "train/loss": (np.array([1.0, 2.0, 3.0]), np.array([3.0, 2.0, 1.5])),
    "val/f1": (np.array([3.0]), np.array([50.0])),
}
GROUPS = ["question_type", "answer_length", "answer_position", "context_length"]


def test_a_run_with_everything_has_every_figure() -> None:
    curves = CURVES | {"val/exact_match": (np.array([1.0, 3.0]), np.array([20.0, 40.0]))}
    figures = draw_figures(table(), {"null_score_diff_threshold": 0.0, "step": 3}, curves)
    assert list(figures) == [
        "loss",
        "scores",
        *GROUPS,
        "windows",
        "threshold",
        "precision_recall",
        "reliability",
        "risk_coverage",
    ]
    assert all(isinstance(figure, Figure) for figure in figures.values())


def test_a_figure_without_data_is_left_out() -> None:
    answerable = [prediction for prediction in some() if prediction.question.golds and prediction.question.windows == 1]
    # One point is no curve; there is nothing unanswerable, and no question of two windows.
    assert list(draw_figures(table(answerable), {}, CURVES)) == ["loss", *GROUPS, "reliability", "risk_coverage"]
    assert list(draw_figures(table([answered(0, None, "Ada")]), {}, {})) == []
    assert list(draw_figures(table([]), {}, {})) == []


def test_without_null_odds_no_threshold_can_be_shown() -> None:
    without = [answered(0, ["Ada"], "Ada"), answered(1, [], "Ada")]
    assert list(draw_figures(table(without), {}, {})) == [*GROUPS, "reliability", "risk_coverage"]


def test_only_unanswerable_questions_have_no_precision() -> None:
    figures = draw_figures(table([answered(0, [], "Ada", null_odds=-1.0)]), {}, {})
    assert list(figures) == ["question_type", "context_length", "threshold", "reliability", "risk_coverage"]


def test_the_words_state_the_numbers() -> None:
    charts = {chart.name: chart for chart in draw_charts(table(), {}, {})}
    # All questions are on one paragraph, which says nothing of others.
    assert charts["windows"].words == "1: F1 40.0, EM 40.0, 5 questions; 2: F1 66.7, EM 0.0, 1 questions"
    # F1: with the first two answered, 1 + 2/3, and the two unanswerable ones left out, 2; over six questions. For
    # EM, answering the second gains nothing, and of equally good thresholds the lowest is taken.
    assert charts["threshold"].words == "best F1: 61.11 at −1.50; best EM: 50.00 at −2.50"
    assert "Expected calibration error: " in charts["reliability"].note


def test_marks_stand_at_the_threshold_in_use_and_at_the_best() -> None:
    figure = draw_figures(table(), {"null_score_diff_threshold": 0.25}, {})["threshold"]
    upright = {line.get_label(): line.get_xdata() for line in figure.axes[0].lines if len(set(line.get_xdata())) == 1}
    assert {label: next(iter(places)) for label, places in upright.items()} == {
        "in use: 0.25": 0.25,
        "best for F1: −1.50": -1.5,
    }


def test_bars_are_the_groups_means() -> None:
    axes = draw_figures(table(), {}, {})["windows"].axes[0]
    f1, exact = ([bar.get_width() for bar in bars] for bars in axes.containers)
    assert f1 == pytest.approx([40.0, 200 / 3])
    assert exact == [40.0, 0.0]


def test_groups_on_several_paragraphs_have_intervals() -> None:
    right = [answered(row, ["Ada"], "Ada", context=f"Ada {row}") for row in range(4)]
    wrong = [answered(row, ["Ada"], "4", context="Ada 4", windows=2) for row in range(4, 6)]
    mixed = [answered(row, ["Ada"], "Ada" if row % 2 else str(row), context=f"Ada {row}") for row in range(6, 10)]
    charts = {chart.name: chart for chart in draw_charts(table([*right, *wrong, *mixed]), {}, {})}
    one, two = charts["windows"].groups
    assert one.f1_interval is not None
    assert 25 <= one.f1_interval[0] < one.f1 < one.f1_interval[1] == 100
    assert (two.count, two.f1_interval) == (2, None)
    low, high = one.f1_interval
    assert (
        f"1: F1 75.0 ({low:.1f} to {high:.1f}), EM 75.0 ({low:.1f} to {high:.1f}), 8 questions"
        in charts["windows"].words
    )
    (whiskers,) = charts["windows"].figure.axes[0].collections
    assert whiskers.get_segments()[0][:, 0].tolist() == pytest.approx([low, high])


def typed(label: str) -> pa.Table:
    """A table of one question whose type has this name."""
    made = table([answered(0, ["Ada"], "Ada")])
    column = made.schema.get_field_index("question_type")
    return made.set_column(column, made.schema[column], [[label]])


def test_a_picture_is_the_same_each_time() -> None:
    first, second = ([to_svg(figure, name) for name, figure in draw_figures(table(), {}, {}).items()] for _ in range(2))
    assert first == second


@pytest.mark.parametrize("label", ["<i>&'\"", "$\\alpha$", "何", "ماذا", "</svg>-->"])
def test_names_from_data_are_text_in_pictures(label: str) -> None:
    svg = to_svg(draw_figures(typed(label), {}, {})["question_type"], "question_type")
    nodes = list(ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"))
    assert label in [node.text for node in nodes]


def test_a_long_name_is_cut() -> None:
    svg = to_svg(draw_figures(typed("x" * 500), {}, {})["question_type"], "question_type")
    assert "x" * 15 + "…" in svg
    assert "x" * 16 not in svg


def test_pictures_take_the_pages_colours() -> None:
    svg = to_svg(draw_figures(table(), {}, {})["question_type"], "question_type")
    assert "var(--accent)" in svg
    assert "#1c63b7" not in svg


def test_drawing_leaves_no_trace_in_matplotlibs_settings() -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    to_svg(draw_figures(table(), {}, CURVES)["question_type"], "x")
    assert dict(mpl.rcParams) == before
