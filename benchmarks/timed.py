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

from benchmarks.limit import work
from benchmarks.models import Accelerator, make_trainer, quiet
from qa_lightning.data.collate import WindowDataset
from qa_lightning.modeling.module import QALightningModule
from qa_lightning.modeling.network import accepted_inputs

Precision = Literal["32-true", "bf16-mixed"]
Batches = list[NDArray[np.int64]]

Figures = dict[str, Any]
"""By name, as a line of JSON holds them: ``windows_per_s``, ``operations_per_s``, ``padding`` in percent, ``memory`` in
GB, ``first_step`` and ``warm_up`` in seconds, ``windows`` of an epoch, timed ``steps``, ``seconds`` of a whole."""

CLIP = 1.0
"""Both clip gradients to this norm: it is what ``Trainer`` does by default."""

_AT_ONCE = 64  # windows that features are made of together


class Clock:
    """Records times, also of a GPU, which runs behind the program.

    There, events in the GPU's queue record the times, so that the program need not wait.

    Args:
        accelerator: What does the work.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self._looks: list[Any] = []

    def look(self) -> None:
        """Records the time at which all work so far is done."""
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
    """Records when each training step ended."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.clock = Clock(accelerator)

    def on_train_batch_end(self, *_: Any) -> None:
        """Looks at the clock."""
        self.clock.look()


class Recorder:
    """Records two epochs of training: one that warms up, one that is timed.

    The pace is that between the ends of the timed epoch's first and last step. On both sides, the longest windows come
    first in an epoch and the others by chance, so that it may be cut off anywhere.

    Args:
        accelerator: What does the work.
        began: When the process was started, in seconds since 1970.
        longest: Seconds after which the timed epoch is over.
    """

    def __init__(self, accelerator: Accelerator, began: float, longest: float) -> None:
        self.clock = Clock(accelerator)
        self.began = began
        self.longest = longest
        self.first_step: float | None = None
        self.epoch = -1
        self.windows: tuple[list[int], list[int]] = ([], [])
        self.tokens = 0
        self._started = self.warm_up = 0.0

    def begin_epoch(self) -> None:
        """Goes on to the timed epoch, or begins to warm up."""
        self.epoch += 1
        if self.epoch:
            self.warm_up = time.perf_counter() - self._started
            self._started = time.perf_counter()

    def begin_step(self) -> None:
        """Records when the first step begins."""
        if self.first_step is None:
            self.first_step = time.time() - self.began
            self._started = time.perf_counter()

    def end_step(self, windows: int, tokens: int) -> bool:
        """Records a step's windows and positions, padding included; returns whether the time is over."""
        self.windows[self.epoch].append(windows)
        if not self.epoch:
            self.tokens += tokens
            return False
        self.clock.look()
        return time.perf_counter() - self._started > self.longest

    def figures(self, network: nn.Module, lengths: NDArray[np.int64]) -> Figures:
        """Computes the figures.

        Args:
            network: The model.
            lengths: Tokens in each window of an epoch; ``[windows]``.
        """
        looks = self.clock.seconds()
        pace = sum(self.windows[1][1:]) / (looks[-1] - looks[0])
        return {
            "windows_per_s": pace,
            "operations_per_s": pace * work(network, lengths, backward=True),
            "padding": 100 * (1 - sum(self.windows[0]) * float(lengths.mean()) / self.tokens),
            "first_step": self.first_step,
            "warm_up": self.warm_up,
            "windows": len(lengths),
            "steps": len(looks) - 1,
        }


class Watch(pl.Callback):
    """Reports Lightning's epochs and steps to a recorder."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    def on_train_epoch_start(self, *_: Any) -> None:
        """Reports the start of an epoch."""
        self.recorder.begin_epoch()

    def on_train_batch_start(self, *_: Any) -> None:
        """Reports the start of a step."""
        self.recorder.begin_step()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Reports the end of a step, and stops when the time is over."""
        trainer.should_stop = self.recorder.end_step(len(batch), batch.positions)


