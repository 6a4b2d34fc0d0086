"""Keeps weights in 4 or 8 bits (QLoRA, Dettmers et al. 2023), by the library ``bitsandbytes``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import nn

from qa_lightning.utils.extras import require


def quantize_layers(network: Any, names: Iterable[str], kind: Literal["4bit", "8bit"]) -> None:
    """Puts layers with weights in few bits in the place of linear ones; they are made so when they come to a GPU.

    Without a GPU nothing is done: such a network is evaluated with its weights in full, and not trained.

    Args:
        network: A network of transformers, on a CPU.
        names: The layers; those that are not linear stay as they are.
        kind: ``4bit``: normal floats in two stages; ``8bit``: whole numbers.
    """
    if not torch.cuda.is_available():
        return
    library: Any = require("bitsandbytes", "qlora")
    for name in names:
        layer = network.get_submodule(name)
        if type(layer) is not nn.Linear:
            continue
        size, has_bias = (layer.in_features, layer.out_features), layer.bias is not None
        if kind == "4bit":
            new = library.nn.Linear4bit(
                *size, bias=has_bias, compute_dtype=torch.bfloat16, compress_statistics=True, quant_type="nf4"
            )
            new.weight = library.nn.Params4bit(
                layer.weight.data, requires_grad=False, compress_statistics=True, quant_type="nf4"
            )
        else:
            new = library.nn.Linear8bitLt(*size, bias=has_bias, has_fp16_weights=False)
            new.weight = library.nn.Int8Params(layer.weight.data, requires_grad=False, has_fp16_weights=False)
        if has_bias:
            new.bias = layer.bias
        network.set_submodule(name, new)
    setattr(network, f"is_loaded_in_{kind}", True)  # by which peft knows
