"""One question's answers by the rules, written slowly: what the package does for many at once must equal this."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from qa_lightning.records import Answer, Question


class Window(NamedTuple):
    """What was decoded from one window: spans, each start, end and two logits, and the logits of null."""

    spans: list[tuple[int, int, float, float]]
    null: tuple[float, float]


class Said(NamedTuple):
    """A prediction but for its question."""

    text: str
    answers: list[Answer]
    null_odds: float | None


def answer_slowly(
    question: Question, windows: Sequence[Window], *, n_best_size: int, null_allowed: bool, threshold: float
) -> Said:
    """What all windows of a question say together."""
    found: dict[tuple[int, int], tuple[float, int, int, float, float]] = {}
    for window in windows:
        for start, end, start_logit, end_logit in window.spans:
            if math.isfinite(start_logit + end_logit) and start < end:
                span = (-(start_logit + end_logit), start, end, start_logit, end_logit)
                found[start, end] = min(span, found.get((start, end), span))
    ranked = [
        (question.context[start:end], start, end, start_logit, end_logit)
        for _, start, end, start_logit, end_logit in sorted(found.values())
    ]
    if not null_allowed:
        answers = _with_probabilities(ranked[:n_best_size])
        return Said(answers[0].text if answers else "", answers, None)

    null_score, null_start, null_end = min((sum(window.null), *window.null) for window in windows)
    better = sum(-negated >= null_score for negated, *_ in found.values())
    kept = ranked[: max(1, n_best_size - (better < n_best_size))]
    kept.insert(better, ("", 0, 0, null_start, null_end))
    answers = _with_probabilities(kept)
    if not ranked:
        return Said("", answers, 3.4028234663852886e38)
    null_odds = null_score - (ranked[0][3] + ranked[0][4])
    return Said("" if null_odds > threshold else ranked[0][0], answers, null_odds)


def _with_probabilities(ranked: list[tuple[str, int, int, float, float]]) -> list[Answer]:
    """Answers with a softmax over their scores; each is text, start, end, start logit, end logit."""
    scores = [start_logit + end_logit for *_, start_logit, end_logit in ranked]
    weights = [math.exp(score - max(scores)) for score in scores]
    return [Answer(*answer, weight / sum(weights)) for answer, weight in zip(ranked, weights, strict=True)]
