"""How the scores of runs that differ in their seeds spread, and how far their mean may be off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from qa_lightning.runs.comparison import clusters, score_columns
from qa_lightning.runs.same_data import by_id, require_same_data
from qa_lightning.scoring.intervals import bootstrap_intervals, percentile_interval, resample_runs
from qa_lightning.utils.arrays import FloatArray, IntArray
from qa_lightning.utils.errors import UserError


@dataclass(frozen=True, slots=True)
class Spread:
    """One score over several runs; all figures are 0 to 100.

    Attributes:
        runs: The score of each run.
        mean: Their mean.
        deviation: The standard deviation over runs, of the sample; None of a single one.
        over_questions: The mean's 95 % interval over paragraphs, for these very runs.
        interval: That over runs and paragraphs, drawn together; None of a single run.
    """

    runs: tuple[float, ...]
    mean: float
    deviation: float | None
    over_questions: tuple[float, float]
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class RunScores:
    """The scores of several runs, question by question.

    Attributes:
        columns: Each score of each run and question, NaN where it does not concern the question;
            ``[runs, questions]``.
        paragraphs: The number of each question's context; ``[questions]``.
    """

    columns: dict[str, FloatArray]
    paragraphs: IntArray


def scores_of_runs(tables: Mapping[str, pa.Table]) -> RunScores:
    """Collects the scores of runs on the same questions, which are sorted by their ids.

    Args:
        tables: Tables of questions, by the run's name, as `questions.read_questions` returns them.

    Raises:
        UserError: The runs are not on the same data, or no golds are known.
    """
    names = list(tables)
    sorted_tables = [by_id(table) for table in tables.values()]
    for name, table in zip(names[1:], sorted_tables[1:], strict=True):
        require_same_data(names[0], sorted_tables[0], name, table)
    columns = [score_columns(table) for table in sorted_tables]
    if not columns[0]:
        raise UserError(f"{names[0]}: no question has known answers, so there are no scores")
    by_score = {name: np.array([of_run[name] for of_run in columns]) for name in columns[0]}
    return RunScores(by_score, clusters(sorted_tables[0]))


def spread_of(scores: RunScores, *, seed: int = 0) -> dict[str, Spread]:
    """Computes the mean of each score, its spread over runs, and its intervals.

    Args:
        scores: What `scores_of_runs` collected.
        seed: What resamples start from.
    """
    means = {name: runs.mean(axis=0) for name, runs in scores.columns.items()}
    over_questions = bootstrap_intervals(means, scores.paragraphs, seed=seed)
    found = {}
    for name, runs in scores.columns.items():
        of_runs = np.nanmean(runs, axis=1)
        several = len(runs) > 1
        found[name] = Spread(
            runs=tuple(of_runs.tolist()),
            mean=float(of_runs.mean()),
            deviation=float(of_runs.std(ddof=1)) if several else None,
            over_questions=over_questions[name],
            interval=percentile_interval(resample_runs((runs,), scores.paragraphs, seed=seed)[0]) if several else None,
        )
    return found
