"""Copies of what a GPU computes, made while the host goes on with its work."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def arrival(device: torch.device) -> Any:
    """An event that comes when a GPU, which need not be the current one, has done all that it was given so far."""
    event = torch.cuda.Event()
    event.record(torch.cuda.current_stream(device))
    return event


class HostCopy:
    """A copy in the host's memory of a tensor on any device, which may still be under way.

    Args:
        tensor: What is copied; one that is on the CPU stays the same tensor.
    """

    def __init__(self, tensor: Tensor) -> None:
        self._value = tensor
        self._arrival: Any = None
        if tensor.device.type == "cuda":
            self._value = torch.empty_like(tensor, device="cpu", pin_memory=True).copy_(tensor, non_blocking=True)
            self._arrival = arrival(tensor.device)
        elif tensor.device.type != "cpu":
            self._value = tensor.cpu()

    def has_arrived(self) -> bool:
        """Whether the copy is whole."""
        return self._arrival is None or self._arrival.query()

    def wait(self) -> Tensor:
        """The copy, once it is whole."""
        if self._arrival is not None:
            self._arrival.synchronize()
        return self._value
