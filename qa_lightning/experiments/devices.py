"""Which GPU each of several processes has that train side by side."""

from __future__ import annotations

import os

_GPUS = "CUDA_VISIBLE_DEVICES"


def devices_of(workers: int) -> list[dict[str, str]]:
    """The GPU of each worker, as its environment names it; of one worker, all of them."""
    if workers == 1:
        return [{}]
    named = os.environ.get(_GPUS)
    if named is None:
        import torch

        gpus = list(map(str, range(torch.cuda.device_count())))
    else:
        gpus = [name for name in named.split(",") if name.strip()]
    if not gpus:
        return [{} for _ in range(workers)]
    return [{_GPUS: gpus[worker % len(gpus)]} for worker in range(workers)]
