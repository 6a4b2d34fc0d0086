"""Whether runs differ on the same questions, by how much, and where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qa_lightning.runs.same_data import by_id, require_same_data, texts_of_golds
from qa_lightning.scoring.figures import HAS_ANSWER, NO_ANSWER
from qa_lightning.scoring.intervals import bootstrap_intervals, cluster_sums, percentile_interval, resample_runs
from qa_lightning.utils.arrays import BoolArray, FloatArray, IntArray
from qa_lightning.utils.errors import UserError

# Scores and their means, 0 to 100, that differ by less are the same but for rounding.
_SAME = 1e-9

# Shuffles are made as many at a time as hold this many signs; scipy takes some 200 bytes for each.
_SIGNS = 1 << 19


@dataclass(frozen=True, slots=True)
class Difference:
    """How much one score differs between two groups of runs; all figures but p-values are 0 to 100.

    Attributes:
        questions: How many questions the score is a mean of.
        a: The mean score of each run of A.
        b: The mean score of each run of B.
        difference: The mean of B's means minus that of A's.
        interval: Its 95 % interval: the bootstrap over paragraphs.
        interval_over_runs: That over runs and paragraphs, drawn together; None unless both groups have several runs.
        p_value: Of paired approximate randomisation by paragraph, two-sided.
        p_over_seeds: Of Welch's t-test on the means of runs, two-sided; None unless both groups have several
            runs, whose means vary in one of them at least.
    """

    questions: int
    a: tuple[float, ...]
    b: tuple[float, ...]
    difference: float
    interval: tuple[float, float]
    interval_over_runs: tuple[float, float] | None
    p_value: float
    p_over_seeds: float | None


@dataclass(frozen=True, slots=True)
class Change:
    """A question whose scores are not the same in both groups.

    Attributes:
        id: The question's id.
        question: Its text.
        golds: The published answers; empty for an unanswerable question.
        a: What each run of A answers; empty text: no answer.
        b: What each run of B answers.
        exact_match: B's exact match minus A's, each the mean over the group's runs, 0 to 100.
        f1: The same of F1.
    """

    id: str
    question: str
    golds: tuple[str, ...]
    a: tuple[str, ...]
    b: tuple[str, ...]
    exact_match: float
    f1: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two groups of runs, A and B, differ in.

    Attributes:
        a: The names of A's runs.
        b: The names of B's runs.
        differences: How much they differ, by the name of the score.
        paragraphs: How many distinct contexts there are.
        permutations: How many shuffles the p-values are from.
        exact: Whether these are all that there are.
        changes: The questions that the groups differ on, in the data's order.
    """

    a: tuple[str, ...]
    b: tuple[str, ...]
    differences: dict[str, Difference]
    paragraphs: int
    permutations: int
    exact: bool
    changes: list[Change]


def score_columns(table: pa.Table) -> dict[str, FloatArray]:
    """Collects the scores of each question, under the names that their means have in ``metrics.json``.

    Args:
        table: A table with the columns of `questions.SCHEMA` for golds and scores.

    Returns:
        ``exact_match`` and ``f1``, 0 to 100, ``[questions]``. Where there are unanswerable questions, also
        ``HasAns_exact``, ``HasAns_f1``, ``NoAns_exact`` and ``NoAns_f1``, as far as there are such questions.
        NaN stands where golds are not known or a score does not concern the question. Nothing where no golds
        are known.
    """
    exact, f1 = (table[name].to_numpy() for name in ("exact_match", "f1"))
    known = ~np.isnan(exact)
    answerable: BoolArray = pc.greater(pc.list_value_length(table["golds"]), 0).fill_null(False).to_numpy()
    has_answer, no_answer = known & answerable, known & ~answerable
    columns = {"exact_match": exact, "f1": f1} if known.any() else {}
    if no_answer.any():
        for prefix, rows in ((HAS_ANSWER, has_answer), (NO_ANSWER, no_answer)):
            if rows.any():
                columns[f"{prefix}exact"] = np.where(rows, exact, np.nan)
                columns[f"{prefix}f1"] = np.where(rows, f1, np.nan)
    return columns


def clusters(table: pa.Table) -> IntArray:
    """Numbers the contexts of the questions by their places among the distinct ones; ``[questions]``."""
    return table["context"].unify_dictionaries().combine_chunks().indices.to_numpy()


def intervals_of(table: pa.Table) -> dict[str, tuple[float, float]]:
    """Computes the bootstrap 95 % interval of each mean score of `score_columns`, over the table's paragraphs."""
    columns = score_columns(table)
    return bootstrap_intervals(columns, clusters(table)) if columns else {}


