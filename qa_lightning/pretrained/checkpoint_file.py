"""Checkpoints of ours: Lightning's, with what loading them needs so that nothing else is needed.

That is the model's configuration, the tokenizer's files and our settings.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qa_lightning.pretrained.settings import check_settings, is_number
from qa_lightning.utils.errors import UserError

CHECKPOINT_KEY = "qa_lightning"
"""Key of our parts in a Lightning checkpoint."""


def is_checkpoint(name: str | None) -> bool:
    """Whether a name means a Lightning checkpoint file rather than a folder or a name on the Hub."""
    return name is not None and name.endswith(".ckpt")


@functools.lru_cache(maxsize=2)
def _read_checkpoint(path: str, _changed: int) -> dict[str, Any]:
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:
        raise UserError(f"{path}: not a readable checkpoint of plain data; name one that `fit` wrote") from error


def read_checkpoint(path: str) -> dict[str, Any]:
    """Reads a checkpoint of ours, with memory-mapped tensors; unpickles plain data only.

    Args:
        path: The checkpoint.

    Raises:
        UserError: Where there is no such file, or it is not a checkpoint that `fit` wrote, or one whose parts are not
            what `fit` writes.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: no such checkpoint")
    checkpoint = _read_checkpoint(path, Path(path).stat().st_mtime_ns)
    if not isinstance(checkpoint, dict) or CHECKPOINT_KEY not in checkpoint:
        raise UserError(f"{path}: not a checkpoint of qa_lightning (it carries no model configuration)")
    wrong = _find_fault(checkpoint)
    if wrong:
        raise UserError(f"{path}: a damaged checkpoint: {wrong}; name another one that `fit` wrote")
    check_settings(checkpoint[CHECKPOINT_KEY]["settings"], path)
    return checkpoint


def checkpoint_config(path: str) -> dict[str, Any]:
    """Reads the model's and the data's arguments of a checkpoint, in the form of a config.

    Args:
        path: The checkpoint.

    Raises:
        UserError: As `read_checkpoint` does.
    """
    checkpoint = read_checkpoint(path)
    config = {}
    for section, key in (("model", "hyper_parameters"), ("data", "datamodule_hyper_parameters")):
        values = {name: value for name, value in checkpoint.get(key, {}).items() if name != "_instantiator"}
        class_path = values.pop("_class_path", None)
        config[section] = {"init_args": values} | ({"class_path": class_path} if class_path else {})
    return config


def _find_fault(checkpoint: Mapping[str, Any]) -> str | None:
    """Describes the first part of a checkpoint that is not as `fit` writes it; None: all are."""
    import torch

    weights, ours = checkpoint.get("state_dict"), checkpoint[CHECKPOINT_KEY]
    if not _is_name_mapping(weights, torch.Tensor):
        return "its state_dict does not map names to tensors"
    for name in ("hyper_parameters", "datamodule_hyper_parameters"):
        if not _is_name_mapping(checkpoint.get(name, {}), object):
            return f"its {name} do not map names to values"
    for name, kind in (("config", object), ("tokenizer", str), ("settings", object)):
        if not isinstance(ours, Mapping) or name not in ours:
            return f"it has no {name}"
        if not _is_name_mapping(ours[name], kind):
            return f"its {name} does not map names to {'texts' if kind is str else 'values'}"
    if not is_number(ours.get("validation_threshold", 0.0)):
        return "its validation_threshold is not a number"
    for name in ours["tokenizer"]:
        if Path(name).name != name or name in ("", "..") or "\0" in name:
            return f"a file of its tokenizer is called {name!r:.80}, which is not a plain file name"
    return None


def _is_name_mapping(value: Any, kind: type) -> bool:
    return isinstance(value, Mapping) and all(isinstance(k, str) and isinstance(v, kind) for k, v in value.items())
