"""Computes the probability that an answer starts, and ends, at each token of a context."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qa_lightning.decoding.pairs import pointer_logits, scores_pairs
from qa_lightning.records import Batch


class TokenProbabilities(NamedTuple):
    """Start and end probabilities of the tokens of one context, in its order.

    Attributes:
        spans: Characters of each, end exclusive; int64 ``[tokens, 2]``.
        starts: How likely the answer begins with it; float64 ``[tokens]``, of sum 1, or less where there may be no
            answer.
        ends: How likely the answer ends with it, likewise.
    """

    spans: NDArray[np.int64]
    starts: NDArray[np.float64]
    ends: NDArray[np.float64]


class ScoredBatch(NamedTuple):
    """A batch of windows with the logits of a model.

    Attributes:
        batch: The windows.
        start_logits: Scores of each token as the first; floating point, ``[batch, length]``.
        end_logits: Scores of each token as the last; floating point, ``[batch, length]``, or given each token as the
            first, ``[batch, length, length]``.
    """

    batch: Batch
    start_logits: Tensor
    end_logits: Tensor


def token_probabilities(scored: Iterable[ScoredBatch], *, null_allowed: bool) -> TokenProbabilities:
    """Computes the softmax of start and end logits over the tokens of one context.

    For a token in several windows, the highest logits count. Where a head scores pairs, the probability of a start is
    the sum over its ends, and that of an end the sum over its starts.

    Args:
        scored: All windows of one question.
        null_allowed: Whether "no answer" has a part in it, as if it were a token more: that of the window in which
            its logits have the lowest sum.
    """
    rows, nulls = [], []
    for batch, start, end in scored:
        assert batch.offsets is not None
        if scores_pairs(end):
            start, end = pointer_logits(start, end, batch.context_mask, batch.null_position)
        logits = torch.stack([start, end], dim=-1).double()
        rows.append(torch.cat([batch.offsets.double(), logits], dim=-1)[batch.context_mask].cpu())
        known = batch.null_position >= 0
        nulls.append(logits[known, batch.null_position[known]].cpu())
    tokens, null = torch.cat(rows).numpy(), torch.cat(nulls).numpy()
    spans, token = np.unique(tokens[:, :2].astype(np.int64), axis=0, return_inverse=True)
    highest = np.full((len(spans) + 1, 2), -np.inf)
    np.maximum.at(highest, token, tokens[:, 2:])
    if null_allowed and len(null):
        highest[-1] = null[null.sum(axis=1).argmin()]
    weights = np.exp(highest - highest.max(axis=0, initial=np.finfo(np.float64).min))
    starts, ends = (weights[:-1] / weights.sum(axis=0)).T
    return TokenProbabilities(spans, starts, ends)
