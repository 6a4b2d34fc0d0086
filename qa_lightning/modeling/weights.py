"""Sets of weights, as `state_dict` gives them: whether two are the same, and which are the network's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

NETWORK = "model."
"""What the names of the network's weights begin with in those of our LightningModule."""

_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def network_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The network's part of the weights of a `QALightningModule`, under the names that the network has for them."""
    return {name.removeprefix(NETWORK): value for name, value in weights.items() if name.startswith(NETWORK)}


def same_weights(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Whether two sets hold the same values, the first in the second's precision and on its device."""
    return one.keys() == other.keys() and all(
        torch.equal(value.to(other[name].device, other[name].dtype), other[name]) for name, value in one.items()
    )


def fingerprint(weights: Iterable[Tensor]) -> list[int]:
    """A number for each tensor, which is another as soon as one bit of it is, but for rare chances.

    Reads the weights once and waits for their device once.
    """
    sums = [value.detach().view(_INTEGERS[value.element_size()]).sum(dtype=torch.int64) for value in weights]
    return [] if not sums else torch.stack([one.to(sums[0].device) for one in sums]).tolist()
