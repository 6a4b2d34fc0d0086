"""Formats predictions as the plain answers that a Reader returns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from qa_lightning.decoding.answers import span_scores
from qa_lightning.records import Answer, AnswerDict, Answers

NO_ANSWER_FOUND: AnswerDict = {"score": 0.0, "start": 0, "end": 0, "answer": ""}
"""The answer where a context has no text that could be one."""


class Predicted(Protocol):
    """What is predicted for a question, as `Prediction` has it."""

    @property
    def text(self) -> str: ...  # noqa: D102 - see there

    @property
    def answers(self) -> Answers: ...  # noqa: D102 - see there

    @property
    def null_odds(self) -> float | None: ...  # noqa: D102 - see there


def format_answers(prediction: Predicted, top_k: int, n_best_size: int) -> list[AnswerDict]:
    """Lists the best answers to a question: first the predicted one, then the others by rank, no text twice.

    Texts that differ in case only are one; the place with the highest score is given.

    Args:
        prediction: The prediction, with any number of answers.
        top_k: Number of answers.
        n_best_size: Scores are shares of this number of best answers, and of null wherever it is listed; of the best
            span in any case.
    """
    found: dict[str, AnswerDict] = {}
    for answer, score in scored_answers(prediction, n_best_size):
        found.setdefault(answer.text.casefold(), answer_dict(answer, score))
        if len(found) == top_k:
            break
    return list(found.values())


def scored_answers(prediction: Predicted, n_best_size: int) -> Iterator[tuple[Any, float]]:
    """The answers with their scores: first the predicted one, then the others by rank.

    Args:
        prediction: As in `format_answers`.
        n_best_size: As there.
    """
    rows = prediction.answers.rows
    probabilities, is_null = rows["probability"], rows["end"] == 0
    kept = (np.arange(len(probabilities)) < n_best_size) | is_null
    # Where only one answer is kept, the best span is listed behind null all the same.
    kept |= np.cumsum(~is_null) == 1
    total = probabilities[kept].sum()
    # Not by probability: a calibrated one of null may be on either side of a span's that it has beaten, or not.
    order = np.argsort(-span_scores(rows), kind="stable")
    if prediction.null_odds is not None:
        predicted = np.flatnonzero(is_null[order] != bool(prediction.text))[:1]
        order = np.concatenate([order[predicted], np.delete(order, predicted)])
    for place in order.tolist():
        yield prediction.answers[place], float(probabilities[place] / total)


def answer_dict(answer: Answer, score: float) -> AnswerDict:
    """An answer with its score, as a Reader returns it."""
    return {"score": score, "start": answer.start, "end": answer.end, "answer": answer.text}
