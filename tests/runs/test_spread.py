import numpy as np
import pytest

from qa_lightning.runs.spread import scores_of_runs, spread_of
from qa_lightning.scoring.intervals import percentile_interval, resample_runs
from qa_lightning.utils.errors import UserError
from tests.runs.test_comparison import table_of


def test_mean_and_deviation_by_hand():
    tables = {"a": table_of([0, 100, 50, 50], [0, 0, 1, 1]), "b": table_of([100, 100, 50, 50], [0, 0, 1, 1])}
    spread = spread_of(scores_of_runs(tables))["f1"]
    assert spread.runs == (50.0, 75.0)
    assert spread.mean == 62.5
    assert spread.deviation == pytest.approx(25 / 2**0.5)
    # The means of both runs are 75 on the first paragraph and 50 on the other; of the runs alone 50, 100 and 50, 50.
    assert spread.over_questions == (50.0, 75.0)
    assert spread.interval == (50.0, 100.0)


def test_a_single_run_has_no_interval_over_runs():
    spread = spread_of(scores_of_runs({"a": table_of([0, 100], [0, 1])}))["f1"]
    assert (spread.mean, spread.deviation, spread.interval) == (50.0, None, None)


def test_runs_on_other_data_and_without_golds_are_refused():
    with pytest.raises(UserError, match="b is not on the data of a"):
        scores_of_runs({"a": table_of([0, 100], [0, 1]), "b": table_of([0], [0])})
    unknown = table_of([None], [0], golds=[None])
    with pytest.raises(UserError, match="a: no question has known answers"):
        scores_of_runs({"a": unknown})


def test_runs_vary_as_much_as_their_mean_does():
    # All questions are alike, so that only the runs vary: the variance of a mean of n is s² / n.
    values = np.array([10.0, 20.0, 60.0])
    drawn = resample_runs((np.repeat(values[:, None], 8, axis=1),), np.arange(8), resamples=100_000)[0]
    assert drawn.var() == pytest.approx(values.var(ddof=1) / 3, rel=0.03)
    assert drawn.mean() == pytest.approx(30.0, rel=0.02)


def test_questions_vary_as_in_the_bootstrap_over_paragraphs_where_runs_do_not():
    from qa_lightning.scoring.intervals import bootstrap_intervals

    scores, paragraphs = np.array([0.0, 100.0, 30.0, 80.0, 50.0]), np.array([0, 0, 1, 2, 2])
    (drawn,) = resample_runs((np.array([scores, scores]),), paragraphs, seed=3)
    assert percentile_interval(drawn) == bootstrap_intervals({"f1": scores}, paragraphs, seed=3)["f1"]


def test_paired_groups_draw_the_same_runs_and_the_others_do_not():
    a = np.repeat(np.array([[0.0], [100.0]]), 4, axis=1)
    first, second = resample_runs((a, a + 5), np.arange(4), paired=True)
    assert set((second - first).tolist()) == {5.0}
    first, second = resample_runs((a, a + 5), np.arange(4))
    assert set((second - first).tolist()) == {-95.0, 5.0, 105.0}


def test_a_question_that_a_score_does_not_concern_counts_in_no_sum():
    nan = np.nan
    scores = np.array([[50.0, nan, 0.0], [70.0, nan, 20.0]])
    (drawn,) = resample_runs((scores,), np.array([0, 1, 0]))
    # The second paragraph has no such question: a resample of it alone is left out.
    assert set(drawn.tolist()) == {25.0, 45.0}
    assert len(drawn) < 10_000
