"""Adversarial training: the loss is to be low also where the weights are moved so as to raise it most."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from qa_lightning.modeling.ascent import gradients_within_step, unit
from qa_lightning.modeling.objective import TrainingPass

NamedParameters = Iterator[tuple[str, Tensor]]


@dataclass(frozen=True)
class AdversarialLoss:
    """Adds the loss of a second pass, whose parameters are moved along the gradient of the first one's loss.

    The move itself is a constant: no gradient flows through it.

    Args:
        name: The name in the logs.
        weight: What the loss of the second pass is multiplied by.
        select: Yields the parameters of a network that are moved.
        radius: How far each of them is moved, in the Euclidean norm.
        relative: Whether that is a share of the parameter's own norm.
        start_epoch: The first epoch, counted from 0, with a second pass.
    """

    name: str
    weight: float
    select: Callable[[Any], NamedParameters]
    radius: float
    relative: bool = False
    start_epoch: int = 0
    reruns_network = True

    def __call__(self, training_pass: TrainingPass) -> Tensor:
        """Computes the weighted loss of the second pass.

        It is zero before the first epoch that has one, and where a callback has frozen all that would be moved.
        """
        chosen = dict(self.select(training_pass.network))
        if training_pass.epoch < self.start_epoch or not chosen:
            return torch.zeros_like(training_pass.loss)
        gradients = gradients_within_step(training_pass.loss, list(chosen.values()))
        moved = {
            name: self._move(parameter, gradient)
            for (name, parameter), gradient in zip(chosen.items(), gradients, strict=True)
            if gradient is not None
        }
        return self.weight * training_pass.loss_of(training_pass.forward(moved))

    def _move(self, parameter: Tensor, gradient: Tensor) -> Tensor:
        length = self.radius * parameter.detach().float().norm() if self.relative else self.radius
        step = length * unit(gradient, gradient.float().norm())
        return parameter + step.to(parameter.dtype)


def fgm(weight: float, radius: float) -> AdversarialLoss:
    """The fast gradient method: the word embeddings are moved (Miyato et al., 2017).

    Args:
        weight: What the loss of the second pass is multiplied by.
        radius: How far the table of word embeddings is moved, in the Euclidean norm; the paper's ε.
    """
    return AdversarialLoss("fgm", weight, _word_embeddings, radius)


def awp(weight: float, radius: float, start_epoch: int = 0) -> AdversarialLoss:
    """Adversarial weight perturbation: every matrix of weights is moved (Wu et al., 2020).

    Args:
        weight: What the loss of the second pass is multiplied by.
        radius: How far a matrix is moved, as a share of its own norm; the paper's γ.
        start_epoch: The first epoch, counted from 0, with a second pass.
    """
    return AdversarialLoss("awp", weight, _matrices, radius, relative=True, start_epoch=start_epoch)


def _word_embeddings(network: Any) -> NamedParameters:
    table = network.get_input_embeddings().weight
    return (item for item in _trainable(network) if item[1] is table)


def _matrices(network: Any) -> NamedParameters:
    return (item for item in _trainable(network) if item[1].ndim > 1)


def _trainable(network: Any) -> NamedParameters:
    return (item for item in network.named_parameters() if item[1].requires_grad)
