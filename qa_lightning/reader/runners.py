"""Runs a Reader's model, which gives the logits of a batch."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol

import torch
from torch import Tensor

from qa_lightning.modeling.network import accepted_inputs, longest_input, network_inputs
from qa_lightning.pretrained.head import HEAD_KEY
from qa_lightning.records import Batch


class Runner(Protocol):
    """A model that computes the logits of batches.

    Attributes:
        longest: How many tokens it has positions for; None: any number.
        device: Where it is.
    """

    longest: int | None
    device: torch.device

    def __call__(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Computes the start and end logits of every position of a batch; floating point ``[batch, length]`` each.

        A model that scores pairs gives the logits of ends given each start, ``[batch, length, length]``, and says so by
        an attribute ``scores_pairs``.
        """


class TorchRunner:
    """Runs a network of transformers.

    Args:
        network: The network, whose device and dtype are kept.

    Attributes:
        scores_pairs: Whether end logits are given for each start.
    """

    def __init__(self, network: Any) -> None:
        self.network = network.eval()
        self.longest = longest_input(network)
        self.device = network.device
        head = getattr(network, HEAD_KEY, None)
        self.scores_pairs = head is not None and head.scores_pairs
        self._accepted: Collection[str] = accepted_inputs(network)

    def __call__(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Computes the start and end logits of every position of a batch, as a `Runner` does."""
        output = self.network(**network_inputs(batch, self._accepted))
        return output.start_logits, output.end_logits