def compare(
    a: Mapping[str, pa.Table], b: Mapping[str, pa.Table], *, shuffles: int = 10_000, seed: int = 0
) -> Comparison:
    """Compares two groups of runs, each with at least one, question by question.

    A question's score in a group is its mean over the group's runs. The bootstrap and the randomisation test
    cover what the choice of questions could do; Welch's test over the means of runs what their seeds could; the
    interval over runs what both could.

    Args:
        a: Tables of questions, by the run's name, as `questions.read_questions` returns them.
        b: The runs that these are compared with.
        shuffles: How many random shuffles are made where there are more than that.
        seed: What resamples and shuffles start from.

    Raises:
        UserError: The runs are not on the same data, or no golds are known.
    """
    first, *others = names = [*a, *b]
    tables = [by_id(table) for table in (*a.values(), *b.values())]
    for name, table in zip(others, tables[1:], strict=True):
        require_same_data(first, tables[0], name, table)
    scores = [score_columns(table) for table in tables]
    if not scores[0]:
        raise UserError(f"{first}: no question has known answers, so there is nothing to compare")

    paragraph = clusters(tables[0])
    by_score = {name: np.array([columns[name] for columns in scores]) for name in scores[0]}
    changed = {name: _difference(runs, len(a)) for name, runs in by_score.items()}
    means = {name: np.nanmean(runs, axis=1).tolist() for name, runs in by_score.items()}
    intervals = bootstrap_intervals(changed, paragraph, seed=seed)
    sums = cluster_sums(np.nan_to_num(np.array(list(changed.values()))), paragraph)
    p_values, permutations, exact = _randomize(sums, shuffles, seed)
    differences = {
        name: Difference(
            questions=int(np.count_nonzero(~np.isnan(changed[name]))),
            a=tuple(means[name][: len(a)]),
            b=tuple(means[name][len(a) :]),
            difference=float(np.nanmean(changed[name])),
            interval=intervals[name],
            interval_over_runs=_over_runs(by_score[name], len(a), paragraph, seed),
            p_value=p_value,
            p_over_seeds=_welch(means[name][: len(a)], means[name][len(a) :]),
        )
        for name, p_value in zip(changed, p_values, strict=True)
    }
    changes = _changes(tables, len(a), changed["exact_match"], changed["f1"])
    return Comparison(
        tuple(names[: len(a)]), tuple(names[len(a) :]), differences, sums.shape[1], permutations, exact, changes
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Corrects p-values for how many there are, by Holm's step-down method (1979)."""
    ordered = np.argsort(p_values, kind="stable")
    steps = np.array(p_values)[ordered] * np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[ordered] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected.tolist()


def _difference(runs: FloatArray, count: int) -> FloatArray:
    """B minus A for each question, of the means over the first ``count`` runs and over the others."""
    difference = runs[count:].mean(axis=0) - runs[:count].mean(axis=0)
    return np.where(np.abs(difference) < _SAME, 0.0, difference)


def _over_runs(runs: FloatArray, count: int, paragraph: IntArray, seed: int) -> tuple[float, float] | None:
    """The interval of B minus A over runs and paragraphs, of the first ``count`` runs and of the others."""
    if min(count, len(runs) - count) < 2:
        return None
    a, b = resample_runs((runs[:count], runs[count:]), paragraph, seed=seed)
    return percentile_interval(b - a)


def _randomize(sums: FloatArray, shuffles: int, seed: int) -> tuple[list[float], int, bool]:
    """Two-sided p-values of paired approximate randomisation.

    Under the null hypothesis A and B could be swapped on any paragraph, which turns the sign of its sum of
    differences; the p-value is the share of swaps whose total is no nearer to 0 than the one observed, which
    counts among them (Noreen, "Computer-Intensive Methods for Testing Hypotheses", 1989):
    ``(1 + hits) / (1 + shuffles)``. All swaps are tried where there are no more than that.

    Args:
        sums: Sums of differences; ``[scores, paragraphs]``.
        shuffles: How many random swaps are made.
        seed: What they start from.

    Returns:
        The p-value of each score, how many swaps were made, and whether these were all.
    """
    paragraphs = sums.shape[1]
    if paragraphs == 1:
        # Both swaps are equally far from 0; scipy wants two observations.
        return [1.0] * len(sums), 2, True
    from scipy import stats

    result = stats.permutation_test(
        (sums,),
        lambda swapped, axis: np.abs(swapped.sum(axis=axis)),
        permutation_type="samples",
        alternative="greater",
        vectorized=True,
        n_resamples=shuffles,
        batch=max(1, _SIGNS // paragraphs),
        axis=-1,
        rng=seed,
    )
    made = len(result.null_distribution)
    return result.pvalue.tolist(), made, made == 2**paragraphs


def _welch(a: Sequence[float], b: Sequence[float]) -> float | None:
    if min(len(a), len(b)) < 2 or max(np.ptp(a), np.ptp(b)) < _SAME:
        return None
    from scipy import stats

    (mean_a, std_a), (mean_b, std_b) = ((np.mean(means), np.std(means, ddof=1)) for means in (a, b))
    result = stats.ttest_ind_from_stats(mean_a, std_a, len(a), mean_b, std_b, len(b), equal_var=False)
    return float(result.pvalue)


def _changes(tables: Sequence[pa.Table], count: int, exact: FloatArray, f1: FloatArray) -> list[Change]:
    rows = np.flatnonzero((np.nan_to_num(exact) != 0) | (np.nan_to_num(f1) != 0))
    rows = rows[np.argsort(tables[0]["row"].to_numpy()[rows], kind="stable")]
    first = tables[0].take(rows)
    answers = list(zip(*(table["prediction"].take(rows).to_pylist() for table in tables), strict=True))
    return [
        Change(key, question, golds or (), texts[:count], texts[count:], float(exact[row]), float(f1[row]))
        for row, key, question, golds, texts in zip(
            rows, first["id"].to_pylist(), first["question"].to_pylist(), texts_of_golds(first), answers, strict=True
        )
    ]
