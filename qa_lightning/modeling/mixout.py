"""Mixout (Lee et al. 2020): in each forward pass of training, some weights are the pretrained ones."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class MixoutLinear(nn.Linear):
    """A linear layer with mixout; outside training it is `torch.nn.Linear`.

    Attributes:
        pretrained: The pretrained weights, on the device of the weights. They are no buffer, which checkpoints would
            hold and processes would send each other in each step.
        p: The probability of each weight to be the pretrained one.
    """

    pretrained: Tensor
    p: float

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Applies the layer; floating point ``[..., in_features]`` to ``[..., out_features]``."""
        if not self.training:
            return super().forward(input)
        return nn.functional.linear(input, mixout(self.weight, self.pretrained, self.p), self.bias)


def mixout(weights: Tensor, pretrained: Tensor, p: float) -> Tensor:
    """Replaces each weight by the pretrained one with probability p, and scales so that the mean stays the weight.

    With a mask m that is 1 with probability p, this is ``(m·pretrained + (1 - m)·weights - p·pretrained) / (1 - p)``,
    which is dropout of the distance from the pretrained weights.

    Args:
        weights: Of any shape, floating point.
        pretrained: Of the same shape and dtype.
        p: At least 0 and below 1.
    """
    return pretrained + nn.functional.dropout(weights - pretrained, p)


def put_mixout(layer: Any, pretrained: Tensor, p: float) -> None:
    """Makes a `torch.nn.Linear` a `MixoutLinear`, whose parameters and their names stay the same.

    Args:
        layer: The layer.
        pretrained: The pretrained weights, beside its weights.
        p: At least 0 and below 1.
    """
    layer.__class__ = MixoutLinear
    layer.pretrained, layer.p = pretrained, p


def remove_mixout(layer: Any) -> None:
    """Makes a `MixoutLinear` a `torch.nn.Linear` again."""
    del layer.pretrained, layer.p
    layer.__class__ = nn.Linear
