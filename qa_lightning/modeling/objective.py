"""What a training step minimises: the mean loss of the golds, and terms that techniques add to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

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
        loss: The mean loss of the golds, a scalar.
        epoch: The number of the epoch, from 0.
        forward: Computes the logits of the batch again, with dropout drawn anew.
        loss_of: Computes the mean loss of the golds from other logits.
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


def compute_terms(terms: Iterable[LossTerm], training_pass: TrainingPass) -> dict[str, Tensor]:
    """Computes the terms of a loss; a scalar each, by its name."""
    return {term.name: term(training_pass) for term in terms}


def rerun_network(terms: Iterable[LossTerm]) -> bool:
    """Whether a training step with these terms has more than one forward pass."""
    return any(term.reruns_network for term in terms)
