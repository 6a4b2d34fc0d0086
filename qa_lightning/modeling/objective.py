"""What a training step minimises: the mean loss of the golds, and terms that techniques add to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from qa_lightning.decoding.pairs import pointer_logits, scores_pairs
from qa_lightning.records import Batch

Logits = tuple[Tensor, Tensor]
"""Start and end logits; floating point ``[batch, length]`` each, those of ends that are given for each start ``[batch,
length, length]``."""


class ScoredLogits(Logits):
    """Start and end logits, beside which a head has said whether there is an answer.

    Attributes:
        answerability: Logits of there being none, ``[batch]``; None where no head says so.
    """

    answerability: Tensor | None

    def __new__(cls, start: Tensor, end: Tensor, answerability: Tensor | None) -> ScoredLogits:
        """Makes the pair."""
        pair = super().__new__(cls, (start, end))
        pair.answerability = answerability
        return pair


class ForwardAgain(Protocol):
    """Computes the logits of a batch once more, with dropout drawn anew."""

    def __call__(self, parameters: Mapping[str, Tensor] | None = None) -> Logits:
        """Computes them.

        Args:
            parameters: Values that take the place of some of the network's parameters, by their names in it.
        """
        ...


class LossOf(Protocol):
    """Computes the mean loss of a batch's golds, a scalar, from other logits."""

    def __call__(self, logits: Logits) -> Tensor:
        """Computes it."""
        ...


@dataclass(frozen=True)
class TrainingPass:
    """The forward pass of a training step, from which the terms of the loss are computed.

    Attributes:
        network: The network of transformers.
        batch: The batch, with the ids of its windows.
        logits: Start and end logits; those of padding are of no meaning. `ScoredLogits`, where a head says more.
        loss: The mean loss of the golds, times their weight where they have one; a scalar.
        epoch: The number of the epoch, from 0.
        forward: Computes the logits of the batch again, with dropout drawn anew.
        loss_of: Computes the same loss from other logits.
    """

    network: Any
    batch: Batch
    logits: Logits
    loss: Tensor
    epoch: int
    forward: ForwardAgain
    loss_of: LossOf

    @property
    def mask(self) -> Tensor:
        """Whether a position is a real one, over which the loss has its probabilities; bool ``[batch, length]``."""
        return self.batch.inputs["attention_mask"][: len(self.batch)] > 0


class LossTerm(Protocol):
    """Something that is added to the mean loss of the golds, such as a regulariser or the loss to a teacher.

    Attributes:
        name: Its name in the logs, where it is ``train/NAME``.
        reruns_network: Whether it calls `TrainingPass.forward`.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - see above

    @property
    def reruns_network(self) -> bool: ...  # noqa: D102 - see above

    def __call__(self, training_pass: TrainingPass) -> Tensor:
        """Computes the scalar that is added, times its weight."""
        ...


def each_token(batch: Batch, logits: Logits) -> Logits:
    """Computes how well each token starts, and ends, any span, where a head scores pairs; else these are the logits.

    Args:
        batch: The batch.
        logits: Start and end logits of its windows.

    Returns:
        Floating point ``[batch, length]`` each.
    """
    if not scores_pairs(logits[1]):
        return logits
    place = torch.arange(logits[0].shape[1], device=logits[0].device)
    null = batch.null_position.to(place.device)
    real = batch.inputs["attention_mask"][: len(batch)] > 0
    return pointer_logits(*logits, real & (place != null[:, None]), null)


def compute_terms(terms: Iterable[LossTerm], training_pass: TrainingPass) -> dict[str, Tensor]:
    """Computes the terms of a loss; a scalar each, by its name."""
    return {term.name: term(training_pass) for term in terms}


def rerun_network(terms: Iterable[LossTerm]) -> bool:
    """Whether a training step with these terms has more than one forward pass."""
    return any(term.reruns_network for term in terms)


def weighted(loss_of: LossOf, weight: float) -> LossOf:
    """Makes a function whose loss is a multiple of another's."""

    def weighted_loss_of(logits: Logits) -> Tensor:
        return weight * loss_of(logits)

    return weighted_loss_of
