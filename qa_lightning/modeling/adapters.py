"""Reads adapters, and adds them to the weights of their base."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from qa_lightning.modeling.weights import network_weights
from qa_lightning.pretrained.adapter_file import ADAPTER_WEIGHTS, AdapterSource
from qa_lightning.pretrained.checkpoint_file import read_checkpoint
from qa_lightning.utils.errors import UserError, in_one_line
from qa_lightning.utils.extras import require

ADAPTER = "default"
"""What peft calls the only adapter of a network, in the names of its weights."""

_CHANGE_THE_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Ways to begin by which peft subtracts from the base's weights what the adapter has at first."""

PEFT_PREFIX = "base_model.model."
"""What the names in an adapter's file begin with: so peft wraps a network."""


def adapter_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Gives the weights of a network with an adapter, without those of its base, their names in an adapter's file."""
    return {PEFT_PREFIX + name.replace(f".{ADAPTER}.", "."): value for name, value in weights.items()}


def read_adapter(source: AdapterSource) -> dict[str, Tensor]:
    """Reads the weights of an adapter, by their names in an adapter's file; executes none of its code.

    Args:
        source: One in a folder, or in a checkpoint that holds no more than the adapter.

    Raises:
        UserError: Where its file is damaged.
    """
    if source.folder is None:
        return adapter_names(network_weights(read_checkpoint(source.name)["state_dict"]))
    from safetensors.torch import load_file

    try:
        return load_file(source.folder / ADAPTER_WEIGHTS)
    except Exception as error:  # of its own kind
        raise UserError(f"{source.folder / ADAPTER_WEIGHTS}: damaged: {in_one_line(error)}") from error


def merge_adapter(network: Any, source: AdapterSource) -> Any:
    """Adds an adapter's weights to those of a network, which is plain as before.

    Args:
        network: The base, on a CPU; where a checkpoint holds its weights, too, any network of its architecture.
        source: The adapter.

    Returns:
        The network.

    Raises:
        UserError: Where the adapter does not fit, or is of a kind that cannot be added to weights.
    """
    peft = require("peft", "peft")
    with _readable(source.name):
        config = _peft_config(source.config)
        config.task_type = None  # the heads that were trained are named in it
        wrapped = peft.get_peft_model(network, config)
        if source.base is None:
            wrapped.load_state_dict(network_weights(read_checkpoint(source.name)["state_dict"]))
        else:
            found = peft.set_peft_model_state_dict(wrapped, read_adapter(source))
            lacking = [name for name in found.missing_keys if name in _adapter_parameters(wrapped)]
            if found.unexpected_keys or lacking:
                name = [*found.unexpected_keys, *lacking][0]
                raise ValueError(f"{name} is in {'it' if found.unexpected_keys else 'the model'} alone")
        if not hasattr(wrapped, "merge_and_unload"):
            raise ValueError("an adapter of this kind cannot be added to the weights")
        merged = wrapped.merge_and_unload()
    for parameter in merged.parameters():
        parameter.requires_grad_(True)
    return merged


def wrapped_adapter(network: Any) -> dict[str, Any] | None:
    """What peft knows of the adapter by which a user's own class has wrapped the network; None where none has."""
    peft = sys.modules.get("peft")
    if peft is None or not isinstance(network, peft.PeftModel):
        return None
    return plain_config(network.peft_config[network.active_adapter])


def plain_config(config: Any) -> dict[str, Any]:
    """A configuration of peft as plain data, as in its file."""
    return json.loads(json.dumps(config.to_dict(), default=sorted))


def _peft_config(values: Mapping[str, Any]) -> Any:
    """Makes the configuration of peft that a file holds; nothing in it is computed from the base's weights."""
    peft = require("peft", "peft")
    values = dict(values) | {"inference_mode": False}
    first = str(values.get("init_lora_weights"))
    if first.startswith(_CHANGE_THE_BASE):
        raise ValueError(
            f"it began with {first}, which changes the weights of the base; convert it by peft to plain LoRA"
        )
    if "init_lora_weights" in values:
        values["init_lora_weights"] = True  # they are loaded, whichever they were at first
    kind = peft.get_peft_config({"peft_type": values.get("peft_type") or "LORA"}).__class__
    known = kind.__dataclass_fields__
    return kind(**{name: value for name, value in values.items() if name in known})


def _adapter_parameters(wrapped: Any) -> set[str]:
    return {name for name, parameter in wrapped.named_parameters() if parameter.requires_grad}


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """Makes a `UserError` of what peft says of an adapter that does not fit."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers in an older way
            yield
    except UserError:
        raise
    except Exception as error:  # whatever peft and the base do to each other
        raise UserError(f"{name}: the adapter does not fit its base: {in_one_line(error)}") from error
