"""Finds the best answers with distinct texts, where the best spans of a repetitive context have few of them."""

from __future__ import annotations

import numpy as np

from qa_lightning.records import ANSWER, AnswerRows
from qa_lightning.utils.arrays import Float32Array, IntArray


def fold_case(context: str) -> str:
    """Folds the case of a text character by character, so that all keep their places."""
    return "".join(low if len(low := character.casefold()) == 1 else character for character in context)


def best_distinct_texts(
    start_logits: Float32Array,
    end_logits: Float32Array,
    offsets: IntArray,
    k: int,
    max_answer_length: int,
    folded_context: str,
) -> AnswerRows:
    """Finds the best span of each of the k best texts of one window, over all valid spans, best first.

    Args:
        start_logits: Scores of each token as the first, of which those that are not finite start no answer;
            ``[length]``.
        end_logits: Scores of each token as the last, likewise; ``[length]``, or given each token as the first,
            ``[length, length]``.
        offsets: Characters that each token covers, end exclusive; ``[length, 2]``.
        k: Number of texts.
        max_answer_length: Most tokens of an answer.
        folded_context: The context after `fold_case`: texts that differ in case only are the same.

    Returns:
        `ANSWER` ``[at most k]``, without probabilities.
    """
    length = len(start_logits)
    first = np.repeat(np.flatnonzero(np.isfinite(start_logits)), min(max_answer_length, length))
    last = first + np.arange(len(first)) % min(max_answer_length, length)
    inside = last < length
    first, last = first[inside], last[inside]
    spans = np.zeros(len(first), dtype=ANSWER)
    spans["start"], spans["end"] = offsets[first, 0], offsets[last, 1]
    of_last = end_logits[last] if end_logits.ndim == 1 else end_logits[first, last]
    spans["start_logit"], spans["end_logit"] = start_logits[first], of_last
    return top_k_distinct(spans[np.isfinite(of_last) & (spans["start"] < spans["end"])], k, folded_context)


def top_k_distinct(spans: AnswerRows, k: int, folded_context: str) -> AnswerRows:
    """Selects the k best spans with distinct texts, best first.

    Args:
        spans: `ANSWER` ``[spans]``.
        k: How many.
        folded_context: The context after `fold_case`: texts that differ in case only are the same.
    """
    scores = spans["start_logit"].astype(np.float64) + spans["end_logit"]
    ordered = spans[np.lexsort((spans["end"], spans["start"], -scores))]
    kept: dict[str, int] = {}
    for place, (start, end) in enumerate(zip(ordered["start"].tolist(), ordered["end"].tolist(), strict=True)):
        kept.setdefault(folded_context[start:end], place)
        if len(kept) == k:
            break
    return ordered[list(kept.values())]
