"""Which GPU each of several processes has that train side by side."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from qa_lightning.utils.errors import UserError

_VISIBLE = "CUDA_VISIBLE_DEVICES"
_ALL = ("auto", "-1")
"""Values of ``trainer.devices`` for all GPUs that there are."""


def devices_of(workers: int) -> list[dict[str, str]]:
    """The GPU of each worker, as its environment names it; of one worker, all of them."""
    gpus = _gpus() if workers > 1 else []
    if not gpus:
        return [{} for _ in range(workers)]
    return [{_VISIBLE: gpus[worker % len(gpus)]} for worker in range(workers)]


def recorded_devices(settings: Mapping[str, Any], workers: int) -> dict[str, str]:
    """What the record of an experiment says of its trainings' devices, so that all of them have as many.

    Args:
        settings: Those of ``fit``, in the form of ``config.yaml``.
        workers: How many trainings are at work side by side.

    Raises:
        UserError: Where a training is to have several GPUs, and its worker one.
    """
    trainer = settings.get("trainer") or {}
    devices = str(trainer.get("devices", "auto"))
    takes_all = devices in _ALL
    if trainer.get("accelerator") == "cpu" or (workers == 1 and not takes_all) or len(_gpus()) < 2:
        return {}
    if not takes_all and devices != "1":
        raise UserError(
            f"--workers {workers} gives each training one GPU, but trainer.devices is {devices}; leave one of them out"
        )
    return {"GPUs of a training": "all" if workers == 1 else "1"} if takes_all else {}


def _gpus() -> list[str]:
    """The GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    named = os.environ.get(_VISIBLE)
    if named is not None:
        return [name for name in named.split(",") if name.strip()]
    import torch

    return list(map(str, range(torch.cuda.device_count())))
