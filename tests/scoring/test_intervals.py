import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from qa_lightning.scoring.intervals import bootstrap_intervals, cluster_sums


def slow(scores, clusters, resamples, seed, confidence):
    """A loop over resamples, over the drawn clusters, over their questions."""
    generator = np.random.default_rng(seed)
    numbers = sorted(set(clusters))
    means = []
    for _ in range(resamples):
        total, count = 0.0, 0
        for place in generator.integers(len(numbers), size=len(numbers)):
            for score, cluster in zip(scores, clusters, strict=True):
                if cluster == numbers[place] and not math.isnan(score):
                    total, count = total + score, count + 1
        if count:
            means.append(total / count)
    return tuple(np.percentile(means, (50 * (1 - confidence), 50 * (1 + confidence))))


def test_one_cluster_gives_the_mean_itself():
    assert bootstrap_intervals({"f1": np.array([0.0, 100.0, 50.0, 25.0])}, np.full(4, 7)) == {"f1": (43.75, 43.75)}


def test_constant_scores_have_no_spread():
    intervals = bootstrap_intervals({"f1": np.full(30, 75.0)}, np.arange(30) // 4)
    assert intervals == {"f1": (75.0, 75.0)}


def test_two_unequal_clusters_by_hand():
    # Both clusters: 100 / 4. Twice the first: 200 / 2; twice the second: 0 / 6. Shares: 1/2, 1/4, 1/4.
    scores = {"f1": np.array([100.0, 0.0, 0.0, 0.0])}
    clusters = np.array([0, 1, 1, 1])
    assert bootstrap_intervals(scores, clusters) == {"f1": (0.0, 100.0)}
    assert bootstrap_intervals(scores, clusters, confidence=0.4) == {"f1": (25.0, 25.0)}


def test_a_score_counts_only_the_questions_it_concerns():
    # Half of the second score's resamples hold no question, or twice the one it has.
    nan = math.nan
    scores = {"f1": np.array([50.0, 0.0, 0.0]), "HasAns_f1": np.array([50.0, nan, nan])}
    intervals = bootstrap_intervals(scores, np.array([0, 1, 1]))
    assert intervals == {"f1": (0.0, 50.0), "HasAns_f1": (50.0, 50.0)}


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(-3, 4), st.one_of(st.just(math.nan), st.integers(0, 400).map(lambda x: x / 4))),
        min_size=1,
        max_size=12,
    ).filter(lambda rows: not all(math.isnan(score) for _, score in rows)),
    st.integers(0, 99),
    st.sampled_from([0.5, 0.9, 0.95]),
)
def test_equals_a_slow_loop_on_the_same_draws(rows, seed, confidence):
    clusters, scores = (np.array(column) for column in zip(*rows, strict=True))
    # Quarters add up without rounding, in any order.
    wanted = slow(scores, clusters, 40, seed, confidence)
    fast = bootstrap_intervals({"f1": scores}, clusters, resamples=40, seed=seed, confidence=confidence)
    assert fast["f1"] == wanted


def test_equals_a_slow_loop_on_more_draws_than_are_made_at_once():
    rng = np.random.default_rng(1)
    scores = rng.integers(0, 400, 600) / 4
    draws = np.random.default_rng(5)
    pairs = scores.reshape(300, 2)
    means = [pairs[draws.integers(300, size=300)].sum() / 600 for _ in range(2000)]
    wanted = tuple(np.percentile(means, (2.5, 97.5)))
    intervals = bootstrap_intervals({"f1": scores}, np.arange(600) // 2, resamples=2000, seed=5)
    assert intervals["f1"] == pytest.approx(wanted, abs=1e-12)


def test_agrees_with_scipy_within_monte_carlo_error():
    rng = np.random.default_rng(2)
    clusters = np.sort(rng.integers(0, 120, 600))
    scores = rng.normal(size=120)[clusters] * 20 + rng.normal(size=600) * 5 + 60
    sums, sizes = cluster_sums(np.array([scores, np.ones(600)]), clusters)
    resamples = 10_000
    theirs = stats.bootstrap(
        (sums, sizes),
        lambda total, size, axis: total.sum(axis=axis) / size.sum(axis=axis),
        paired=True,
        method="percentile",
        n_resamples=resamples,
        rng=3,
    )

    def gaps(interval):
        """How far an end is, as a share of their resamples, from where the percentile should be."""
        below = [(theirs.bootstrap_distribution < end).mean() for end in interval]
        return [abs(share - wanted) for share, wanted in zip(below, (0.025, 0.975), strict=True)]

    # The share of the true distribution below our end varies as sqrt(q (1 - q) / n), and so does theirs below
    # that point: together sqrt(2 q (1 - q) / n). Four of these are passed once in 16,000 draws.
    bound = 4 * math.sqrt(2 * 0.025 * 0.975 / resamples)
    assert max(gaps(bootstrap_intervals({"f1": scores}, clusters, resamples=resamples)["f1"])) < bound
    # The bound tells apart what it should: questions drawn one by one give too narrow an interval.
    assert min(gaps(bootstrap_intervals({"f1": scores}, np.arange(600), resamples=resamples)["f1"])) > bound


def test_asking_every_question_twice_makes_nothing_surer():
    rng = np.random.default_rng(4)
    scores, clusters = rng.integers(0, 400, 90) / 4, rng.integers(0, 30, 90)
    once = bootstrap_intervals({"f1": scores}, clusters)
    assert bootstrap_intervals({"f1": np.repeat(scores, 2)}, np.repeat(clusters, 2)) == once


def test_the_seed_decides():
    rng = np.random.default_rng(6)
    scores, clusters = {"f1": rng.random(200)}, rng.integers(0, 50, 200)
    assert bootstrap_intervals(scores, clusters, seed=1) == bootstrap_intervals(scores, clusters, seed=1)
    assert bootstrap_intervals(scores, clusters, seed=1) != bootstrap_intervals(scores, clusters, seed=2)


def test_covers_the_true_mean_as_often_as_it_says():
    # 400 samples of 60 clusters whose questions lean the same way. The interval falls a little short of 95 %
    # with so few clusters; a binomial share of 0.95 varies by 0.011.
    rng = np.random.default_rng(7)
    clusters = np.repeat(np.arange(60), 4)
    covered = 0
    for seed in range(400):
        scores = rng.normal(size=60)[clusters] + rng.normal(size=240)
        low, high = bootstrap_intervals({"f1": scores}, clusters, resamples=500, seed=seed)["f1"]
        covered += low <= 0 <= high
    assert 0.95 - 4 * 0.011 < covered / 400 < 0.95 + 4 * 0.011


def test_cluster_sums():
    columns = np.array([[1.0, 2.0, 4.0], [0.0, 1.0, 1.0]])
    assert cluster_sums(columns, np.array([9, -2, 9])).tolist() == [[2.0, 5.0], [1.0, 1.0]]
