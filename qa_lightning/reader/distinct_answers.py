"""Adds answers to questions whose best answers have too few distinct texts."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np

from qa_lightning.decoding.answers import span_scores
from qa_lightning.decoding.decoder import answer_logits
from qa_lightning.decoding.distinct import best_distinct_texts, fold_case, top_k_distinct
from qa_lightning.decoding.pairs import scores_pairs
from qa_lightning.decoding.temperatures import PLAIN_SOFTMAX, Temperatures
from qa_lightning.decoding.token_probabilities import ScoredBatch
from qa_lightning.reader.settings import Settings
from qa_lightning.records import AnswerRows, Answers, Prediction


def add_distinct_answers(
    predictions: Collection[Prediction], scored: Iterable[ScoredBatch], settings: Settings
) -> dict[int, Prediction]:
    """Adds further answers behind those of predictions: the best of each of the ``top_k`` best texts.

    Args:
        predictions: Predictions with at least one answer, which may be among the further ones again.
        scored: The windows of their questions, and of any others.
        settings: How questions are answered.

    Returns:
        The predictions by their questions' rows.
    """
    found = distinct_spans({prediction.question.row for prediction in predictions}, scored, settings)
    return {
        prediction.question.row: append_answers(prediction, found[prediction.question.row], settings.temperatures)
        for prediction in predictions
    }


def distinct_spans(asked: Collection[int], scored: Iterable[ScoredBatch], settings: Settings) -> dict[int, AnswerRows]:
    """Finds the best span of each of the ``top_k`` best texts of questions, over all valid spans, best first.

    Args:
        asked: The rows of the questions.
        scored: Their windows, and those of any others.
        settings: How questions are answered.

    Returns:
        `ANSWER` ``[at most top_k]`` without probabilities, by row.
    """
    found: dict[int, AnswerRows] = {}
    folded: dict[str, str] = {}
    for batch, *logits in scored:
        places = [place for place, question in enumerate(batch.questions or ()) if question.row in asked]
        if not places:
            continue
        starts, ends, offsets = answer_logits(batch, *logits)
        outside = ~batch.context_mask
        outside_ends = outside[:, None] if scores_pairs(ends) else outside
        windows = [
            scores.float().masked_fill(mask, -np.inf).cpu().numpy()
            for scores, mask in ((starts, outside), (ends, outside_ends))
        ]
        characters = offsets.cpu().numpy()
        for place in places:
            assert batch.questions is not None
            question = batch.questions[place]
            if question.context not in folded:
                folded[question.context] = fold_case(question.context)
            context = folded[question.context]
            start_logits, end_logits = (of_windows[place] for of_windows in windows)
            more = best_distinct_texts(
                start_logits, end_logits, characters[place], settings.top_k, settings.max_answer_len, context
            )
            before = found.get(question.row, more[:0])
            found[question.row] = top_k_distinct(
                np.concatenate([before, more], dtype=more.dtype), settings.top_k, context
            )
    return found


def append_answers(prediction: Prediction, more: AnswerRows, temperatures: Temperatures = PLAIN_SOFTMAX) -> Prediction:
    """Appends answers to those of a prediction as `append_rows` does."""
    rows = append_rows(prediction.answers.rows, more, temperatures)
    answers = Answers(prediction.answers.context, rows)
    return Prediction(prediction.question, prediction.text, answers, prediction.null_odds)


def append_rows(own: AnswerRows, more: AnswerRows, temperatures: Temperatures = PLAIN_SOFTMAX) -> AnswerRows:
    """Appends answers to those of a question, with probabilities on the same scale.

    Args:
        own: The question's answers, one at least, and one that is not null where there are more.
        more: The further answers, of which none is null.
        temperatures: How scores have become the probabilities of its own answers.
    """
    scores = span_scores(own)
    # Null has temperatures of its own, so that only spans are on one scale where there are any.
    comparable = np.ones(len(own), dtype=np.bool_) if temperatures == PLAIN_SOFTMAX else own["end"] > 0
    best = int(np.argmax(np.where(comparable, scores, -np.inf)))
    # Windows are decoded in float32, where the best answer may be level with one that float64 puts in front of it.
    behind = np.minimum(span_scores(more) - scores[best], 0)
    more["probability"] = own["probability"][best] * np.exp(behind / temperatures.temperature)
    return np.concatenate([own, more], dtype=own.dtype)
