"""The share of padding in an epoch, and how well its order mixes: by lengths only, nothing is built.

A batch is as long as its longest window. Grouping windows by length must not give the same batches each epoch, nor a
window the same neighbours.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.data import QUESTIONS, squad_shaped, tokenizer
from benchmarks.featurize import MAX_LENGTH, our_windows
from benchmarks.harness import Row, Size, main, row

BATCH_SIZES = (16, 32)
BAR = 4
"""Percent, at full size: with few windows there are few of like length to choose from."""

Batches = Sequence[NDArray[np.int64]]


def run(size: Size) -> list[Row]:
    """Two epochs at each batch size, beside batches in random order and windows padded to the full."""
    from qa_lightning.data.batching import TrainingBatchSampler
    from qa_lightning.data.sources import rows_to_examples

    with tempfile.TemporaryDirectory() as cache:
        examples = rows_to_examples(squad_shaped(QUESTIONS[size]), source="copies").table
        windows = our_windows(examples, tokenizer(), Path(cache))
        lengths = windows.lengths
    rows = []
    for batch_size in BATCH_SIZES:
        order = TrainingBatchSampler(lengths, windows.contexts, batch_size, seed=0)
        first = list(order)
        order.set_epoch(1)
        second = list(order)
        shuffled = np.random.default_rng(0).permutation(len(lengths))
        unsorted = [shuffled[start : start + batch_size] for start in range(0, len(shuffled), batch_size)]
        at_random = 100 * pad_share(lengths, unsorted)
        full = 100 * float(1 - lengths.mean() / MAX_LENGTH)
        rows += [
            row(
                "padding",
                f"pad tokens in an epoch, batch {batch_size}, %",
                100 * pad_share(lengths, first),
                bar=BAR if size == "full" else None,
                higher_is_better=False,
                unit="%",
                note=f"in random order {at_random:.1f}, all padded to {MAX_LENGTH} {full:.1f}",
            ),
            row(
                "padding",
                f"batches that two epochs share, batch {batch_size}",
                shared_batches(first, second),
                bar=0,
                higher_is_better=False,
            ),
            row(
                "padding",
                f"neighbours that a window keeps in the next epoch, batch {batch_size}, %",
                100 * kept_neighbours(first, second),
                higher_is_better=False,
                unit="%",
            ),
        ]
    return rows


def pad_share(lengths: NDArray[np.int64], batches: Batches) -> float:
    """The share of positions that hold no token, when each batch is as long as its longest window.

    Args:
        lengths: Tokens in each window; ``[windows]``.
        batches: The windows of each batch.
    """
    positions = sum(len(batch) * int(lengths[batch].max()) for batch in batches)
    return 1 - sum(int(lengths[batch].sum()) for batch in batches) / positions


def shared_batches(first: Batches, second: Batches) -> int:
    """Counts the batches that hold exactly the same windows in both epochs."""
    return len({frozenset(batch.tolist()) for batch in first} & {frozenset(batch.tolist()) for batch in second})


def kept_neighbours(first: Batches, second: Batches) -> float:
    """The share of pairs of windows in a batch of the first epoch that are in one batch of the second, too."""
    place = np.zeros(1 + max(int(batch.max()) for batch in second), dtype=np.int64)
    for number, batch in enumerate(second):
        place[batch] = number
    kept = pairs = 0
    for batch in first:
        together = np.unique(place[batch], return_counts=True)[1]
        kept += int((together * (together - 1)).sum())
        pairs += len(batch) * (len(batch) - 1)
    return kept / pairs


if __name__ == "__main__":
    main(run, __doc__)
