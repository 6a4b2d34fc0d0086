"""The memory of training on a data set ten times SQuAD's size: contexts, tokens, windows and batches.

The process reads SQuAD JSON, tokenises it, cuts windows and builds the batches of an epoch. All that it holds
counts: what it imports, and pages of mapped files, too. The peak is reported stage by stage.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.data import squad_file, tokenizer
from benchmarks.harness import Row, Size, in_child, main, row

QUESTIONS: dict[Size, int] = {"full": 880_000, "small": 8_800}
BAR = 4
"""GB (10⁹ bytes), for the full size."""


def run(size: Size) -> list[Row]:
    """The peak with nothing in the token cache, and what it came to by the end of each stage."""
    questions = QUESTIONS[size]
    with tempfile.TemporaryDirectory() as folder:
        file = squad_file(questions, Path(folder))
        peaks = in_child("benchmarks.memory", "stages", file)
    *_, peak = peaks.values()
    note = "by stage: " + ", ".join(f"{stage} {gigabytes:.2f}" for stage, gigabytes in peaks.items())
    bar = BAR if size == "full" else None
    what = f"peak memory of {questions:,} questions, GB"
    return [row("memory", what, peak, bar=bar, higher_is_better=False, unit="GB", note=note)]


def stages(file: str) -> dict[str, Any]:
    """The process' peak after each stage, in GB."""
    return {stage: _peak() for stage in _train(file)}


def _train(file: str) -> Iterator[str]:
    """All of training but the model, with a pause after each stage."""
    import lightning.pytorch
    import transformers

    from benchmarks.featurize import split_config
    from qa_lightning.data.batching import TrainingBatchSampler
    from qa_lightning.data.sources import read_examples
    from qa_lightning.data.splits import build_split

    assert lightning.pytorch
    assert transformers.BertTokenizer  # only now is it imported
    yield "imports"
    loaded = read_examples(split="train", files=file, training=True)
    yield "reading"
    split = build_split(loaded, tokenizer(), split_config(), source="copies", training=True)
    yield "windows"
    for batch in TrainingBatchSampler(split.dataset.lengths, split.dataset.contexts, 16, seed=0):
        split.dataset[batch]
    yield "an epoch of batches"


def _peak() -> float:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) * 1024 / 1e9


if __name__ == "__main__":
    main(run, __doc__, stages=stages)
