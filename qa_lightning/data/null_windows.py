"""Trains on a share of the windows without an answer, others in each epoch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qa_lightning.data.collate import WindowDataset
from qa_lightning.data.windows import holds_whole_gold
from qa_lightning.utils.errors import UserError


class NullWindowSample:
    """The windows of an epoch: all that hold an answer, and a fresh sample of the null windows, which hold none.

    Every epoch has the same number of places, each of at most the same length in every epoch, so that batches, their
    shapes and their number stay what they are. A null place is one of neighbours in length, drawn by chance; as long as
    there are enough epochs, each null window has its turn.

    Args:
        lengths: Tokens in each window; ``[windows]``.
        is_null: Whether it holds no answer; bool ``[windows]``.
        share: Share of an epoch's windows that are null windows; at least 0, below 1. Where there are too few, all are
            taken.

    Attributes:
        lengths: Most tokens of the window in each place; ``[places]``.
    """

    def __init__(self, lengths: NDArray[np.int64], is_null: NDArray[np.bool_], share: float) -> None:
        self._answering = np.flatnonzero(~is_null)
        null = np.flatnonzero(is_null)
        null = null[np.argsort(lengths[null], kind="stable")]
        places = min(len(null), round(share / (1 - share) * len(self._answering)))
        self._null = null
        self._bounds = np.arange(places + 1) * len(null) // max(1, places)
        longest = lengths[null[self._bounds[1:] - 1]] if places else lengths[:0]
        self.lengths = np.concatenate([lengths[self._answering], longest])

    def draw(self, random: np.random.Generator) -> NDArray[np.int64]:
        """Draws the window in each place; int64 ``[places]``."""
        drawn = random.integers(self._bounds[:-1], self._bounds[1:])
        return np.concatenate([self._answering, self._null[drawn]])


def sample_null_windows(dataset: WindowDataset, share: float) -> NullWindowSample:
    """Makes the sample of a training set.

    Args:
        dataset: The windows to train on.
        share: Share of an epoch's windows that are null windows.

    Raises:
        UserError: No window holds an answer.
    """
    whose = f"the training set {dataset.name}" if dataset.name else "the training data"
    is_null = ~holds_whole_gold(dataset.windows, dataset.encoded.golds)
    if is_null.all() and len(dataset):
        raise UserError(f"data.null_windows: no window of {whose} holds an answer; leave it out")
    return NullWindowSample(dataset.lengths, is_null, share)


def check_null_windows(share: float | None, allow_impossible_windows: bool) -> None:
    """Checks ``data.null_windows``.

    Raises:
        UserError: It is no share, or there are to be no null windows to draw from.
    """
    if share is None:
        return
    if not 0 <= share < 1:
        raise UserError(f"data.null_windows is a share of at least 0 and below 1, such as 0.3, not {share}")
    if not allow_impossible_windows:
        raise UserError(
            "data.null_windows draws from the windows without an answer, most of which allow_impossible_windows: false "
            "leaves out; set one of the two only"
        )
