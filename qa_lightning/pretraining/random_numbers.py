"""Random numbers of places in windows, which depend on nothing but a seed, the epoch, the window and the place.

Whichever batch and process a window is in, and wherever a training was interrupted, it is given the same ones.
"""

from __future__ import annotations

import torch
from torch import Tensor

_WORD = 0xFFFFFFFFFFFFFFFF
_STEPS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_STRIDE = 0x9E3779B97F4A7C15


def hash_places(seed: int, epoch: int, draw: int, windows: Tensor, places: Tensor) -> Tensor:
    """Draws a number for each place.

    Args:
        seed: The seed of the training.
        epoch: The number of the epoch; -1 for an evaluation.
        draw: Which of several independent numbers.
        windows: The number of each window; int64, of a shape that goes with that of ``places``.
        places: The number of each place in its window; int64.

    Returns:
        Numbers from 0 up to 2⁶² - 1; int64.
    """
    state = torch.tensor(_signed(seed), dtype=torch.int64, device=places.device)
    for value in (torch.tensor(epoch, device=places.device), torch.tensor(draw, device=places.device), windows, places):
        state = _mix(state + (value + 1) * _signed(_STRIDE))
    return state & ((1 << 62) - 1)


def uniform_places(seed: int, epoch: int, draw: int, windows: Tensor, places: Tensor) -> Tensor:
    """Draws a number from 0 up to, but not, 1 for each place, as `hash_places` does; float32."""
    return (hash_places(seed, epoch, draw, windows, places) >> 38).float() / (1 << 24)


def _mix(value: Tensor) -> Tensor:
    """The finaliser of SplitMix64 (Steele et al., 2014): each bit of its result depends on every bit of the value."""
    for shift, factor in _STEPS:
        value = (value ^ _shift_right(value, shift)) * _signed(factor)
    return value ^ _shift_right(value, 31)


def _shift_right(value: Tensor, bits: int) -> Tensor:
    """Shifts in zeros, where a signed number would shift in its sign."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)


def _signed(value: int) -> int:
    """The signed number of 64 bits that has the lowest bits of this one."""
    value &= _WORD
    return value - (1 << 64) if value >> 63 else value
