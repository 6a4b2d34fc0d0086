"""Finds the best answers with distinct texts, where the best spans of a repetitive context have few of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qa_lightning.records import ANSWER, AnswerRows
from qa_lightning.utils.arrays import Float32Array, IntArray

_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so that it has an inverse among 64-bit numbers
_INVERSE = np.uint64(pow(0x9E3779B97F4A7C15, -1, 1 << 64))


class TextHashes:
    """Hashes of the texts of spans of one context, equal for texts that differ in case only.

    They are polynomial hashes (Karp and Rabin, 1987) modulo 2⁶⁴, of which a sum over a prefix gives that of any span.

    Args:
        context: The context.
    """

    def __init__(self, context: str) -> None:
        folded = "".join(low if len(low := character.casefold()) == 1 else character for character in context)
        codes = np.frombuffer(folded.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(
            np.uint64
        ) + np.uint64(1)
        powers, self._undo = (
            np.concatenate([[np.uint64(1)], np.cumprod(np.full(len(codes), base))]) for base in (_BASE, _INVERSE)
        )
        self._sums = np.concatenate([[np.uint64(0)], np.cumsum(codes * powers[:-1])])

    def __call__(self, starts: IntArray, ends: IntArray) -> NDArray[np.uint64]:
        """Hashes spans of characters, ends exclusive; uint64 ``[spans]``."""
        return (self._sums[ends] - self._sums[starts]) * self._undo[starts]


def best_distinct_texts(
    start_logits: Float32Array,
    end_logits: Float32Array,
    offsets: IntArray,
    k: int,
    max_answer_length: int,
    hashes: TextHashes,
) -> AnswerRows:
    """Finds the best span of each of the k best texts of one window, over all valid spans, best first.

    Args:
        start_logits: Scores of each token as the first, of which those that are not finite start no answer;
            ``[length]``.
        end_logits: Scores of each token as the last, likewise; ``[length]``.
        offsets: Characters that each token covers, end exclusive; ``[length, 2]``.
        k: Number of texts.
        max_answer_length: Most tokens of an answer.
        hashes: Hashes of the texts of the context.

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
    spans["start_logit"], spans["end_logit"] = start_logits[first], end_logits[last]
    return top_k_distinct(spans[np.isfinite(end_logits[last]) & (spans["start"] < spans["end"])], k, hashes)


def top_k_distinct(spans: AnswerRows, k: int, hashes: TextHashes) -> AnswerRows:
    """Selects the k best spans with distinct texts, best first.

    Args:
        spans: `ANSWER` ``[spans]``.
        k: How many.
        hashes: Hashes of the texts of the context.
    """
    scores = spans["start_logit"].astype(np.float64) + spans["end_logit"]
    ordered = spans[np.lexsort((spans["end"], spans["start"], -scores))]
    _, first = np.unique(hashes(ordered["start"], ordered["end"]), return_index=True)
    return ordered[np.sort(first)[:k]]
