"""LoRA (Hu et al. 2021): trains small matrices beside the pretrained weights, by the section ``model.peft``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, Literal

import torch
from torch import nn

from qa_lightning.modeling.layers import find_layers
from qa_lightning.modeling.optimization import Optimization
from qa_lightning.modeling.regularization import Regularization
from qa_lightning.utils.bounds import check_between
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.extras import require

Quantization = Literal["4bit", "8bit"]

_LEFT_ALONE = {
    "freeze_embeddings": "all pretrained weights are frozen",
    "freeze_layers": "all pretrained weights are frozen, and target_modules says what has an adapter",
    "reinit_layers": "a checkpoint holds only the adapter, so weights that begin anew would be lost",
    "mixout": "the pretrained weights stay as they are",
    "pretrained_decay": "the pretrained weights stay as they are",
}
"""Settings of the optimization that make no sense with an adapter, and why."""


@dataclass(frozen=True)
class LoraSettings:
    """Trains an adapter of low rank, and the question-answering head in full; the pretrained weights stay as they are.

    Each chosen matrix W becomes W + s·B·A, with B and A of rank r and s = alpha/r. Checkpoints hold B, A and the head.

    Args:
        r: The rank; 0: no adapter, all weights are trained.
        alpha: How strong the adapter is, relative to its rank; default: twice ``r``.
        dropout: The probability of dropout before A.
        target_modules: Which matrices: the names of their layers, or the ends of names, such as ``[query, value]``;
            ``auto``: all linear layers of the network's layers.
        use_rslora: Whether s = alpha/√r, with which high ranks learn better.
        merge: Whether ``best_model/`` is a plain folder with the sum of both; else it is an adapter, as peft writes it.
        quantization: Keeps the pretrained weights of these layers in so few bits, as QLoRA does; needs a CUDA card.

    Raises:
        UserError: Where a value is out of bounds, or contradicts another one.
    """

    r: int = 0
    alpha: float | None = None
    dropout: float = 0.0
    target_modules: Literal["auto"] | list[str] = "auto"
    use_rslora: bool = False
    merge: bool = False
    quantization: Quantization | None = None

    def __post_init__(self) -> None:
        check_between("model.peft.r", self.r, 0)
        if self.alpha is not None and not self.alpha > 0:
            raise UserError(f"model.peft.alpha must be above 0, not {self.alpha}")
        if not 0 <= self.dropout < 1:
            raise UserError(f"model.peft.dropout must be at least 0 and below 1, not {self.dropout}")
        if self.target_modules != "auto" and (isinstance(self.target_modules, str) or not self.target_modules):
            raise UserError("model.peft.target_modules must be auto, or a list of names of layers")
        given = [f.name for f in fields(self) if getattr(self, f.name) != f.default]
        if given and not self.r:
            raise UserError(f"model.peft.{given[0]} does nothing without model.peft.r, the rank; set it, such as to 8")
        if self.merge and self.quantization:
            raise UserError(
                "model.peft.merge: weights in few bits cannot hold the sum; leave it out, and merge the best model "
                "with `qa_lightning export --format safetensors`"
            )

    @property
    def scale(self) -> float:
        """What the product of both matrices is multiplied by."""
        return self.strength / (self.r**0.5 if self.use_rslora else self.r)

    @property
    def strength(self) -> float:
        """Alpha, or its default."""
        return 2.0 * self.r if self.alpha is None else self.alpha

    def check(self, optimization: Optimization, regularization: Regularization, model_name_or_path: str | None) -> None:
        """Checks an adapter's settings against the others, before a network is loaded.

        Raises:
            UserError: Where they contradict each other, or a package is missing.
        """
        if not self.r:
            return
        require("peft", "peft")
        if model_name_or_path is None:
            raise UserError(
                "model.peft trains an adapter of pretrained weights, and model.config_name starts from random ones; "
                "set model.model_name_or_path, or leave it out"
            )
        for name, reason in _LEFT_ALONE.items():
            if getattr(optimization, name):
                raise UserError(f"model.optimization.{name} makes no sense with model.peft: {reason}; leave one out")
        if regularization.fgm:
            raise UserError(
                "model.regularization.fgm moves the table of word embeddings, which model.peft leaves frozen; take "
                "smart, which moves each token's, or awp"
            )

    def check_device(self, device: torch.device) -> None:
        """Checks that weights can be kept in few bits on a device, before data are read.

        Raises:
            UserError: Where they cannot.
        """
        if self.quantization and device.type != "cuda":
            raise UserError(
                f"model.peft.quantization: {self.quantization} needs a CUDA card, and this runs on {device.type}; "
                "leave it out"
            )


NO_ADAPTER = LoraSettings()
"""All weights are trained."""


def find_targets(network: Any, wanted: Literal["auto"] | Iterable[str]) -> list[str]:
    """Finds the layers of a question-answering network that get an adapter.

    Args:
        network: A network of transformers.
        wanted: Names, or ends of names; ``auto``: all linear layers of its layers.

    Returns:
        Their full names.

    Raises:
        UserError: Where there are none of a name, with the names that there are.
    """
    adaptable = _matrices(network)
    if wanted == "auto":
        found = [name for name, depth in adaptable.items() if depth and any(part.isdigit() for part in name.split("."))]
        if not found:
            raise UserError(
                f"model.peft: a {network.config.model_type} model has no linear layers that take an adapter"
            )
        return found
    names: dict[str, None] = {}
    for end in wanted:
        found = [name for name in adaptable if f".{name}".endswith(f".{end}")]
        if not found:
            there = ", ".join(sorted({name.rpartition(".")[2] for name in adaptable}))
            raise UserError(
                f"model.peft.target_modules: a {network.config.model_type} model has no {end!r} to put an adapter to; "
                f"there are {there}"
            )
        names |= dict.fromkeys(found)
    return list(names)


def find_heads(network: Any) -> list[str]:
    """The names of the parts of a question-answering network that are no part of its base model."""
    layers = find_layers(network)
    heads = (name.partition(".")[0] for name, depth in layers.depths.items() if depth == layers.head)
    return list(dict.fromkeys(heads))


def _matrices(network: Any) -> dict[str, int]:
    """The linear layers and tables of vectors of a base model, and the depths at which they stand."""
    from transformers.pytorch_utils import Conv1D

    layers = find_layers(network)
    found = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear | Conv1D | nn.Embedding):
            depth = layers.depths.get(f"{name}.weight")
            if depth is not None and depth != layers.head:
                found[name] = 0 if isinstance(module, nn.Embedding) else depth
    return found
