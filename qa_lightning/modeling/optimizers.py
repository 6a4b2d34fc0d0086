"""Makes optimizers by name: those of torch, and some of the package ``pytorch-optimizer``."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import nn
from torch.optim import Optimizer

from qa_lightning.modeling.muon import BY_MUON, MuonWithAdamW
from qa_lightning.modeling.optim import adamw
from qa_lightning.utils.errors import UserError, in_one_line

OptimizerName = Literal[
    "adamw", "adam", "nadam", "radam", "adamax", "adagrad", "rmsprop", "sgd", "adafactor", "muon",
    "lion", "ademamix", "lamb", "adan",
]  # fmt: skip
"""Names of optimizers."""

_OF_TORCH = {
    "adamw": "AdamW",
    "adam": "Adam",
    "nadam": "NAdam",
    "radam": "RAdam",
    "adamax": "Adamax",
    "adagrad": "Adagrad",
    "rmsprop": "RMSprop",
    "sgd": "SGD",
    "adafactor": "Adafactor",
}
_GIVEN = ("params", "lr", "weight_decay", "fused")
"""Arguments that are not the user's: other settings give them."""

_FUSED = ("adam", "sgd")
"""Optimizers beside AdamW that have fused kernels on all devices that AdamW has them on."""


def make_optimizer(
    name: OptimizerName,
    groups: list[dict[str, Any]],
    learning_rate: float,
    arguments: Mapping[str, Any] | None = None,
    *,
    fused: bool = True,
) -> Optimizer:
    """Makes an optimizer, fused where it and the parameters' device have a fused kernel.

    Args:
        name: Its name.
        groups: What `parameter_groups` returned.
        learning_rate: The peak learning rate of the schedule.
        arguments: More arguments of the optimizer.
        fused: False where gradients are unscaled and clipped by hand, which a fused step does not allow.

    Raises:
        UserError: Where the package that has it is not installed.
    """
    arguments = dict(arguments or {})
    if name == "adamw":
        return adamw(groups, learning_rate, fused=fused, **arguments)
    if name in _FUSED and fused:
        arguments["fused"] = all(p.device.type in ("cpu", "cuda") for group in groups for p in group["params"])
    if name == "ademamix":
        arguments.setdefault("weight_decouple", True)  # as in its paper
    return optimizer_class(name)(groups, lr=learning_rate, **arguments)


def optimizer_class(name: OptimizerName) -> Any:
    """The class of an optimizer.

    Raises:
        UserError: Where the package that has it is not installed, or too old.
    """
    if name in _OF_TORCH:
        return getattr(torch.optim, _OF_TORCH[name])
    if name == "muon":
        if not is_installed(name):
            raise UserError(f"model.optimization.optimizer_type: muon needs torch 2.9, not {torch.__version__}")
        return MuonWithAdamW
    if not is_installed(name):
        raise UserError(
            f"model.optimization.optimizer_type: {name} is in a package that is not installed; install "
            "qa_lightning[optimizers]"
        )
    from pytorch_optimizer import load_optimizer

    return load_optimizer(name)


def is_installed(name: OptimizerName) -> bool:
    """Whether what has the optimizer is installed."""
    if name == "muon":
        return hasattr(torch.optim, "Muon")
    return name in _OF_TORCH or find_spec("pytorch_optimizer") is not None


def check_optimizer(name: OptimizerName, arguments: Mapping[str, Any]) -> None:
    """Checks that an optimizer takes such arguments, unless only a training would miss what has it.

    A model whose training needed another package is evaluated without that.

    Raises:
        UserError: Where it does not.
    """
    if not arguments or not is_installed(name):
        return
    made = optimizer_class(name)
    where = "model.optimization.optimizer_kwargs"
    parameters = inspect.signature(made.__init__).parameters.values()
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    taken = [argument for argument in named if argument not in ("self", *_GIVEN)]
    for argument in arguments:
        if argument in ("lr", "weight_decay"):
            other = {"lr": "learning_rate"}.get(argument, argument)
            raise UserError(f"{where}: {argument} is given by model.{other}; leave it out")
        if argument not in taken:
            raise UserError(f"{where}: {name} has no {argument!r}; it has {', '.join(taken)}")
    try:
        made(
            [{"params": [nn.Parameter(torch.zeros(2, 2))], BY_MUON: by_muon} for by_muon in (True, False)], **arguments
        )
    except Exception as error:  # each optimizer checks its arguments in its own way
        raise UserError(f"{where}: {name} does not accept them: {in_one_line(error)}") from error
