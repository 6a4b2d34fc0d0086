"""SMART's smoothness: predictions are to stay what they are where embeddings move a little (Jiang et al., 2020)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from qa_lightning.modeling.ascent import gradients_within_step, unit
from qa_lightning.modeling.divergence import symmetric_divergence
from qa_lightning.modeling.objective import Logits, TrainingPass
from qa_lightning.utils.errors import UserError


@dataclass(frozen=True)
class Smoothness:
    """Adds how far predictions move where the word embedding of each token is moved so that they move most.

    Embeddings are first moved at random, then once along the gradient of the divergence that results; no element by
    more than ``radius`` in all.

    Args:
        weight: The paper's λ, which the divergence is multiplied by.
        radius: The most that an element of an embedding is moved by, and the standard deviation of the random move; the
            paper's ε and σ.
        step: How far the element of a token with the largest gradient is moved along it; the paper's η.
    """

    weight: float
    radius: float
    step: float
    name = "smart"
    reruns_network = True

    def __call__(self, training_pass: TrainingPass) -> Tensor:
        """Computes the weighted divergence, the mean over windows."""
        moves = iter(self._worst_moves(training_pass))
        moved = _forward_moved(training_pass, lambda _: next(moves))
        return self.weight * symmetric_divergence(training_pass.logits, moved, training_pass.mask).mean()

    def _worst_moves(self, training_pass: TrainingPass) -> list[Tensor]:
        """Finds how to move the embeddings, in the order in which the network looks them up."""
        moves: list[Tensor] = []

        def at_random(embeddings: Tensor) -> Tensor:
            move = self.radius * torch.randn_like(embeddings)
            moves.append(move.requires_grad_())
            return move

        moved = _forward_moved(training_pass, at_random)
        if not moves:
            kind = training_pass.network.config.model_type
            raise UserError(f"a {kind} model looks up no word embeddings; set model.regularization.smart to 0")
        start, end = training_pass.logits
        divergence = symmetric_divergence((start.detach(), end.detach()), moved, training_pass.mask).mean()
        gradients = gradients_within_step(divergence, moves)
        return [self._along(*pair) for pair in zip(moves, gradients, strict=True)]

    def _along(self, move: Tensor, gradient: Tensor | None) -> Tensor:
        move = move.detach()
        if gradient is not None:
            move = move + self.step * unit(gradient, gradient.float().abs().amax(-1, keepdim=True)).to(move.dtype)
        return move.clamp(-self.radius, self.radius)


def _forward_moved(training_pass: TrainingPass, move_of: Callable[[Tensor], Tensor]) -> Logits:
    """Computes logits anew, with word embeddings moved.

    Args:
        training_pass: What to compute anew.
        move_of: What is added to embeddings that were looked up, which it is given.
    """
    # A compiled network would not see that its embeddings have a hook now.
    with torch.compiler.set_stance("force_eager"), _hooked(training_pass.network, move_of):
        return training_pass.forward()


@contextmanager
def _hooked(network: Any, move_of: Callable[[Tensor], Tensor]) -> Iterator[None]:
    table = network.get_input_embeddings().weight
    with ExitStack() as stack:
        # An encoder and a decoder may share the table, each with a module of its own.
        for module in network.modules():
            if isinstance(module, nn.Embedding) and module.weight is table:
                handle = module.register_forward_hook(lambda _module, _inputs, output: output + move_of(output))
                stack.callback(handle.remove)
        yield
