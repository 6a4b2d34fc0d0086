"""R-Drop: two passes with different dropout are to predict the same (Liang et al., 2021)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from qa_lightning.modeling.divergence import symmetric_divergence
from qa_lightning.modeling.objective import TrainingPass


@dataclass(frozen=True)
class RDrop:
    """Adds how far a second pass's predictions are from the first's, and makes the loss the mean of both passes'.

    Args:
        weight: The paper's α, which the divergence is multiplied by.
    """

    weight: float
    name = "r_drop"
    reruns_network = True

    def __call__(self, training_pass: TrainingPass) -> Tensor:
        """Computes the weighted divergence, plus half of what the second pass's loss is above the first's."""
        again = training_pass.forward()
        divergence = symmetric_divergence(training_pass.logits, again, training_pass.mask).mean()
        return self.weight * divergence + (training_pass.loss_of(again) - training_pass.loss) / 2
