"""Which regularisers a training has, by the section ``model.regularization`` of a config."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from qa_lightning.modeling.adversarial import awp, fgm
from qa_lightning.modeling.objective import LossTerm
from qa_lightning.modeling.r_drop import RDrop
from qa_lightning.modeling.smoothness import Smoothness
from qa_lightning.utils.bounds import check_between
from qa_lightning.utils.errors import UserError


@dataclass(frozen=True)
class Regularization:
    """Regularisers that are added to the loss, each times its weight; those whose weight is 0 are off.

    Args:
        r_drop: Weight of R-Drop: how far the predictions of two passes with different dropout are apart.
        fgm: Weight of FGM: the loss with word embeddings that are moved so as to raise it.
        fgm_radius: How far FGM moves the table of word embeddings, in the Euclidean norm.
        awp: Weight of AWP: the loss with all matrices of weights moved so as to raise it.
        awp_radius: How far AWP moves a matrix, as a share of its norm.
        awp_start_epoch: The first epoch, counted from 0, with AWP.
        smart: Weight of SMART's smoothness: how far predictions move where each token's embedding is moved so that they
            move most.
        smart_radius: The most by which SMART moves an element of an embedding.
        smart_step: How far SMART moves it along the gradient, within that.
    """

    r_drop: float = 0.0
    fgm: float = 0.0
    fgm_radius: float = 1.0
    awp: float = 0.0
    awp_radius: float = 0.005
    awp_start_epoch: int = 0
    smart: float = 0.0
    smart_radius: float = 0.001
    smart_step: float = 0.001

    def loss_terms(self, *, gradient_checkpointing: bool = False) -> tuple[LossTerm, ...]:
        """Makes the terms that are added to the loss: one for each regulariser that is on.

        Args:
            gradient_checkpointing: Whether activations are computed again in the backward pass.

        Raises:
            UserError: Where a number is out of bounds, or a regulariser does not work with gradient checkpointing.
        """
        for name, value in asdict(self).items():
            check_between(f"regularization.{name}", value, 0)
        if self.awp and gradient_checkpointing:
            raise UserError(
                "regularization.awp does not work with gradient_checkpointing, which would compute activations again "
                "with weights that are not moved; set regularization.awp to 0, or gradient_checkpointing to false"
            )
        terms = (
            RDrop(self.r_drop),
            fgm(self.fgm, self.fgm_radius),
            awp(self.awp, self.awp_radius, self.awp_start_epoch),
            Smoothness(self.smart, self.smart_radius, self.smart_step),
        )
        return tuple(term for term in terms if term.weight)
