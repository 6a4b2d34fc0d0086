"""What a GPU would have to be waited for, found on any device."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2", "unique_dim")
"""Operations of torch whose result, or its size, the host must know before it goes on."""


class Waits(TorchDispatchMode):
    """A context that keeps which operations in it would have the host wait for a GPU.

    Attributes:
        seen: Their names, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function._schema.name.split("::")[1]
        by_mask = name.startswith("index") and any(
            isinstance(index, torch.Tensor) and index.dtype == torch.bool
            for index in (args[1] if isinstance(args[1], list | tuple) else [])
        )
        if name in _WAITING or by_mask:
            self.seen.append(name)
        return function(*args, **(kwargs or {}))
