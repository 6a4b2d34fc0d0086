"""Parameter groups, the optimizer and the learning rate's schedule."""

from __future__ import annotations

from typing import Any, Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.plugins import MixedPrecision
from torch import nn
from torch.optim import Optimizer

from qa_lightning.utils.errors import UserError

Schedule = Literal["linear", "cosine", "polynomial", "constant", "constant_with_warmup"]


def parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Groups the trainable parameters: matrices, which decay, and biases and norms, which do not.

    Biases and the weights of norms are the parameters of one dimension.
    """
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def adamw(groups: list[dict[str, Any]], learning_rate: float, fused: bool = True) -> Optimizer:
    """Makes an AdamW optimizer, fused where the parameters' device has a fused kernel.

    Args:
        groups: What `parameter_groups` returned.
        learning_rate: The peak learning rate of the schedule.
        fused: False where gradients are unscaled and clipped by hand, which a fused step does not allow.
    """
    devices = {parameter.device.type for group in groups for parameter in group["params"]}
    fused = fused and devices <= {"cpu", "cuda", "xpu", "mps"}
    return torch.optim.AdamW(groups, lr=learning_rate, fused=fused)


def clips_scaled_gradients(trainer: pl.Trainer) -> bool:
    """Whether float16 gradients are clipped, which a fused step does not allow: it unscales them itself, too late."""
    return trainer.precision == "16-mixed" and bool(trainer.gradient_clip_val)


def scheduler_config(scheduler: Any) -> dict[str, Any]:
    """Makes Lightning's configuration of a schedule, stepped after each optimizer step, or each epoch on plateau."""
    by_epoch = isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
    monitor = getattr(scheduler, "monitor", "val/f1")
    return {"scheduler": scheduler, "interval": "epoch" if by_epoch else "step", "monitor": monitor}


def make_schedule(
    optimizer: Optimizer, name: Schedule, *, steps: float, warmup_ratio: float, warmup_steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """Makes a schedule by transformers' name, stepped after each step of the optimizer.

    Args:
        optimizer: The optimizer.
        name: The name of the schedule.
        steps: Optimizer steps of the whole training; infinite where it has no end.
        warmup_ratio: Share of all steps over which the rate rises from zero.
        warmup_steps: The same as a number, which is taken instead where it is not zero.

    Raises:
        UserError: Where the schedule needs an end and there is none.
    """
    from transformers import get_scheduler

    endless = steps == float("inf")
    if endless and (name not in ("constant", "constant_with_warmup") or (warmup_ratio and not warmup_steps)):
        raise UserError(
            f"the schedule {name!r} needs to know where training ends: set trainer.max_epochs or trainer.max_steps, "
            "or lr_scheduler_type: constant without warmup_ratio"
        )
    warmup = warmup_steps or (0 if endless else -int(-warmup_ratio * steps // 1))
    return get_scheduler(name, optimizer, warmup, None if endless else int(steps))


def clip_gradients(module: pl.LightningModule, optimizer: Optimizer, value: float | None, algorithm: str) -> None:
    """Clips gradients as a trainer does, also bfloat16 ones of a fused optimizer.

    Lightning refuses the latter, though only float16 has a scaler that would interfere with clipping.

    Args:
        module: The module that is trained.
        optimizer: Its optimizer.
        value: The highest norm, or the highest gradient; None or 0: clips nothing.
        algorithm: ``norm`` or ``value``.
    """
    plugin = module.trainer.precision_plugin
    if not isinstance(plugin, MixedPrecision) or plugin.scaler is not None or not value:
        module.clip_gradients(optimizer, value, algorithm)
    elif algorithm == "norm":
        torch.nn.utils.clip_grad_norm_(module.parameters(), value)
    else:
        torch.nn.utils.clip_grad_value_(module.parameters(), value)
