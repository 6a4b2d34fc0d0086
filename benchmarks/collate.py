"""Windows per second that one core collates into tensors, in the batches of a training epoch."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.data import QUESTIONS, squad_shaped, tokenizer
from benchmarks.featurize import our_windows
from benchmarks.harness import Row, Size, best_of, main, row

BATCH_SIZES = (16, 32)
REPEATS = {"full": 1, "small": 5}
BAR = 20_000
"""Windows per second."""


def run(size: Size) -> list[Row]:
    """An epoch of batches of each size, built one after the other and dropped."""
    import torch

    from qa_lightning.data.batching import TrainingBatchSampler
    from qa_lightning.data.sources import rows_to_examples

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        examples = rows_to_examples(squad_shaped(QUESTIONS[size]), source="copies").table
        windows = our_windows(examples, tokenizer(), Path(cache))
        for batch_size in BATCH_SIZES:
            batches = list(TrainingBatchSampler(windows.lengths, windows.contexts, batch_size, seed=0))

            def epoch(batches: list = batches) -> None:
                for batch in batches:
                    windows[batch]

            seconds = best_of(epoch, REPEATS[size])
            seen = sum(map(len, batches))
            what = f"windows per second on one core, batch {batch_size}"
            rows.append(row("collate", what, seen / seconds, bar=BAR, unit="windows/s"))
    torch.set_num_threads(threads)
    return rows


if __name__ == "__main__":
    main(run, __doc__)
