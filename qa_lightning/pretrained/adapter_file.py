"""Finds adapters: small sets of weights, as the library ``peft`` writes them, that change a base model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from qa_lightning.pretrained.checkpoint_file import CHECKPOINT_KEY, is_checkpoint, read_checkpoint
from qa_lightning.pretrained.hub_file import hub_file
from qa_lightning.utils.errors import UserError

ADAPTER_CONFIG = "adapter_config.json"
"""File in a folder that makes it that of an adapter: its kind, where it is put, and the name of its base."""

ADAPTER_WEIGHTS = "adapter_model.safetensors"
"""File that holds its weights."""

ADAPTER_KEY = "adapter"
"""Key in our part of a checkpoint: what `ADAPTER_CONFIG` holds, and whether the base's weights are there, too."""


@dataclass(frozen=True)
class AdapterSource:
    """An adapter in a folder, on the Hub or in a checkpoint.

    Attributes:
        name: The folder, the name on the Hub, or the checkpoint.
        config: What peft knows of it.
        folder: Where its files are; None: in a checkpoint.
        base: The model that it changes, a name on the Hub or a folder; None: the checkpoint holds that, too.
        revision: The Hub revision of the base.
    """

    name: str
    config: Mapping[str, Any]
    folder: Path | None
    base: str | None
    revision: str | None

    def lacking(self, missing: list[str]) -> list[str]:
        """Those of a network's parameters that neither its base nor the adapter holds.

        Args:
            missing: The names of those that the base does not hold.
        """
        heads = self.config.get("modules_to_save") or []
        return [name for name in missing if not any(f".{head}." in f".{name}" for head in heads)]


def find_adapter(name: str | None, revision: str | None = None) -> AdapterSource | None:
    """Finds the adapter that a name means; None where it means another model.

    Args:
        name: A folder, a checkpoint of ours, or a name on the Hub; None: nothing.
        revision: The Hub revision.

    Raises:
        UserError: Where its files are damaged, or it lacks weights as safetensors.
    """
    if name is None:
        return None
    if is_checkpoint(name):
        return _in_checkpoint(name)
    if Path(name).exists():
        path: Path | None = Path(name, ADAPTER_CONFIG)
        folder = Path(name)
        weights: Path | None = folder / ADAPTER_WEIGHTS
    else:
        # Without peft, it could not be loaded anyway.
        path = hub_file(name, ADAPTER_CONFIG, revision) if find_spec("peft") else None
        weights = hub_file(name, ADAPTER_WEIGHTS, revision) if path is not None else None
        folder = Path() if path is None else path.parent
    if path is None or not path.is_file():
        return None
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not the configuration of an adapter ({error}); delete or fix it") from None
    base = _base_of(config, str(path))
    if weights is None or not weights.is_file():
        raise UserError(
            f"{name}: an adapter without {ADAPTER_WEIGHTS}; save it as safetensors, since other files can run code"
        )
    return AdapterSource(name, config, folder, base, config.get("revision"))


def _in_checkpoint(name: str) -> AdapterSource | None:
    part = read_checkpoint(name)[CHECKPOINT_KEY].get(ADAPTER_KEY)
    if part is None:
        return None
    config = part.get("config") if isinstance(part, Mapping) else None
    holds_base = isinstance(part, Mapping) and bool(part.get("holds_base"))
    base = _base_of(config, name, needed=not holds_base)
    return AdapterSource(name, dict(config or {}), None, None if holds_base else base, (config or {}).get("revision"))


def _base_of(config: Any, where: str, *, needed: bool = True) -> str | None:
    """Checks what there is to know of an adapter, and returns the name of its base."""
    if not isinstance(config, Mapping):
        raise UserError(f"{where}: damaged: what there is to know of its adapter is no JSON object")
    base = config.get("base_model_name_or_path")
    if needed and (not isinstance(base, str) or not base):
        raise UserError(f"{where}: an adapter that names no base model (base_model_name_or_path); write its name there")
    for key, kind in (("revision", str), ("modules_to_save", list), ("peft_type", str)):
        if not isinstance(config.get(key), kind | None):
            raise UserError(f"{where}: damaged: {key} cannot be {config[key]!r:.80}")
    if config.get("megatron_config") is not None:
        raise UserError(f"{where}: an adapter of Megatron's layers, which no model of transformers has")
    return base
