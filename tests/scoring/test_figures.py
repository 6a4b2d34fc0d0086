"""Names of figures, their intervals and thresholds: written, and read again."""

from __future__ import annotations

import pytest

from qa_lightning.scoring.figures import Figure, mean_over_sets, name_metrics, read_figures, read_thresholds


def test_what_is_written_is_read_again() -> None:
    scores = {"f1": 70.0, "best_f1": 72.0, "best_f1_thresh": -1.25, "total": 240.0, "null_score_diff_threshold": 3.0}
    written = name_metrics("val", "en", scores, {"f1": (65.125, 74.5)})
    assert written == {
        "val/en/f1": 70.0,
        "val/en/best_f1": 72.0,
        "val/en/best_f1_thresh": -1.25,
        "val/en/total": 240.0,
        "val/en/null_score_diff_threshold": 3.0,
        "val/en/f1_ci95": [65.125, 74.5],
    }
    assert list(read_figures(written).values()) == [
        Figure("val/en/f1", 70.0, (65.125, 74.5), threshold=3.0),
        Figure("val/en/best_f1", 72.0, threshold=-1.25, tuned=True),
        Figure("val/en/total", 240.0),
    ]
    assert dict(read_thresholds(written)) == {"val/en/best_f1_thresh": -1.25}


def test_one_set_has_no_name_and_sets_keep_their_own_thresholds() -> None:
    written = name_metrics("val", "", {"f1": 1.0}, {}) | {"val/en/f1": 2.0, "val/en/null_score_diff_threshold": 0.5}
    assert [(figure.name, figure.threshold) for figure in read_figures(written).values()] == [
        ("val/f1", None),
        ("val/en/f1", 0.5),
    ]


@pytest.mark.parametrize("prefix", ["", "test/"])
@pytest.mark.parametrize(("used", "tuned"), [(1.25, True), (1.250001, True), (1.3, False)])
def test_the_threshold_in_use_may_be_the_best_one(prefix: str, used: float, tuned: bool) -> None:
    metrics = {f"{prefix}f1": 70.0, f"{prefix}null_score_diff_threshold": used, f"{prefix}best_f1_thresh": 1.25}
    assert read_figures(metrics)[f"{prefix}f1"] == Figure(f"{prefix}f1", 70.0, None, used, tuned)


def test_neither_counts_nor_losses_are_taken_at_a_threshold() -> None:
    metrics = {"loss": 0.5, "total": 3, "HasAns_total": 2, "epoch": 1, "step": 9, "null_score_diff_threshold": 0.0}
    assert all(figure.threshold is None for figure in read_figures(metrics).values())


def test_figures_as_text() -> None:
    assert (Figure("step", 12345).text(), Figure("HasAns_total", 5928.0).text()) == ("12,345", "5,928")
    assert (Figure("val/f1", 38.456).text(), Figure("f1", 1.0).interval_text()) == ("38.46", "")
    assert Figure("f1", 1.0, (0.5, 2.0)).interval_text() == "0.50 – 2.00"


def test_each_set_counts_as_much_in_a_mean() -> None:
    small, large = {"f1": 60.0, "exact_match": 50.0, "total": 2.0}, {"f1": 90.0, "exact_match": 80.0, "total": 98.0}
    assert mean_over_sets({"vi": small, "en": large}) == {"mean_exact_match": 65.0, "mean_f1": 75.0}
    assert mean_over_sets({"vi": small, "en": {"total": 0.0}}) == {}
    assert mean_over_sets({"": small}) == mean_over_sets({}) == {}
    assert read_figures({"val/mean_f1": 75.0}) == {"val/mean_f1": Figure("val/mean_f1", 75.0)}
