"""The scores of a model on an evaluation set, as they are computed, kept in a folder and read again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from qa_lightning import __version__
from qa_lightning.runs.comparison import clusters, intervals_of
from qa_lightning.runs.folder import RunFolder
from qa_lightning.runs.predictions import remove_evaluation, write_predictions
from qa_lightning.runs.questions import read_questions, tabulate, write_table
from qa_lightning.scoring.figures import HAS_ANSWER, NO_ANSWER, name_metrics
from qa_lightning.scoring.rules import scorer
from qa_lightning.scoring.squad import evaluate
from qa_lightning.suites.models import Model
from qa_lightning.suites.questions import SetQuestions
from qa_lightning.suites.suite import EvaluationSet
from qa_lightning.utils.arrays import FloatArray, IntArray
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.files import remove_unfinished, write_json

if TYPE_CHECKING:
    from qa_lightning.records import Prediction

RECORD = "evaluation.json"
"""The file in a set's folder that says which model answered which questions, and its figures; it is written last."""

Interval = tuple[float, float]


@dataclass(frozen=True)
class QuestionScores:
    """The scores of each question of a set.

    Attributes:
        ids: The ids.
        contexts: The number of each question's context; ``[questions]``.
        exact_match: 0 to 100; ``[questions]``.
        f1: 0 to 100; ``[questions]``.
    """

    ids: list[str]
    contexts: IntArray
    exact_match: FloatArray
    f1: FloatArray


@dataclass(frozen=True)
class SetScores:
    """How well a model answers the questions of a set.

    Attributes:
        model: The model's label.
        evaluation_set: The set.
        source: What its questions are from, in a few words.
        has_own_ids: Whether the same id in another set means the same question.
        figures: The figures that ``score`` prints, by its names.
        intervals: 95 % intervals over contexts, of ``exact_match``, ``f1`` and so on.
        questions: The scores of each question.
        is_new: Whether the model was asked now.
    """

    model: str
    evaluation_set: EvaluationSet
    source: str
    has_own_ids: bool
    figures: Mapping[str, float]
    intervals: Mapping[str, Interval]
    questions: QuestionScores
    is_new: bool


def keep_scores(
    folder: Path,
    model: Model,
    asked: SetQuestions,
    predictions: Sequence[Prediction],
    null_probabilities: Mapping[str, float] | None,
) -> SetScores:
    """Scores predictions as ``score --model`` does, and keeps them in a folder that ``report`` and ``compare`` take.

    Args:
        folder: The set's folder.
        model: Which model predicted.
        asked: The questions.
        predictions: A prediction for each, with its golds.
        null_probabilities: How likely there is no answer, by id; None where the model had to answer.

    Raises:
        UserError: Where a file cannot be written.
    """
    rule = asked.evaluation_set.scoring_rule
    golds = dict(zip(asked.table["id"].to_pylist(), asked.table["gold_texts"].to_pylist(), strict=True))
    texts = {prediction.question.id: prediction.text for prediction in predictions}
    figures = evaluate(golds, texts, null_probabilities, score=scorer(rule))
    table = tabulate(predictions, rule)
    intervals = intervals_of(table)
    (folder / RECORD).unlink(missing_ok=True)
    remove_unfinished(folder)
    remove_evaluation(folder)
    write_predictions(folder, table)
    run = RunFolder(folder)
    write_table(run.questions, table)
    write_json(run.metrics, name_metrics("test", "", _as_of_a_run(figures), intervals))
    record = {
        **_identity(model, asked),
        "set": asked.evaluation_set.name,
        "source": asked.source,
        "model_name": model.label,
        "version": __version__,
        "figures": figures,
        "intervals": intervals,
    }
    write_json(folder / RECORD, record)
    return _scores(model, asked, figures, intervals, table, is_new=True)


def kept_scores(folder: Path, model: Model, asked: SetQuestions) -> SetScores | None:
    """Reads what `keep_scores` kept; None where this model has not answered these very questions by this rule.

    Args:
        folder: The set's folder.
        model: The model.
        asked: The questions.
    """
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        if any(record[key] != value for key, value in _identity(model, asked).items()):
            return None
        intervals = {name: (float(low), float(high)) for name, (low, high) in record["intervals"].items()}
        return _scores(model, asked, record["figures"], intervals, read_questions(folder), is_new=False)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, UserError):
        return None


def _identity(model: Model, asked: SetQuestions) -> dict[str, str]:
    """What has to be the same for scores to be those of a model on a set."""
    rule = asked.evaluation_set.scoring_rule
    return {"model": model.fingerprint, "questions": asked.fingerprint, "rule": rule}


def _as_of_a_run(figures: Mapping[str, float]) -> dict[str, Any]:
    """Figures under the names that a run has, without those at thresholds of probabilities, which a run has not."""
    plain = {"exact_match": figures["exact"], "f1": figures["f1"], "total": figures["total"]}
    parts = {name: value for name, value in figures.items() if name.startswith((HAS_ANSWER, NO_ANSWER))}
    return plain | (parts if f"{NO_ANSWER}total" in figures else {})


def _scores(
    model: Model,
    asked: SetQuestions,
    figures: Mapping[str, float],
    intervals: Mapping[str, Interval],
    table: pa.Table,
    *,
    is_new: bool,
) -> SetScores:
    exact, f1 = (np.asarray(table[name].to_numpy(), dtype=np.float64) for name in ("exact_match", "f1"))
    questions = QuestionScores(table["id"].to_pylist(), clusters(table), exact, f1)
    found = (model.label, asked.evaluation_set, asked.source, asked.has_own_ids)
    return SetScores(*found, figures, intervals, questions, is_new)
