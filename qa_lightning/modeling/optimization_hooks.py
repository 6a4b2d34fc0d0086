"""The hooks of a `QALightningModule` that make optimizer, schedule and callbacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.trainer.states import TrainerFn
from torch.optim import Optimizer

from qa_lightning.modeling.lora_training import LoraTraining
from qa_lightning.modeling.optim import (
    Schedule,
    check_schedule,
    clip_gradients,
    clips_scaled_gradients,
    make_schedule,
    scheduler_config,
)
from qa_lightning.modeling.optimization import Optimization, prepare_network
from qa_lightning.modeling.optimizers import make_optimizer, optimizer_class
from qa_lightning.modeling.parameter_groups import parameter_groups, set_rates
from qa_lightning.utils.bounds import check_between
from qa_lightning.utils.plain import from_plain


class OptimizationMixin(pl.LightningModule):
    """The part of a `QALightningModule` that says how its weights are updated.

    Attributes:
        model: The network of transformers.
        learning_rate: The peak learning rate.
        weight_decay: Weight decay of matrices.
        lr_scheduler_type: The schedule.
        warmup_ratio: Share of all steps over which the learning rate rises.
        warmup_steps: The same as a number.
        optimizer: An optimizer that was given as a class; None: ``optimization`` names it.
        lr_scheduler: A schedule that was given as a class; None: ``lr_scheduler_type`` names it.
        optimization: What is asked for beyond these.
        adapter: What is trained in the network in place of all its weights; None: these are.
    """

    model: Any
    learning_rate: float
    weight_decay: float
    lr_scheduler_type: Schedule
    warmup_ratio: float
    warmup_steps: int
    optimizer: OptimizerCallable | None
    lr_scheduler: LRSchedulerCallable | None
    optimization: Optimization
    adapter: LoraTraining | None

    def __init__(self) -> None:
        super().__init__()
        self._callbacks: list[Callback] = []

    def set_optimization(
        self,
        optimization: Any,
        *,
        learning_rate: float,
        weight_decay: float,
        lr_scheduler_type: Schedule,
        warmup_ratio: float,
        warmup_steps: int,
        optimizer: OptimizerCallable | None,
        lr_scheduler: LRSchedulerCallable | None,
    ) -> None:
        """Sets what the attributes of these names say, and checks it, before a network is loaded.

        Args:
            optimization: That attribute, or its values as plain data.
            learning_rate: As the attribute, as are the others.
            weight_decay: See there.
            lr_scheduler_type: See there.
            warmup_ratio: See there.
            warmup_steps: See there.
            optimizer: See there.
            lr_scheduler: See there.

        Raises:
            UserError: Where they contradict each other, are out of bounds, or name what there is not.
        """
        for name, number in (("learning_rate", learning_rate), ("weight_decay", weight_decay)):
            check_between(name, number, 0)
        check_between("warmup_ratio", warmup_ratio, 0, 1)
        check_between("warmup_steps", warmup_steps, 0)
        self.optimization = from_plain(Optimization, optimization)
        self.hparams["optimization"] = asdict(self.optimization)  # a checkpoint holds plain data only
        self.learning_rate = float(learning_rate)  # NumPy's numbers would get into checkpoints with the optimizer
        self.weight_decay = float(weight_decay)
        self.lr_scheduler_type = lr_scheduler_type
        self.warmup_ratio = warmup_ratio
        self.warmup_steps = warmup_steps
        self.optimizer = optimizer
        self.lr_scheduler = lr_scheduler
        self.optimization.check_classes(
            optimizer=self.optimizer is not None, lr_scheduler=self.lr_scheduler is not None
        )
        check_schedule(self.lr_scheduler_type, self.optimization.decay_ratio, self.optimization.lr_scheduler_kwargs)

    def prepare_optimization(self, *, is_pretrained: bool) -> None:
        """Freezes what stays frozen, and makes the callbacks of the model.

        Args:
            is_pretrained: Whether the weights of the network were loaded.
        """
        self._callbacks = prepare_network(self.model, self.optimization, is_pretrained=is_pretrained)
        if self.adapter is not None:
            self._callbacks.append(self.adapter)

    def keep_ratios(self, optimizer: Optimizer) -> None:
        """Keeps the ratios of learning rates in a search for one, which gives all groups the same."""
        for config in self.trainer.lr_scheduler_configs:
            rates = config.scheduler.get_last_lr()
            if len(set(rates)) == 1:
                set_rates(optimizer, rates)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses to resume a training with groups of parameters, rates or an optimizer that it did not have.

        Raises:
            UserError: Where these settings have changed.
        """
        super().on_load_checkpoint(checkpoint)
        if self._trainer is not None and self.trainer.state.fn == TrainerFn.FITTING:
            before = checkpoint.get("hyper_parameters", {}).get("optimization") or {}
            self.optimization.check_resumed(from_plain(Optimization, before))

    def configure_callbacks(self) -> Sequence[Callback]:
        """The callbacks that the settings of this model ask for.

        Raises:
            UserError: Where a training begins whose optimizer is not installed, or the device cannot hold weights in
                few bits, before data are read.
        """
        if self._trainer is not None and self.trainer.state.fn == TrainerFn.FITTING:
            if self.optimizer is None:
                optimizer_class(self.optimization.optimizer_type)
            if self.adapter is not None:
                self.adapter.settings.check_device(self.trainer.strategy.root_device)
        return self._callbacks

    def make_optimizer(self, *, fused: bool = True) -> Optimizer:
        """Makes the optimizer, each of whose groups has its peak learning rate.

        Args:
            fused: Whether it may be fused; see `optim.adamw`.
        """
        settings = self.optimization
        groups = parameter_groups(self.model, self.weight_decay, settings)
        if self.optimizer is not None:
            optimizer = self.optimizer(groups)
        else:
            name, arguments = settings.optimizer_type, settings.optimizer_kwargs
            optimizer = make_optimizer(name, groups, self.learning_rate, arguments, fused=fused)
        set_rates(optimizer, [group.get("lr", 0.0) for group in optimizer.param_groups])
        return optimizer

    def configure_optimizers(self) -> Any:
        """Makes the optimizer and a schedule of transformers, or the given optimizer and schedule."""
        optimizer = self.make_optimizer(fused=not clips_scaled_gradients(self.trainer))
        if self.lr_scheduler is not None:
            scheduler: Any = self.lr_scheduler(optimizer)
        else:
            scheduler = make_schedule(
                optimizer,
                self.lr_scheduler_type,
                steps=self.trainer.estimated_stepping_batches,
                warmup_ratio=self.warmup_ratio,
                warmup_steps=self.warmup_steps,
                decay_ratio=self.optimization.decay_ratio,
                arguments=self.optimization.lr_scheduler_kwargs,
            )
        return {"optimizer": optimizer, "lr_scheduler": scheduler_config(scheduler)}

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips gradients as the trainer is set to; see `optim.clip_gradients`."""
        clip_gradients(self, optimizer, gradient_clip_val, gradient_clip_algorithm or "norm")
