"""The settings of how weights are updated, their checks, and the callbacks that they ask for."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import lightning.pytorch as pl

from qa_lightning.modeling.layers import NetworkLayers, find_layers
from qa_lightning.modeling.optimizers import OptimizerName, check_optimizer
from qa_lightning.modeling.pretrained_weights import PretrainedWeights
from qa_lightning.modeling.reinitialization import Reinitialization
from qa_lightning.modeling.unfreezing import GradualUnfreezing
from qa_lightning.utils.bounds import check_between
from qa_lightning.utils.errors import UserError


@dataclass(frozen=True)
class Optimization:
    """How weights are updated, beyond learning rate, weight decay and warm-up.

    Args:
        optimizer_type: The optimizer; from lion on by the package ``pytorch-optimizer``. Muon updates the matrices of
            the layers, AdamW the rest.
        optimizer_kwargs: More arguments of the optimizer, such as ``betas: [0.9, 0.98]``.
        lr_scheduler_kwargs: More arguments of the schedule, as transformers calls them, such as ``num_cycles: 2``.
        decay_ratio: Share of all steps over which the schedule warmup_stable_decay falls; default: 0.1.
        layer_decay: Factor of the learning rate from each layer to the one below it; the head has the full rate.
        head_learning_rate: The peak learning rate of the question-answering head; default: ``learning_rate``.
        freeze_embeddings: Leaves the embeddings as they are.
        freeze_layers: Leaves so many of the lowest layers as they are.
        unfreeze_every_n_steps: Trains the head alone at first, and one more layer, from the top, after each so many
            steps; at last the embeddings.
        unfreeze_every_n_epochs: The same after each so many epochs.
        reinit_layers: Begins with random weights in so many of the top layers.
        mixout: The probability with which, in each forward pass of training, a weight is the pretrained one.
        pretrained_decay: Decay of the weights towards the pretrained ones, in place of ``weight_decay``, which
            remains that of the head.

    Raises:
        UserError: Where a value is out of bounds, or contradicts another one.
    """

    optimizer_type: OptimizerName = "adamw"
    optimizer_kwargs: dict[str, Any] = field(default_factory=dict)
    lr_scheduler_kwargs: dict[str, Any] = field(default_factory=dict)
    decay_ratio: float | None = None
    layer_decay: float = 1.0
    head_learning_rate: float | None = None
    freeze_embeddings: bool = False
    freeze_layers: int = 0
    unfreeze_every_n_steps: int = 0
    unfreeze_every_n_epochs: int = 0
    reinit_layers: int = 0
    mixout: float = 0.0
    pretrained_decay: float = 0.0

    def __post_init__(self) -> None:
        for name in ("freeze_layers", "unfreeze_every_n_steps", "unfreeze_every_n_epochs", "reinit_layers"):
            check_between(f"model.optimization.{name}", getattr(self, name), 0)
        for name in ("head_learning_rate", "decay_ratio", "pretrained_decay"):
            if getattr(self, name) is not None:
                most = 1 if name == "decay_ratio" else math.inf
                check_between(f"model.optimization.{name}", getattr(self, name), 0, most)
        if not 0 < self.layer_decay <= 1:
            raise UserError(f"model.optimization.layer_decay must be above 0 and at most 1, not {self.layer_decay}")
        if not 0 <= self.mixout < 1:
            raise UserError(f"model.optimization.mixout must be at least 0 and below 1, not {self.mixout}")
        if self.unfreeze_every_n_steps and self.unfreeze_every_n_epochs:
            raise UserError(
                "model.optimization: layers are unfrozen either by steps or by epochs; leave out "
                "unfreeze_every_n_steps or unfreeze_every_n_epochs"
            )
        if self.decay_ratio is not None and "num_decay_steps" in self.lr_scheduler_kwargs:
            raise UserError("model.optimization: leave out decay_ratio, or num_decay_steps of lr_scheduler_kwargs")
        check_optimizer(self.optimizer_type, self.optimizer_kwargs)

    @property
    def unfreezes(self) -> bool:
        """Whether layers are unfrozen one by one."""
        return bool(self.unfreeze_every_n_steps or self.unfreeze_every_n_epochs)

    @property
    def needs_pretrained_weights(self) -> bool:
        """Whether weights are kept near the pretrained ones."""
        return bool(self.mixout or self.pretrained_decay)

    def check_classes(self, *, optimizer: bool, lr_scheduler: bool) -> None:
        """Checks that nothing is said of an optimizer or schedule that a class takes the place of.

        Args:
            optimizer: Whether an optimizer is given as a class.
            lr_scheduler: Whether a schedule is.

        Raises:
            UserError: Where something is.
        """
        if optimizer and (self.optimizer_type != "adamw" or self.optimizer_kwargs):
            raise UserError(
                "model.optimizer names a class, which takes the place of model.optimization.optimizer_type and "
                "optimizer_kwargs; keep one of them"
            )
        if lr_scheduler and (self.lr_scheduler_kwargs or self.decay_ratio is not None):
            raise UserError(
                "model.lr_scheduler names a class, which takes the place of model.optimization.lr_scheduler_kwargs and "
                "decay_ratio; keep one of them"
            )

    def check_resumed(self, before: Optimization) -> None:
        """Checks that a training that resumes has the optimizer and the groups of parameters that it had.

        Args:
            before: Its settings before.

        Raises:
            UserError: Where it has others.
        """
        for name in _KEPT:
            here, there = getattr(self, name), getattr(before, name)
            if here != there and (name != "pretrained_decay" or not (here and there)):
                raise UserError(
                    f"model.optimization.{name}: the training that resumes had {there}, not {here}, and goes on with "
                    "its optimizer; leave it as it was, or begin a new training from best_model"
                )


_KEPT = (
    "optimizer_type",
    "optimizer_kwargs",
    "layer_decay",
    "head_learning_rate",
    "freeze_embeddings",
    "freeze_layers",
    "pretrained_decay",
)
"""Settings that a training keeps for good: what a checkpoint holds of the optimizer follows from them."""

PLAIN_OPTIMIZATION = Optimization()
"""AdamW on the whole network."""


def prepare_network(network: Any, settings: Optimization, *, is_pretrained: bool) -> list[pl.Callback]:
    """Freezes what stays frozen for the whole training, and makes the callbacks that a training needs.

    Args:
        network: A question-answering network of transformers.
        settings: What is asked for.
        is_pretrained: Whether its weights were loaded.

    Raises:
        UserError: Where the network lacks what the settings need.
    """
    callbacks: list[pl.Callback] = []
    if settings == PLAIN_OPTIMIZATION:
        return callbacks
    layers = find_layers(network)
    _check_layers(layers, settings)
    if not is_pretrained:
        for name in ("mixout", "pretrained_decay", "reinit_layers"):
            if getattr(settings, name):
                raise UserError(
                    f"model.optimization.{name} needs pretrained weights, and model.config_name starts from random "
                    "ones; set model.model_name_or_path, or leave it out"
                )
    for name, parameter in network.named_parameters():
        depth = layers.depths[name]
        if (depth == 0 and settings.freeze_embeddings) or 0 < depth <= settings.freeze_layers:
            parameter.requires_grad_(False)
    random_from = layers.head - settings.reinit_layers  # the depth from which on nothing is pretrained
    if settings.needs_pretrained_weights:
        names = [name for name, depth in layers.depths.items() if depth < random_from]
        callbacks.append(PretrainedWeights(names, settings.mixout, settings.pretrained_decay))
    if settings.reinit_layers:
        callbacks.append(Reinitialization(settings.reinit_layers))
    if settings.unfreezes:
        callbacks.append(GradualUnfreezing(settings.unfreeze_every_n_steps, settings.unfreeze_every_n_epochs))
    return callbacks


def _check_layers(layers: NetworkLayers, settings: Optimization) -> None:
    for name in ("freeze_layers", "unfreeze_every_n_steps", "unfreeze_every_n_epochs", "reinit_layers"):
        if getattr(settings, name):
            layers.check(name)
    if settings.layer_decay != 1:
        layers.check("layer_decay")
    for name in ("freeze_layers", "reinit_layers"):
        if getattr(settings, name) > layers.number and layers.problem is None:
            raise UserError(
                f"model.optimization.{name}: the model has {layers.number} layers, not {getattr(settings, name)}"
            )
    if settings.reinit_layers and settings.freeze_layers + settings.reinit_layers > layers.number:
        raise UserError(
            f"model.optimization: of {layers.number} layers, freeze_layers ({settings.freeze_layers}) and "
            f"reinit_layers ({settings.reinit_layers}) share some, which would stay random; lower one of them"
        )