class Span(pl.Callback):
    """Records when validations began and were scored."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.clock = Clock(accelerator)
        self.scored = 0.0

    def on_validation_start(self, *_: Any) -> None:
        """Looks at the clock."""
        self.clock.look()

    def on_validation_end(self, *_: Any) -> None:
        """Looks again."""
        self.clock.look()
        self.scored = time.time()


def timed_fit(module: QALightningModule, loader: Any, folder: Path, precision: Precision) -> list[float]:
    """Trains a module on a loader's batches once, on the CPU; returns when each step ended."""
    steps = StepClock("cpu")
    with quiet():
        make_trainer(folder, steps, precision=precision, gradient_clip_val=CLIP).fit(module, loader)
    return steps.clock.seconds()


def timed_trainer(
    network: nn.Module, dataset: WindowDataset, batches: Batches, folder: Path, *, padded: bool, bf16: bool
) -> list[float]:
    """Trains a network by transformers' ``Trainer``, likewise; arguments as of `make_peer`, with rows in batches."""
    from transformers import Trainer, TrainerCallback

    clock = Clock("cpu")

    class Steps(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.look()

    peer = make_peer(
        Trainer,
        network,
        dataset,
        np.concatenate(batches),
        folder,
        length=384 if padded else None,
        per_device_train_batch_size=len(batches[0]),
        bf16=bf16,
        use_cpu=True,
        train_sampling_strategy="sequential",  # the features lie in the order of the batches
    )
    peer.add_callback(Steps())
    peer.train()
    return clock.seconds()


def make_peer(
    kind: type,
    network: nn.Module,
    dataset: WindowDataset,
    rows: NDArray[np.int64],
    folder: Path,
    *,
    length: int | None = None,
    multiple: int = 1,
    **arguments: Any,
) -> Any:
    """Transformers' ``Trainer`` as its example makes it, over windows in the order of their rows.

    Args:
        kind: ``Trainer``, or a class of it.
        network: The model, which is trained.
        dataset: Our windows; that they are those of transformers' example is shown elsewhere.
        rows: Rows of ``dataset``.
        folder: For what ``Trainer`` may write.
        length: To how many tokens features are padded beforehand, as the example does; None: batch by batch.
        multiple: There, to a multiple of so many.
        arguments: Further ones of ``TrainingArguments``.
    """
    from datasets import Dataset
    from transformers import DataCollatorWithPadding, PrinterCallback, TrainingArguments
    from transformers import default_data_collator as default_collator

    from benchmarks.data import tokenizer

    made = Dataset.from_list(list(features(dataset, rows, length)))
    # What the model's own tokenizer would not make.
    made = made.remove_columns(sorted(set(made.column_names) - accepted_inputs(network)))
    made = made.add_column("length", dataset.lengths[rows].tolist())  # which Trainer would count first
    shared: dict[str, Any] = {"output_dir": str(folder), "num_train_epochs": 1, "max_grad_norm": CLIP}
    silent: dict[str, Any] = {"save_strategy": "no", "report_to": "none", "disable_tqdm": True}
    peer = kind(
        model=network,
        args=TrainingArguments(**shared | silent | arguments),
        train_dataset=made,
        data_collator=DataCollatorWithPadding(tokenizer(), pad_to_multiple_of=multiple)
        if length is None
        else default_collator,
    )
    peer.remove_callback(PrinterCallback)
    return peer


def features(dataset: WindowDataset, rows: NDArray[np.int64], length: int | None = None) -> Iterator[dict[str, Any]]:
    """Yields windows as the example's features, unpadded or padded to ``length`` tokens."""
    for window_rows in np.split(rows, range(_AT_ONCE, len(rows), _AT_ONCE)):
        batch = dataset[window_rows]
        for row in range(len(window_rows)):
            real = batch.inputs["attention_mask"][row] > 0
            feature: dict[str, Any] = {name: values[row][real].tolist() for name, values in batch.inputs.items()}
            if length is not None:
                missing = length - len(feature["input_ids"])
                feature = {name: values + [0] * missing for name, values in feature.items()}  # pad id, type and mask
            yield feature | {"start_positions": batch.starts[row, 0].item(), "end_positions": batch.ends[row, 0].item()}
