"""The time from the start of a process to the first training batch with cached tokens.

It is the whole ``fit`` command on 88,000 questions of SQuAD JSON, with a tiny model, up to the moment in which the
first batch would be trained, beside a process that imports torch, lightning and transformers and no more.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.data import QUESTIONS, squad_file, tokenizer
from benchmarks.harness import Row, Size, in_child, main, row

REPEATS = 2
BAR = 3
"""Seconds beyond the imports."""

LENGTHS = {"cached": (384, 128), "cached, other max_length": (256, 128), "cached, other doc_stride": (384, 64)}


def run(size: Size) -> list[Row]:
    """Seconds with an empty cache, then with a full one, at the lengths that filled it and at others."""
    questions = QUESTIONS[size]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = squad_file(questions, folder)
        write_model(folder / "model")
        imports = min(_since_start("imports") for _ in range(REPEATS))

        def beyond(max_length: int, doc_stride: int) -> float:
            return _since_start("fit", file, folder, max_length, doc_stride) - imports

        cold = beyond(*LENGTHS["cached"])
        entries = sorted((folder / "cache").glob("*/*"))
        warm = {name: min(beyond(*lengths) for _ in range(REPEATS)) for name, lengths in LENGTHS.items()}
        assert entries == sorted((folder / "cache").glob("*/*")), "something was tokenised again"
    what = "seconds to the first batch beyond imports, tokens {}"
    note = f"importing torch, lightning and transformers: {imports:.2f} s"
    rows = [row("warm_start", what.format("not cached"), cold, higher_is_better=False, unit="s", note=note)]
    rows += [
        row("warm_start", what.format(name), seconds, bar=BAR, higher_is_better=False, unit="s")
        for name, seconds in warm.items()
    ]
    return rows


def write_model(folder: Path) -> None:
    """The folder of a tiny BERT to start at random, with the tokenizer."""
    from transformers import BertConfig

    fast = tokenizer()
    config = BertConfig(
        vocab_size=len(fast), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64
    )
    config.save_pretrained(folder)
    fast.save_pretrained(folder)


def imports(start: str) -> dict[str, Any]:
    """Seconds from a moment to where torch, lightning and transformers are imported."""
    import lightning.pytorch
    import torch
    import transformers

    assert torch.nn
    assert lightning.pytorch
    assert transformers.AutoModelForQuestionAnswering  # only now is it imported
    return {"seconds": time.time() - float(start)}


def fit(start: str, file: str, folder: str, max_length: str, doc_stride: str) -> dict[str, Any]:
    """Seconds from a moment to where ``fit`` would train its first batch; it goes no further."""
    from unittest.mock import patch

    from qa_lightning.cli.main import main as qa_lightning
    from qa_lightning.modeling.module import QALightningModule

    class FirstBatchError(Exception):
        """The first batch is there."""

    def stop(*_: Any) -> None:
        raise FirstBatchError

    # fmt: off
    command = [
        "fit", "--run_dir", f"{folder}/run-{start}", "--model.config_name", f"{folder}/model",
        "--data.train_file", file, "--data.cache_dir", f"{folder}/cache",
        "--data.max_length", max_length, "--data.doc_stride", doc_stride,
        "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false",
    ]
    # fmt: on
    with patch.object(QALightningModule, "on_train_batch_start", stop), suppress(FirstBatchError):
        qa_lightning(command)
        raise RuntimeError("fit came to its end without a batch")
    return {"seconds": time.time() - float(start)}


def _since_start(part: str, *args: object) -> float:
    return in_child("benchmarks.warm_start", part, time.time(), *args)["seconds"]


if __name__ == "__main__":
    main(run, __doc__, imports=imports, fit=fit)
