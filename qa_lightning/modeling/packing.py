"""Batches without padding: their tokens in one row, through which each window still sees only itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from qa_lightning.modeling.attention import unpacked, use_our_attention
from qa_lightning.modeling.network import accepted_inputs, first_position
from qa_lightning.utils.errors import UserError

_REPLACED = ("attention_mask", "position_ids")


class Packing:
    """How a network is given a batch as one row.

    Args:
        network: The network, which gets `attention.attend` for its attention.
        attn_implementation: The attention kernel that it was loaded with; None: the network's own choice.

    Raises:
        UserError: Where the network does not give what it gives without packing, as its architecture or its attention
            kernel may have it.
    """

    def __init__(self, network: Any, attn_implementation: str | None = None) -> None:
        self._first_position = first_position(network)
        if not use_our_attention(network, attn_implementation) or not self._holds(network):
            raise UserError(
                f"a {network.config.model_type} model with this attention kernel cannot keep windows apart that stand "
                "in one row; set packing to false"
            )

    def logits(self, network: Any, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """A network's logits, with no time spent on padding, except by attention.

        Args:
            network: What the packing was made for.
            inputs: What it takes, ``attention_mask`` among them; ``[batch, length]`` each.

        Returns:
            Start and end logits, zero at padding; floating point ``[batch, length]``.
        """
        real = inputs["attention_mask"] > 0
        row = {name: values[real][None] for name, values in inputs.items() if name not in _REPLACED}
        places = (real.cumsum(1) - 1)[real][None] + self._first_position
        output = network(**row, position_ids=places, packed=real)
        return unpacked(output.start_logits[0], real), unpacked(output.end_logits[0], real)

    def _holds(self, network: Any) -> bool:
        """Whether two windows of unlike length, packed, get the logits that they have by themselves."""
        if any("sliding" in kind for kind in getattr(network.config, "layer_types", None) or ()):
            return False
        # From 10 on: RoBERTa counts the positions of ids that are not the padding's.
        ids = (10 + torch.arange(20).view(2, 10)) % network.get_input_embeddings().weight.shape[0]
        mask = (torch.arange(10) < torch.tensor([[10], [7]])).long()
        accepted = accepted_inputs(network)
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
        inputs = {name: values for name, values in inputs.items() if name in accepted}
        training = network.training
        network.eval()
        try:
            with torch.no_grad():
                plain = network(**inputs)
                packed = self.logits(network, inputs)
        except (TypeError, ValueError, RuntimeError, AttributeError, AssertionError):
            return False  # it has no use for position_ids, or makes a mask of its own
        finally:
            network.train(training)
        theirs, ours = (torch.stack(both)[:, mask > 0] for both in ((plain.start_logits, plain.end_logits), packed))
        # Before it is trained, a network's logits differ little: what counts is how much of that is something else.
        return bool((ours - theirs).abs().max() < 1e-3 * theirs.std())
