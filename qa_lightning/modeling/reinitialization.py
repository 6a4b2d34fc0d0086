"""Begins a training with random weights in the top layers (Zhang et al. 2021, "Revisiting Few-sample BERT")."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch

from qa_lightning.modeling.layers import find_layers
from qa_lightning.modeling.network import quiet_transformers


class Reinitialization(pl.Callback):
    """Gives the top layers random weights when a training begins; one that resumes loads its own over them.

    Args:
        layers: How many layers.
    """

    def __init__(self, layers: int) -> None:
        self.layers = layers
        self._done = False

    def setup(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        """Does so, once for each model."""
        if stage == "fit" and not self._done:
            reinitialize(pl_module.model, self.layers)
            self._done = True


@torch.no_grad()
def reinitialize(network: Any, layers: int) -> None:
    """Gives the top layers, and what stands behind them in the base model, the weights of a new network.

    Args:
        network: A question-answering network of transformers.
        layers: How many layers.
    """
    from transformers import AutoModelForQuestionAnswering

    with quiet_transformers():
        new = AutoModelForQuestionAnswering.from_config(network.config, dtype=torch.float32, trust_remote_code=False)
    found, weights = find_layers(network), dict(new.named_parameters())
    for name, parameter in network.named_parameters():
        if found.head - layers <= found.depths[name] < found.head:
            parameter.copy_(weights[name])
