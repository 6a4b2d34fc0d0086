"""Training and validation by our side and by transformers' ``Trainer``, and the clock for both."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.models import Accelerator, make_trainer, quiet
from qa_lightning.data.collate import WindowDataset
from qa_lightning.data.datamodule import QADataModule
from qa_lightning.modeling.module import QALightningModule
from qa_lightning.modeling.network import accepted_inputs

Precision = Literal["32-true", "bf16-mixed"]
Batches = list[NDArray[np.int64]]

CLIP = 1.0
"""Both clip gradients to this norm: it is what ``Trainer`` does unless told otherwise."""


class Clock:
    """Keeps times, also of a GPU, which still works on a step when the program has long gone on.

    There, events among its work tell when it came to them, so that nothing waits for a look at the clock.

    Args:
        accelerator: What does the work.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self._looks: list[Any] = []

    def look(self) -> None:
        """Keeps the time at which what was asked for so far is done."""
        if self.accelerator == "cpu":
            self._looks.append(time.perf_counter())
        else:
            self._looks.append(torch.cuda.Event(enable_timing=True))
            self._looks[-1].record()

    def seconds(self) -> list[float]:
        """The times of all looks, after a common start."""
        if self.accelerator == "cpu":
            return self._looks
        torch.cuda.synchronize()
        return [self._looks[0].elapsed_time(look) / 1000 for look in self._looks]


class StepClock(pl.Callback):
    """Keeps when each training step ended."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.clock = Clock(accelerator)

    def on_train_batch_end(self, *_: Any) -> None:
        """Looks at the clock."""
        self.clock.look()


class Span(pl.Callback):
    """Keeps when a validation began and ended."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.clock = Clock(accelerator)

    def on_validation_start(self, *_: Any) -> None:
        """Looks at the clock."""
        self.clock.look()

    def on_validation_end(self, *_: Any) -> None:
        """Looks again."""
        self.clock.look()


def timed_fit(
    module: QALightningModule, loader: Any, folder: Path, precision: Precision, accelerator: Accelerator = "cpu"
) -> list[float]:
    """Trains a module on a loader's batches once, and tells when each step ended."""
    steps = StepClock(accelerator)
    with quiet():
        trainer = make_trainer(folder, steps, accelerator=accelerator, precision=precision, gradient_clip_val=CLIP)
        trainer.fit(module, loader)
    return steps.clock.seconds()


def timed_trainer(
    network: nn.Module,
    dataset: WindowDataset,
    batches: Batches,
    folder: Path,
    *,
    padded: bool,
    bf16: bool,
    accelerator: Accelerator = "cpu",
) -> list[float]:
    """The same by transformers' ``Trainer``; the arguments are those of `make_peer`, but for rows in batches."""
    from transformers import TrainerCallback

    clock = Clock(accelerator)

    class Steps(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.look()

    rows = np.concatenate(batches)
    peer = make_peer(
        network, dataset, rows, folder, batch_size=len(batches[0]), padded=padded, bf16=bf16, accelerator=accelerator
    )
    peer.add_callback(Steps())
    peer.train()
    return clock.seconds()


def timed_validation(
    module: QALightningModule, data: QADataModule, folder: Path, *, accelerator: Accelerator, warm_up: int
) -> float:
    """Seconds of a whole validation in bfloat16, from windows to scores, behind one of a few batches."""
    for batches in (warm_up, 1.0):
        span = Span(accelerator)
        options: dict[str, Any] = {"precision": "bf16-mixed", "limit_val_batches": batches}
        with quiet():
            trainer = make_trainer(folder, span, accelerator=accelerator, **options)
            trainer.validate(module, datamodule=data, verbose=False)
    begin, end = span.clock.seconds()
    return end - begin


def timed_predict(
    network: nn.Module,
    dataset: WindowDataset,
    folder: Path,
    *,
    batch_size: int,
    padded: bool,
    accelerator: Accelerator,
    warm_up: int,
) -> float:
    """Seconds that ``Trainer`` takes from all features to their logits in bfloat16, behind those of a few batches."""
    rows = np.arange(len(dataset))
    peer = make_peer(
        network, dataset, rows, folder, batch_size=batch_size, padded=padded, bf16=True, accelerator=accelerator
    )
    inputs = peer.train_dataset.remove_columns(["start_positions", "end_positions"])
    peer.predict(inputs.select(rows[: warm_up * batch_size]))
    start = time.perf_counter()
    peer.predict(inputs)  # the logits end up in the host's memory, so that nothing is left to wait for
    return time.perf_counter() - start


def make_peer(
    network: nn.Module,
    dataset: WindowDataset,
    rows: NDArray[np.int64],
    folder: Path,
    *,
    batch_size: int,
    padded: bool,
    bf16: bool,
    accelerator: Accelerator,
) -> Any:
    """Transformers' ``Trainer`` as its example makes it, over windows in the order of their rows.

    Args:
        network: The model, which is trained.
        dataset: Our windows; that they are those of transformers' example is shown elsewhere.
        rows: Rows of ``dataset``.
        folder: For what ``Trainer`` may write.
        batch_size: Windows in a batch.
        padded: Whether features are padded to one length beforehand, as the example does, or batch by batch.
        bf16: Whether to compute in bfloat16.
        accelerator: Where to compute.
    """
    from datasets import Dataset
    from transformers import DataCollatorWithPadding, PrinterCallback, Trainer, TrainingArguments
    from transformers import default_data_collator as default_collator

    from benchmarks.data import tokenizer

    made = Dataset.from_list(list(features(dataset, rows, padded=padded)))
    # What the model's own tokenizer would not make.
    made = made.remove_columns(sorted(set(made.column_names) - accepted_inputs(network)))
    peer = Trainer(
        model=network,
        args=TrainingArguments(
            output_dir=str(folder),
            per_device_train_batch_size=batch_size,
            per_device_eval_batch_size=batch_size,
            num_train_epochs=1,
            max_grad_norm=CLIP,
            bf16=bf16,
            use_cpu=accelerator == "cpu",
            train_sampling_strategy="sequential",  # the features lie in the order of the batches
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=made,
        data_collator=default_collator if padded else DataCollatorWithPadding(tokenizer()),
    )
    peer.remove_callback(PrinterCallback)
    return peer


def features(dataset: WindowDataset, rows: NDArray[np.int64], *, padded: bool) -> Iterator[dict[str, Any]]:
    """Windows as the example's features, unpadded or padded to 384 tokens."""
    for row_ in rows:
        batch = dataset[np.array([row_])]
        real = batch.inputs["attention_mask"][0] > 0
        feature: dict[str, Any] = {name: values[0][real].tolist() for name, values in batch.inputs.items()}
        if padded:
            missing = 384 - len(feature["input_ids"])
            feature = {name: values + [0] * missing for name, values in feature.items()}  # pad id, type and mask
        yield feature | {"start_positions": batch.starts[0, 0].item(), "end_positions": batch.ends[0, 0].item()}
