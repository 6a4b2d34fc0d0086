"""Groups the parameters of a network, each group with its learning rate and decay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer

from qa_lightning.modeling.layers import find_layers
from qa_lightning.modeling.muon import BY_MUON
from qa_lightning.modeling.optimization import PLAIN_OPTIMIZATION, Optimization

LR_SCALE = "lr_scale"
"""Key of a group: its learning rate as a factor of the optimizer's."""

OWN_LR = "own_lr"
"""Key of a group: its learning rate, whatever the optimizer's."""


def parameter_groups(
    network: Any, weight_decay: float, settings: Optimization = PLAIN_OPTIMIZATION
) -> list[dict[str, Any]]:
    """Groups the trainable parameters: matrices, which decay, and biases and norms, which do not.

    Biases and the weights of norms are the parameters of one dimension. Where parts of the network have learning rates
    or decays of their own, each part has groups of its own, with a ``name``; `set_rates` gives them their rates.

    Args:
        network: The network.
        weight_decay: That of the matrices.
        settings: What else is asked for.
    """
    by_layer = settings.layer_decay != 1
    has_parts = by_layer or settings.head_learning_rate is not None or bool(settings.pretrained_decay)
    by_muon = _hidden_matrices(network) if settings.optimizer_type == "muon" else set()
    layers = find_layers(network) if has_parts else None
    # By depth, or 0 for all but the head where layers have no rates of their own; at each depth first what Muon
    # updates, then other matrices, then biases and norms.
    members: dict[tuple[int, int], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            kind = 2 if parameter.ndim <= 1 else 0 if name in by_muon else 1
            depth = 0 if layers is None else layers.depths[name]
            if layers is not None and not by_layer and depth != layers.head:
                depth = 0
            members.setdefault((depth, kind), []).append(parameter)
    groups = []
    for (depth, kind), parameters in sorted(members.items()):
        group: dict[str, Any] = {"params": parameters, "weight_decay": weight_decay if kind < 2 else 0.0}
        if kind == 0:
            group[BY_MUON] = True
        if layers is not None:
            group |= _options(depth == layers.head, settings.layer_decay ** (layers.head - depth), settings)
            name = layers.name(depth) if by_layer or depth == layers.head else "encoder"
            group["name"] = name + ("/muon", "", "/bias_and_norm")[kind]
            if settings.pretrained_decay and depth != layers.head:
                group["weight_decay"] = 0.0
        groups.append(group)
    return groups


def _options(is_head: bool, scale: float, settings: Optimization) -> dict[str, Any]:
    if is_head and settings.head_learning_rate is not None:
        return {OWN_LR: settings.head_learning_rate}
    return {LR_SCALE: scale} if settings.layer_decay != 1 else {}


def _hidden_matrices(network: Any) -> set[str]:
    """The names of the matrices of layers, without tables of vectors."""
    layers = find_layers(network)
    in_tables = {id(p) for module in network.modules() if isinstance(module, nn.Embedding) for p in module.parameters()}
    return {
        name
        for name, parameter in network.named_parameters()
        if parameter.ndim == 2 and 0 < layers.depths[name] < layers.head and id(parameter) not in in_tables
    }


def set_rates(optimizer: Optimizer, rates: Sequence[Any]) -> None:
    """Sets the learning rates of groups that have their own, or a share of the optimizer's.

    Args:
        optimizer: An optimizer of groups that `parameter_groups` made.
        rates: The optimizer's rate for each group.
    """
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        if OWN_LR in group:
            group["lr"] = group[OWN_LR]
        elif LR_SCALE in group:
            group["lr"] = rate * group[LR_SCALE]


def group_rows(network: nn.Module, optimizer: Optimizer) -> list[tuple[str, int, float | None, float | None]]:
    """Describes the groups of an optimizer, and then what it leaves as it is.

    Returns:
        For each, its name, its number of weights, its peak learning rate and its weight decay; these are None for what
        is frozen.
    """
    rows: list[tuple[str, int, float | None, float | None]] = []
    seen = set()
    for group in optimizer.param_groups:
        parameters = group["params"]
        seen |= {id(parameter) for parameter in parameters}
        kind = "bias_and_norm" if parameters[0].ndim <= 1 else "muon" if group.get(BY_MUON) else "matrices"
        rate = float(group.get("initial_lr", group["lr"]))
        decay = float(group.get("weight_decay", 0.0))
        rows.append((group.get("name", kind), sum(p.numel() for p in parameters), rate, decay))
    frozen = sum(parameter.numel() for parameter in network.parameters() if id(parameter) not in seen)
    return rows + ([("frozen", frozen, None, None)] if frozen else [])
