"""How likely each token of a context begins an answer, and ends it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qa_lightning.records import Batch


class TokenProbabilities(NamedTuple):
    """The tokens of one context, in its order.

    Attributes:
        spans: Characters of each, end exclusive; int64 ``[tokens, 2]``.
        starts: How likely the answer begins with it; float64 ``[tokens]``, of sum 1, or less where there may be no
            answer.
        ends: How likely the answer ends with it, likewise.
    """

    spans: NDArray[np.int64]
    starts: NDArray[np.float64]
    ends: NDArray[np.float64]


class TokenLogits:
    """Gathers the windows of one question. Of a token that several windows hold, the highest logits count."""

    def __init__(self) -> None:
        self._rows: list[Tensor] = []
        self._null: list[Tensor] = []

    def answer(self, batch: Batch, start_logits: Tensor, end_logits: Tensor) -> list[None]:
        """Takes the windows of a batch; there is nothing to return before the last was seen."""
        assert batch.offsets is not None
        logits = torch.stack([start_logits, end_logits], dim=-1).double()
        mask = batch.context_mask
        self._rows.append(torch.cat([batch.offsets[mask].double(), logits[mask]], dim=1).cpu())
        known = batch.null_position >= 0
        self._null.append(logits[known, batch.null_position[known]].cpu())
        return []

    def probabilities(self, null_allowed: bool) -> TokenProbabilities:
        """The softmax of the logits over the tokens.

        Args:
            null_allowed: Whether "no answer" has a part in it, as if it were a token more: that of the lowest sum of
                logits.
        """
        rows = torch.cat(self._rows).numpy()
        spans, of = np.unique(rows[:, :2].astype(np.int64), axis=0, return_inverse=True)
        logits = np.full((len(spans) + 1, 2), -np.inf)
        np.maximum.at(logits, of, rows[:, 2:])
        null = torch.cat(self._null).numpy()
        if null_allowed and len(null):
            logits[-1] = null[null.sum(axis=1).argmin()]
        weights = np.exp(logits - logits.max(axis=0, initial=np.finfo(np.float64).min))
        starts, ends = (weights[:-1] / weights.sum(axis=0)).T
        return TokenProbabilities(spans, starts, ends)
