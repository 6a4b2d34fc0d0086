"""EM and F1 as the official SQuAD evaluation scripts compute them.

Where nothing else is said, the script is ``evaluate-v2.0.py`` of Rajpurkar, Jia and Liang, "Know What You Don't
Know: Unanswerable Questions for SQuAD" (2018). That for SQuAD 1.1 differs only where a gold answer normalises
to nothing.

A *no-answer score* and a threshold on it are those of `qa_lightning.scoring.thresholds`. Scores of one question are
on a scale of 0 to 1, figures over several on one of 0 to 100.
"""

from __future__ import annotations

import math
import re
import string
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import chain, repeat

import numpy as np

from qa_lightning.scoring.figures import BEST, HAS_ANSWER, NO_ANSWER, THRESHOLD
from qa_lightning.scoring.thresholds import apply_threshold, average_precision, official_best_threshold
from qa_lightning.utils.arrays import BoolArray, FloatArray
from qa_lightning.utils.errors import UserError

Scorer = Callable[[str, Sequence[str]], tuple[float, float]]
"""EM and F1, 0 to 1, of a prediction by a question's golds: `score_question`, or another language's."""

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = string.punctuation.encode()


# The golds come back at every epoch, and most predictions do: each text is normalised once.
@lru_cache(maxsize=1 << 17)
def normalize(text: str) -> str:
    """Normalises a text: lower case, without ASCII punctuation, English articles and surplus white space."""
    # As UTF-8, whose longer characters hold no ASCII byte: bytes lose theirs several times as fast as text.
    encoded = text.lower().encode("utf-8", "surrogatepass").translate(None, _PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", encoded.decode("utf-8", "surrogatepass")).split())


def score_question(prediction: str, golds: Sequence[str]) -> tuple[float, float]:
    """Computes EM and F1 of one prediction, each the maximum over its golds.

    Golds that normalise to nothing do not count; where none is left, as for an unanswerable question, a
    prediction that normalises to nothing is right and every other one is wrong.

    Args:
        prediction: The predicted text; empty for "no answer".
        golds: The published answers; empty for an unanswerable question.

    Returns:
        Exact match, 0.0 or 1.0, and F1 over bags of tokens, 0.0 to 1.0.
    """
    predicted = normalize(prediction)
    wanted = {normalize(gold) for gold in golds} - {""} or {""}
    if predicted in wanted:
        return 1.0, 1.0
    return 0.0, max(token_f1(predicted.split(), gold.split()) for gold in wanted)


def score_question_v1(prediction: str, golds: Sequence[str]) -> tuple[float, float]:
    """Scores one prediction as the script for SQuAD 1.1 (``evaluate-v1.1.py``) does; see `score_with_normalizer`."""
    return score_with_normalizer(normalize, prediction, golds)


def score_with_normalizer(
    normalize: Callable[[str], str], prediction: str, golds: Sequence[str]
) -> tuple[float, float]:
    """Computes EM and F1 as for SQuAD 1.1 and MLQA: a gold that normalises to nothing is like any other.

    With such a gold, EM is 1 where the prediction normalises to nothing too, and F1 is 0, since no token is
    shared. The scripts know no unanswerable questions, which are scored as `score_question` does.

    Args:
        normalize: Normalises texts before they are compared, with tokens separated by white space.
        prediction: The predicted text; empty for "no answer".
        golds: The published answers; empty for an unanswerable question.

    Returns:
        Exact match, 0.0 or 1.0, and F1 over bags of tokens, 0.0 to 1.0.
    """
    predicted = normalize(prediction)
    if not golds:
        return (0.0, 0.0) if predicted else (1.0, 1.0)
    wanted = {normalize(gold) for gold in golds}
    return float(predicted in wanted), max(token_f1(predicted.split(), gold.split()) for gold in wanted)


def token_f1(predicted: list[str], gold: list[str]) -> float:
    """Computes F1, 0 to 1, over two bags of tokens; 0 where either is empty."""
    rest = gold.copy()
    for token in predicted:
        if token in rest:
            rest.remove(token)
    shared = len(gold) - len(rest)
    if shared == 0:
        return 0.0
    precision = shared / len(predicted)
    recall = shared / len(gold)
    return 2 * precision * recall / (precision + recall)


def summarize(exact: FloatArray, f1: FloatArray, has_answer: BoolArray) -> dict[str, float]:
    """Computes mean scores over all questions, and over the answerable and the unanswerable ones.

    Args:
        exact: EM of each question, 0 to 1; ``[questions]``, at least one.
        f1: F1 of each question, 0 to 1; ``[questions]``.
        has_answer: Whether the question is answerable; ``[questions]``.

    Returns:
        ``exact``, ``f1``, ``total``, and the same with the prefixes ``HasAns_`` and ``NoAns_`` where there
        are such questions.
    """
    figures: dict[str, float] = {}
    for prefix, rows in (("", np.ones_like(has_answer)), (HAS_ANSWER, has_answer), (NO_ANSWER, ~has_answer)):
        if total := int(rows.sum()):
            figures[f"{prefix}exact"] = 100 * math.fsum(exact[rows]) / total
            figures[f"{prefix}f1"] = 100 * math.fsum(f1[rows]) / total
            figures[f"{prefix}total"] = total
    return figures


def evaluate(
    golds: Mapping[str, Sequence[str]],
    predictions: Mapping[str, str],
    na_scores: Mapping[str, float] | None = None,
    na_threshold: float = 1.0,
    score: Scorer = score_question,
) -> dict[str, float]:
    """Computes every figure that the official script prints.

    A question without a prediction scores 0, answerable or not, whatever the threshold, and counts in every
    total. (The script leaves such questions out of some totals and fails at others.)

    Args:
        golds: The published answers of each question by its id, empty for an unanswerable one.
        predictions: The predicted texts by id, empty for "no answer"; those of other questions do not matter.
        na_scores: The no-answer score of each predicted question, finite, as of ``--na-prob-file``. Of equal
            scores, the one that comes first here counts as lower, as in the script.
        na_threshold: Questions with a higher no-answer score are counted as left unanswered.
        score: The rule by which a text is scored.

    Returns:
        The figures of `summarize`; with no-answer scores also ``best_exact``, ``best_exact_thresh``,
        ``best_f1``, ``best_f1_thresh``, and where any question is answerable ``pr_exact_ap``, ``pr_f1_ap``,
        ``pr_oracle_ap``, which the script prints when it is given ``--out-image-dir``. Where predictions are
        missing, also how many: ``missing``.

    Raises:
        UserError: There is no question, or predicted ones have no no-answer score.
    """
    if not golds:
        raise UserError("there is no question to score")
    predicted = [key for key in golds if key in predictions]
    if na_scores is not None:
        predicted = _sort_by_na_score(predicted, na_scores)
    missing = [key for key in golds if key not in predictions]
    keys = predicted + missing
    pairs = chain((score(predictions[key], golds[key]) for key in predicted), repeat((0.0, 0.0), len(missing)))
    exact, f1 = np.fromiter(chain.from_iterable(pairs), np.float64).reshape(-1, 2).T
    has_answer = np.array([len(golds[key]) > 0 for key in keys])
    counted = {"missing": len(missing)} if missing else {}
    if na_scores is None:
        return summarize(exact, f1, has_answer) | counted

    # Those without a prediction come last in every curve, where they can neither gain nor lose anything.
    has_prediction = np.arange(len(keys)) < len(predicted)
    na = np.array([na_scores[key] for key in predicted] + [math.inf] * len(missing), dtype=np.float64)
    if_null = np.where(has_answer, 0.0, has_prediction)
    figures = summarize(
        apply_threshold(exact, if_null, na, na_threshold),
        apply_threshold(f1, if_null, na, na_threshold),
        has_answer,
    )
    # For its best thresholds the script looks at the text itself: answering an unanswerable question costs a
    # point even where the text normalises to nothing.
    says_nothing = np.array([key in predictions and not predictions[key] for key in keys])
    for name, scores in (("exact", exact), ("f1", f1)):
        best, threshold = official_best_threshold(np.where(has_answer, scores, says_nothing), if_null, na)
        figures |= {f"{BEST}{name}": best, f"{BEST}{name}{THRESHOLD}": threshold}
    if has_answer.any():
        for name, scores in (("exact", exact), ("f1", f1), ("oracle", has_prediction.astype(np.float64))):
            figures[f"pr_{name}_ap"] = average_precision(scores, has_answer, na)
    return figures | counted


def _sort_by_na_score(keys: list[str], na_scores: Mapping[str, float]) -> list[str]:
    """Sorts keys, the lowest no-answer score first; of equal scores, the one that comes first in `na_scores`."""
    lacking = [key for key in keys if key not in na_scores]
    if lacking:
        raise UserError(
            f"{len(lacking)} of {len(keys)} predictions have no no-answer score ({first_ids(lacking)}); give each one"
        )
    wanted = set(keys)
    return sorted((key for key in na_scores if key in wanted), key=na_scores.__getitem__)


def first_ids(ids: Sequence[str]) -> str:
    """Formats the first three ids of a list for messages."""
    return ", ".join([*(f"{name!r:.80}" for name in ids[:3]), *(["…"] if len(ids) > 3 else [])])
