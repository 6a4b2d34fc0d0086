"""Measures one variant of one model in a process of `benchmarks.gpu`."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks import models
from benchmarks.data import squad_file
from benchmarks.gpu_plan import MODELS, PLANS, VARIANTS, GpuSize, Model, Variant
from benchmarks.limit import matrix_rate, work
from benchmarks.models import Accelerator
from benchmarks.timed import CLIP, Figures, Recorder, Span, Watch, make_peer
from qa_lightning.data.datamodule import QADataModule

DRY_LENGTHS = {"max_length": 96, "doc_stride": 16, "max_question_length": 24}


class Task:
    """A variant of a model, at a size.

    Args:
        variant: What is done.
        model: With which.
        size: How much.
        folder: Where the data, their tokens and the models lie.
        began: When the process was started, in seconds since 1970.
    """

    def __init__(self, variant: Variant, model: Model, size: GpuSize, folder: Path, began: float) -> None:
        self.variant = variant
        self.model = model
        self.plan = PLANS[size]
        self.folder = folder
        self.began = began
        self.dry = size == "dry"
        self.accelerator: Accelerator = "cpu" if self.dry else "cuda"
        self.batch = 4 if self.dry else model.batch
        self.joined = min(model.joined, 2) if self.dry else model.joined
        self.lengths = DRY_LENGTHS if self.dry else models.LENGTHS | {"max_length": model.max_length}

    def data(self, train: int = 0, validation: int = 0) -> QADataModule:
        """Makes the data, with a number of questions in each split; a file that is missing is written."""
        home, files = self.folder / "data", {}
        home.mkdir(exist_ok=True)
        for split, questions in (("train", train), ("validation", validation)):
            if questions:
                path = home / f"squad-{questions}-{self.joined}.json"
                files[f"{split}_file"] = str(path if path.is_file() else squad_file(questions, home, self.joined))
        return QADataModule(
            tokenizer_name=str(self.source()),
            cache_dir=str(home / "tokens"),
            batch_size=self.batch,
            **files,
            **self.lengths,
        )

    def source(self) -> Path:
        """The folder of the model's configuration and tokenizer, which the data reads by, too."""
        shape = getattr(models, self.model.shape)
        return models.write_model(models.tiny(shape) if self.dry else shape, self.folder / self.model.shape)

    def training_data(self) -> QADataModule:
        """Makes the data of the two training epochs."""
        return self.data(self.plan.questions if self.model.joined == 1 else self.plan.long_questions)

    def module(self) -> Any:
        """The model with random weights, and the variant's options where these are ours."""
        options = self.variant.options if self.variant.kind == "train" else {}
        return models.make_module(self.source(), **self.lengths | options)

    def trainer(self, *callbacks: pl.Callback, **options: Any) -> pl.Trainer:
        """Lightning's trainer in bfloat16."""
        return models.make_trainer(
            self.folder,
            *callbacks,
            accelerator=self.accelerator,
            precision="bf16-mixed",
            gradient_clip_val=CLIP,
            **options,
        )

    def card(self) -> Figures:
        """The rate of a large product of matrices; fills the cache of tokens."""
        name = torch.cuda.get_device_name() if self.accelerator == "cuda" else "the CPU"
        size = self.plan.product
        rate = matrix_rate(size, size, 50, torch.bfloat16, self.accelerator)
        self.data(validation=self.plan.validated).setup("validate")
        for questions in (self.plan.questions, self.plan.epoch)[: 1 + self.variant.options["epoch"]]:
            self.data(questions).setup("fit")
        return {"name": name, "matrix_rate": rate, "torch": torch.__version__}

    def train(self) -> Figures:
        """Trains ours as a user does: a module, a data module and ``fit``."""
        module, data = self.module(), self.training_data()
        recorder = Recorder(self.accelerator, self.began, self.plan.timed)
        self.trainer(Watch(recorder), max_epochs=2).fit(module, datamodule=data)
        return recorder.figures(module.model, _lengths(data, "train"))

    def validate(self) -> Figures:
        """Answers and scores a whole validation in the midst of training, after it was done once to warm up."""
        module, data = self.module(), self.data(self.plan.questions, self.plan.validated)
        span = Span(self.accelerator)
        # In one fit, between whose validations the model stays where it is.
        trainer = self.trainer(span, max_epochs=2, limit_train_batches=1, num_sanity_val_steps=0)
        trainer.fit(module, datamodule=data)
        *_, begin, end = span.clock.seconds()
        return _validated(module.model, _lengths(data, "validation"), end - begin)

    def epoch(self) -> Figures:
        """Seconds from the process' start to the scores of a validation behind an epoch."""
        span = Span(self.accelerator)
        data = self.data(self.plan.epoch, self.plan.validated)
        self.trainer(span).fit(self.module(), datamodule=data)
        return {"seconds": span.scored - self.began, "windows": len(_lengths(data, "train"))}

    def peer(self) -> Figures:
        """Trains by ``Trainer``; its seconds before the first step are without those of making features."""
        from transformers import Trainer, TrainerCallback

        recorder = Recorder(self.accelerator, self.began, self.plan.timed)
        size = self.batch

        class Counting(Trainer):
            def training_step(self, model: Any, inputs: Any, *rest: Any, **others: Any) -> Any:
                self.given = inputs["input_ids"].numel()
                return super().training_step(model, inputs, *rest, **others)

        class Steps(TrainerCallback):
            def on_epoch_begin(self, *_: Any, **__: Any) -> None:
                recorder.begin_epoch()

            def on_step_begin(self, *_: Any, **__: Any) -> None:
                recorder.begin_step()

            def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                control.should_training_stop = recorder.end_step(size, peer.given)

        data = self.training_data()
        data.setup("fit")
        network = self.module().model
        started = time.time()
        peer = self._peer(Counting, network, data, "train", num_train_epochs=2, dataloader_drop_last=True)
        recorder.began += time.time() - started
        peer.add_callback(Steps())
        peer.train()
        return recorder.figures(network, _lengths(data, "train"))

    def predict(self) -> Figures:
        """The logits of a whole validation by ``Trainer``, after it was done once; answers and scores are none."""
        from transformers import Trainer

        data = self.data(validation=self.plan.validated)
        data.setup("validate")
        network = self.module().model
        peer = self._peer(Trainer, network, data, "validation")
        inputs = peer.train_dataset.remove_columns(["start_positions", "end_positions"])
        peer.predict(inputs)
        start = time.perf_counter()
        peer.predict(inputs)  # the logits end up in the host's memory, so that nothing is left to wait for
        return _validated(network, _lengths(data, "validation"), time.perf_counter() - start)

    def _peer(self, kind: type, network: nn.Module, data: QADataModule, split: str, **more: Any) -> Any:
        arguments: dict[str, Any] = {
            "per_device_train_batch_size": self.batch,
            "per_device_eval_batch_size": 2 * self.batch,
            "bf16": True,
            "optim": "adamw_torch_fused",
            "use_cpu": self.dry,
            "dataloader_pin_memory": not self.dry,
        }
        if self.dry:
            more["dataloader_num_workers"] = min(1, self.variant.options["dataloader_num_workers"])
            more["dataloader_persistent_workers"] = False  # which would outlive their variant, in one process
        if self.dry and self.variant.options.get("torch_compile"):
            more["torch_compile_backend"] = "eager"
        dataset = data.splits[split][0].dataset
        pad = self.variant.pad
        return make_peer(
            kind,
            network,
            dataset,
            np.arange(len(dataset)),
            self.folder,
            length=self.lengths["max_length"] if pad is None else None,
            multiple=pad or 1,
            **arguments | self.variant.options | more,
        )


def _lengths(data: QADataModule, split: str) -> NDArray[np.int64]:
    return data.splits[split][0].dataset.lengths


def _validated(network: nn.Module, lengths: NDArray[np.int64], seconds: float) -> Figures:
    pace = len(lengths) / seconds
    needed = work(network, lengths, backward=False)
    return {"windows_per_s": pace, "operations_per_s": pace * needed, "windows": len(lengths), "seconds": seconds}


def measured(variant: str, model: str, size: GpuSize, folder: Path, began: float) -> Figures:
    """The figures of a variant, or ``failed`` and why in one line.

    Raises:
        SystemExit: Without a GPU, where it is not a dry run.
    """
    if size != "dry" and not torch.cuda.is_available():
        raise SystemExit("benchmarks.gpu needs a GPU, and torch finds none here")
    task = Task(VARIANTS[variant], MODELS[model], size, folder, began)
    do: Callable[[], Figures] = getattr(task, task.variant.kind)
    with models.quiet():
        figures = do()
    if torch.cuda.is_initialized():
        figures["memory"] = torch.cuda.max_memory_allocated() / 1e9
    return figures
