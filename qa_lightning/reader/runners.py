"""Runs a Reader's model, which gives the logits of a batch."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol

import torch
from torch import Tensor

from qa_lightning.modeling.network import accepted_inputs, longest_input, network_inputs
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
        """Computes the start and end logits of every position of a batch; floating point ``[batch, length]`` each."""


class TorchRunner:
    """Runs a network of transformers.

    Args:
        network: The network, whose device and dtype are kept.
    """

    def __init__(self, network: Any) -> None:
        self.network = network.eval()
        self.longest = longest_input(network)
        self.device = network.device
        self._accepted: Collection[str] = accepted_inputs(network)

    def __call__(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Computes the start and end logits of every position of a batch; floating point ``[batch, length]`` each."""
        output = self.network(**network_inputs(batch, self._accepted))
        return output.start_logits, output.end_logits
