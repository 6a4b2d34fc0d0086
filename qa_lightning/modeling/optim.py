"""AdamW and the learning rate's schedule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.plugins import MixedPrecision
from torch.optim import Optimizer

from qa_lightning.utils.errors import UserError, in_one_line

Schedule = Literal[
    "linear",
    "cosine",
    "cosine_with_restarts",
    "warmup_stable_decay",
    "polynomial",
    "constant",
    "constant_with_warmup",
]
"""Names of schedules, those of transformers."""

_DECAY_RATIO = 0.1
"""Share of all steps over which warmup_stable_decay falls."""


def adamw(groups: list[dict[str, Any]], learning_rate: float, fused: bool = True, **arguments: Any) -> Optimizer:
    """Makes an AdamW optimizer, fused where the parameters' device has a fused kernel.

    Args:
        groups: What `parameter_groups` returned.
        learning_rate: The peak learning rate of the schedule.
        fused: False where gradients are unscaled and clipped by hand, which a fused step does not allow.
        **arguments: More arguments of `torch.optim.AdamW`.
    """
    devices = {parameter.device.type for group in groups for parameter in group["params"]}
    fused = fused and devices <= {"cpu", "cuda", "xpu", "mps"}
    return torch.optim.AdamW(groups, lr=learning_rate, fused=fused, **arguments)


def clips_scaled_gradients(trainer: pl.Trainer) -> bool:
    """Whether float16 gradients are clipped, which a fused step does not allow: it unscales them itself, too late."""
    return trainer.precision == "16-mixed" and bool(trainer.gradient_clip_val)


def scheduler_config(scheduler: Any) -> dict[str, Any]:
    """Makes Lightning's configuration of a schedule, stepped after each optimizer step, or each epoch on plateau."""
    by_epoch = isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
    monitor = getattr(scheduler, "monitor", "val/f1")
    return {"scheduler": scheduler, "interval": "epoch" if by_epoch else "step", "monitor": monitor}


def make_schedule(
    optimizer: Optimizer,
    name: Schedule,
    *,
    steps: float,
    warmup_ratio: float,
    warmup_steps: int,
    decay_ratio: float | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> torch.optim.lr_scheduler.LRScheduler:
    """Makes a schedule by transformers' name, stepped after each step of the optimizer.

    Args:
        optimizer: The optimizer.
        name: The name of the schedule.
        steps: Optimizer steps of the whole training; infinite where it has no end.
        warmup_ratio: Share of all steps over which the rate rises from zero.
        warmup_steps: The same as a number, which is taken instead where it is not zero.
        decay_ratio: Share of all steps over which the schedule warmup_stable_decay falls; None: a tenth.
        arguments: More arguments of the schedule, as transformers calls them.

    Raises:
        UserError: Where the schedule needs an end and there is none, or does not take such arguments.
    """
    from transformers import get_scheduler

    arguments = dict(arguments or {})
    if decay_ratio is not None and name != "warmup_stable_decay":
        raise UserError(
            f"model.optimization.decay_ratio is of lr_scheduler_type: warmup_stable_decay, which {name} is not; leave "
            "it out, or change the type"
        )
    if arguments and name.startswith("constant"):
        raise UserError(f"model.optimization.lr_scheduler_kwargs: the schedule {name} has none; leave them out")
    endless = steps == float("inf")
    if endless and (name not in ("constant", "constant_with_warmup") or (warmup_ratio and not warmup_steps)):
        raise UserError(
            f"the schedule {name!r} needs to know where training ends: set trainer.max_epochs or trainer.max_steps, "
            "or lr_scheduler_type: constant without warmup_ratio"
        )
    warmup = warmup_steps or (0 if endless else -int(-warmup_ratio * steps // 1))
    if name == "warmup_stable_decay":
        decay = -int(-(_DECAY_RATIO if decay_ratio is None else decay_ratio) * steps // 1)
        arguments.setdefault("num_decay_steps", min(decay, int(steps) - warmup))
    try:
        return get_scheduler(name, optimizer, warmup, None if endless else int(steps), arguments)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"model.optimization.lr_scheduler_kwargs: the schedule {name} does not accept them: {in_one_line(error)}"
        ) from error


def check_schedule(name: Schedule, decay_ratio: float | None, arguments: Mapping[str, Any]) -> None:
    """Checks that a schedule takes such arguments.

    Raises:
        UserError: Where it does not.
    """
    if decay_ratio is not None or arguments:
        trial = torch.optim.SGD([torch.zeros(1)])
        make_schedule(
            trial, name, steps=100, warmup_ratio=0, warmup_steps=0, decay_ratio=decay_ratio, arguments=arguments
        )


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
