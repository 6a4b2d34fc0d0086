"""Finds the best spans of windows from their logits; on any device, for a whole batch at once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from qa_lightning.decoding.pairs import end_logits_of, near_ends, scores_pairs

_MINUS_INFINITY = float("-inf")


class Spans(NamedTuple):
    """The best spans of each window, best first.

    A window with fewer spans than columns is padded with position -1 and logits of minus infinity.

    Attributes:
        starts: First token; int64 ``[batch, k]``.
        ends: Last token, inclusive; int64 ``[batch, k]``.
        start_logits: Start logit of the first token; float32 ``[batch, k]``.
        end_logits: End logit of the last token, given the first where the head scores pairs; float32 ``[batch, k]``.
    """

    starts: Tensor
    ends: Tensor
    start_logits: Tensor
    end_logits: Tensor


def best_spans(start_logits: Tensor, end_logits: Tensor, mask: Tensor, k: int, max_answer_length: int) -> Spans:
    """Finds the k spans with the highest sums of start and end logit, exactly, over all valid spans.

    A span is valid where it starts and ends inside the mask, does not end before it starts, and has at most
    `max_answer_length` tokens. Of spans with the same score, the one that starts earlier comes first, then
    the shorter one. Tokens whose logit is infinite or not a number neither start nor end an answer.

    Args:
        start_logits: Scores of each token as the first; floating point, ``[batch, length]``.
        end_logits: Scores of each token as the last; floating point, ``[batch, length]``, or given each token as the
            first, ``[batch, length, length]``.
        mask: Tokens that an answer may start or end at; bool ``[batch, length]``.
        k: Number of spans of each window, at least 1.
        max_answer_length: Number of tokens that an answer may have, at least 1.

    Returns:
        The spans of each window; ``[batch, k]``.
    """
    length = mask.shape[1]
    width = min(max_answer_length, length)
    start = finite_logits(start_logits, mask)
    if scores_pairs(end_logits):
        ends = near_ends(finite_logits(end_logits, mask[:, None]), width, _MINUS_INFINITY)
        best_end = ends.amax(-1)
    else:
        end = pad(finite_logits(end_logits, mask), (0, width - 1), value=_MINUS_INFINITY)
        ends, best_end = end.unfold(1, width, 1), _sliding_maximum(end, width)

    # The k best spans start at k tokens only: those with the highest scores of their own best span, the
    # earlier of two alike. For any span that starts elsewhere, each of these k tokens has a span that comes
    # before it: one that scores higher, or the same with an earlier start. (Rounding keeps order, so the sum
    # with the highest end is the highest sum, in floating point too.)
    few = _top_k_columns(start + best_end, min(k, length)).sort(dim=1).values

    # [batch, few * width], by start, then by end: the earlier column is the span that comes first.
    batch = torch.arange(len(mask), device=mask.device).unsqueeze(1)
    ends = ends[batch, few]
    scores = (start.gather(1, few).unsqueeze(-1) + ends).flatten(1)
    if scores.shape[1] < k:
        scores = pad(scores, (0, k - scores.shape[1]), value=_MINUS_INFINITY)
    best = _top_k_columns(scores, k)

    none = scores.gather(1, best) == _MINUS_INFINITY
    best = best.masked_fill(none, 0)
    starts = few.gather(1, best // width)
    return Spans(
        starts.masked_fill(none, -1),
        (starts + best % width).masked_fill(none, -1),
        start.gather(1, starts).masked_fill(none, _MINUS_INFINITY),
        ends.flatten(1).gather(1, best).masked_fill(none, _MINUS_INFINITY),
    )


def finite_logits(logits: Tensor, mask: Tensor) -> Tensor:
    """Logits in float32, minus infinity where they are not finite or outside the mask."""
    finite = logits.float().nan_to_num(_MINUS_INFINITY, _MINUS_INFINITY, _MINUS_INFINITY)
    return torch.where(mask, finite, _MINUS_INFINITY)


def _sliding_maximum(values: Tensor, width: int) -> Tensor:
    """The maximum of each `width` neighbouring columns, by maxima of two that double their reach."""
    reach = 1
    while reach < width:
        step = min(reach, width - reach)
        values = torch.maximum(values[:, :-step], values[:, step:])
        reach += step
    return values


def _top_k_columns(scores: Tensor, k: int) -> Tensor:
    """The columns of the k highest scores of each row, the highest first, and of two alike the earlier one.

    Args:
        scores: float32 ``[batch, columns]``, none of them NaN; at least k columns.
        k: Number of columns.

    Returns:
        int64 ``[batch, k]``.
    """
    # As integers that order like the negated scores and then like the columns, no two keys are alike. (From
    # zero, so that -0.0 becomes 0.0; the bits of negative floats ascend where their values descend.)
    bits = (0.0 - scores).view(torch.int32)
    keys = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).long()
    keys <<= 32
    keys |= torch.arange(scores.shape[1], device=scores.device)
    if keys.device.type == "cpu":  # where NumPy's selection takes a third of the time of torch's
        keys.numpy().partition(k - 1, axis=1)
        return keys[:, :k].sort(dim=1).values & 0xFFFFFFFF
    return keys.topk(k, dim=1, largest=False).values & 0xFFFFFFFF


def null_logits(start_logits: Tensor, end_logits: Tensor, null_position: Tensor) -> tuple[Tensor, Tensor]:
    """Gathers the logits of the null answer.

    Args:
        start_logits: Scores of each token as the first; floating point, ``[batch, length]``.
        end_logits: Scores of each token as the last; floating point, ``[batch, length]``, or given each token as the
            first, ``[batch, length, length]``.
        null_position: Where null is scored, -1 where it cannot be; int64 ``[batch]``.

    Returns:
        Start and end logit there, minus infinity where it cannot be scored; float32 ``[batch]``.
    """
    position = null_position.clamp(min=0).unsqueeze(1)
    start, end = (
        logits.float().squeeze(1).masked_fill(null_position < 0, _MINUS_INFINITY)
        for logits in (start_logits.gather(1, position), end_logits_of(end_logits, position, position))
    )
    return start, end


def to_characters(spans: Spans, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Converts spans of tokens to characters of the context.

    Args:
        spans: Spans in tokens, of ``[batch, k]``.
        offsets: Characters that each token covers, end exclusive; int64 ``[batch, length, 2]``.

    Returns:
        First characters and ends, exclusive, both -1 in padding; int64 ``[batch, k]``.
    """
    none = spans.starts < 0
    starts = offsets[..., 0].gather(1, spans.starts.clamp(min=0)).masked_fill(none, -1)
    ends = offsets[..., 1].gather(1, spans.ends.clamp(min=0)).masked_fill(none, -1)
    return starts, ends
