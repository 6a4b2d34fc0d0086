"""Formats predictions as the plain answers that a Reader returns."""

from __future__ import annotations

import numpy as np

from qa_lightning.records import Answer, AnswerDict, Prediction

NO_ANSWER_FOUND: AnswerDict = {"score": 0.0, "start": 0, "end": 0, "answer": ""}
"""The answer where a context has no text that could be one."""


def format_answers(prediction: Prediction, top_k: int, n_best_size: int) -> list[AnswerDict]:
    """Lists the best answers to a question: first the predicted one, then the others by rank, no text twice.

    Texts that differ in case only are one; the place with the highest score is given.

    Args:
        prediction: The prediction, with any number of answers.
        top_k: Number of answers.
        n_best_size: Scores are shares of this number of best answers, and of null wherever it is listed.
    """
    rows = prediction.answers.rows
    probabilities, is_null = rows["probability"], rows["end"] == 0
    total = probabilities[(np.arange(len(probabilities)) < n_best_size) | is_null].sum()
    # Not by probability: a calibrated one of null may be on either side of a span's that it has beaten, or not.
    order = np.argsort(-(rows["start_logit"].astype(np.float64) + rows["end_logit"]), kind="stable")
    if prediction.null_odds is not None:
        predicted = np.flatnonzero(is_null[order] != bool(prediction.text))[:1]
        order = np.concatenate([order[predicted], np.delete(order, predicted)])
    found: dict[str, AnswerDict] = {}
    for place in order.tolist():
        answer = prediction.answers[place]
        found.setdefault(answer.text.casefold(), _answer_dict(answer, probabilities[place] / total))
        if len(found) == top_k:
            break
    return list(found.values())


def _answer_dict(answer: Answer, score: float) -> AnswerDict:
    return {"score": float(score), "start": answer.start, "end": answer.end, "answer": answer.text}
