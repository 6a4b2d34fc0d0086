"""Compares sets of weights, as `state_dict` gives them, and selects those of the network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

NETWORK_PREFIX = "model."
"""Prefix of the network's weights in the `state_dict` of our LightningModule."""

_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def network_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Selects the network's weights from those of a `QALightningModule`, under the network's own names."""
    return {
        name.removeprefix(NETWORK_PREFIX): value for name, value in weights.items() if name.startswith(NETWORK_PREFIX)
    }


def same_weights(weights: Mapping[str, Tensor], reference: Mapping[str, Tensor]) -> bool:
    """Whether two sets of weights are equal, the first converted to the precision and device of the second."""
    return weights.keys() == reference.keys() and all(
        torch.equal(value.to(reference[name].device, reference[name].dtype), reference[name])
        for name, value in weights.items()
    )


def fingerprint(weights: Iterable[Tensor]) -> list[int]:
    """Computes a checksum of each tensor, which almost surely differs where any bit does.

    Reads the weights once and waits for their device once.
    """
    sums = [value.detach().view(_INTEGERS[value.element_size()]).sum(dtype=torch.int64) for value in weights]
    return [] if not sums else torch.stack([checksum.to(sums[0].device) for checksum in sums]).tolist()
