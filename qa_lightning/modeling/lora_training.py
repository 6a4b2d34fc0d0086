"""Puts an adapter into a network that is trained, and saves it without the weights of its base."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from qa_lightning.modeling.adapters import ADAPTER, adapter_names, plain_config, read_adapter
from qa_lightning.modeling.lora import LoraSettings, find_heads, find_targets
from qa_lightning.modeling.quantization import quantize_layers
from qa_lightning.pretrained.adapter_file import ADAPTER_WEIGHTS, AdapterSource, find_adapter
from qa_lightning.pretrained.checkpoint_file import is_checkpoint
from qa_lightning.pretrained.head import HEAD_KEY
from qa_lightning.pretrained.settings import CONFIG_OVERRIDES
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.extras import require
from qa_lightning.utils.plain import plain


class LoraTraining(pl.Callback):
    """An adapter in a network, which is trained together with the head.

    Args:
        network: The network, whose ``state_dict`` is that of the adapter and the head from now on.
        settings: What is asked for.
        base: The base's name.
        revision: Its Hub revision.
    """

    def __init__(self, network: Any, settings: LoraSettings, base: str, revision: str | None) -> None:
        peft = require("peft", "peft")
        heads, targets = find_heads(network), find_targets(network, settings.target_modules)
        if settings.quantization:
            quantize_layers(network, targets, settings.quantization)
        self.settings = settings
        self.config = peft.LoraConfig(
            r=settings.r,
            lora_alpha=settings.strength,
            lora_dropout=settings.dropout,
            use_rslora=settings.use_rslora,
            target_modules=targets,
            base_model_name_or_path=str(Path(base).resolve()) if Path(base).exists() else base,
            revision=revision,
        )
        self._plain_names = list(network.state_dict())
        peft.inject_adapter_in_model(self.config, network, ADAPTER)
        self.config.target_modules = sorted(self.config.target_modules)
        self.config.task_type = "QUESTION_ANS"
        self.config.modules_to_save = heads
        self.config.inference_mode = True
        for head in heads:
            network.get_submodule(head).requires_grad_(True)
        self.parameters = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
        _keep(network, self.parameters)

    def load(self, network: Any, source: AdapterSource) -> None:
        """Takes the weights of an adapter that was trained before.

        Raises:
            UserError: Where that was made with other settings.
        """
        theirs = {"r": "r", "alpha": "lora_alpha", "use_rslora": "use_rslora"}
        ours = {"r": self.settings.r, "alpha": self.settings.strength, "use_rslora": self.settings.use_rslora}
        for name, key in theirs.items():
            there = source.config.get(key)
            if there != ours[name]:
                raise UserError(
                    f"model.peft.{name}: the adapter in {source.name} has {there}, not {ours[name]}; set it so, or "
                    "leave model.peft out, by which all weights are trained"
                )
        found = read_adapter(source)
        expected = adapter_names({name: network.get_parameter(name) for name in self.parameters})
        if {name: value.shape for name, value in found.items()} != {n: v.shape for n, v in expected.items()}:
            different = sorted(found.keys() ^ expected.keys()) or sorted(found)
            raise UserError(
                f"{source.name}: its adapter is of other layers than model.peft.target_modules (such as "
                f"{different[0]}); name the same, or leave model.peft out, by which all weights are trained"
            )
        for name, parameter in expected.items():
            parameter.data.copy_(found[name])

    def check_same(self, config: Mapping[str, Any]) -> None:
        """Checks that a training that goes on has the adapter of the one before.

        Args:
            config: What peft knows of that.

        Raises:
            UserError: Where rank, strength or layers are others.
        """
        here = self.plain_config()
        names = {"r": "r", "lora_alpha": "alpha", "use_rslora": "use_rslora", "target_modules": "target_modules"}
        for key, name in names.items():
            there, ours = config.get(key), here.get(key)
            if there != ours:
                raise UserError(
                    f"model.peft.{name}: the training that resumes had {there}, not {ours}; set it so, or begin a new "
                    "training from best_model"
                )

    def plain_config(self) -> dict[str, Any]:
        """What peft needs to know of the adapter, as in `ADAPTER_CONFIG`."""
        return plain_config(self.config)

    def save(self, network: Any, folder: Path, weights: Mapping[str, Tensor] | None) -> None:
        """Writes the adapter as peft does, or the whole network where ``merge`` asks for it.

        Args:
            network: The network.
            folder: Where to.
            weights: Those of adapter and head, by their names in the network; None: the present ones.
        """
        weights = network.state_dict() if weights is None else weights
        if self.settings.merge:
            merged = merged_weights(network, weights, self._plain_names, self.settings.scale)
            network.save_pretrained(folder, state_dict=merged)
            return
        from safetensors.torch import save_file

        self.config.save_pretrained(folder)
        tensors = {name: value.detach().cpu().contiguous() for name, value in adapter_names(weights).items()}
        save_file(tensors, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})

    def on_fit_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Says how much is trained."""
        sizes = {name: parameter.numel() for name, parameter in pl_module.model.named_parameters()}
        trained = sum(sizes[name] for name in self.parameters)
        modules = sorted({str(name).rpartition(".")[2] for name in self.config.target_modules})
        rank_zero_info(
            f"model.peft trains {trained:,} of {sum(sizes.values()):,} parameters "
            f"({trained / sum(sizes.values()):.1%}): adapters at {', '.join(modules)}, and "
            f"{', '.join(self.config.modules_to_save)} in full"
        )


def add_adapter(
    network: Any, settings: LoraSettings, name: str | None, revision: str | None = None
) -> LoraTraining | None:
    """Puts an adapter into a network, or takes the one that it comes with; None where the settings ask for none.

    Args:
        network: The network, with the weights of its base.
        settings: What is asked for.
        name: What it was loaded from: the base, or an adapter.
        revision: The Hub revision of that.

    Raises:
        UserError: Where the adapter there was made with other settings, or the base could not be found again.
    """
    if not settings.r or name is None:
        return None
    source = find_adapter(name, revision)
    if is_checkpoint(name) and (source is None or source.base is None):
        raise UserError(
            f"{name}: model.peft needs a base that checkpoints can name: a folder or a model on the Hub; name the "
            "best_model of its run"
        )
    base, base_revision = (name, revision) if source is None else (str(source.base), source.revision)
    adapter = LoraTraining(network, settings, base, base_revision)
    if source is not None:
        adapter.load(network, source)
    return adapter


def changed_config(network: Any, overrides: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the configuration of a network has and that of its base has not, as an entry of a model's settings.

    Args:
        network: The network.
        overrides: The values that were changed by hand.
    """
    changed = plain(dict(overrides or {}))
    head = getattr(network.config, HEAD_KEY, None)
    if head:
        changed[HEAD_KEY] = head
    return {CONFIG_OVERRIDES: changed} if changed else {}


@torch.no_grad()
def merged_weights(
    network: Any, weights: Mapping[str, Tensor], names: Iterable[str], scale: float
) -> dict[str, Tensor]:
    """Computes the weights of a plain network that gives the same logits: W + s·B·A in the place of W.

    Args:
        network: The network with an adapter.
        weights: Those of adapter and head, by their names in the network.
        names: The names in the plain network.
        scale: The factor s.
    """
    own = dict(network.named_parameters(remove_duplicate=False)) | dict(network.named_buffers()) | dict(weights)
    merged = {}
    for name in names:
        layer, _, kind = name.rpartition(".")
        value = own[f"{layer}.base_layer.{kind}" if f"{layer}.base_layer.{kind}" in own else name]
        if kind == "weight" and f"{layer}.lora_A.{ADAPTER}.weight" in own:
            a, b = (own[f"{layer}.lora_{which}.{ADAPTER}.weight"].to(value) for which in "AB")
            product = scale * (b @ a)
            value = value + (product.T if network.get_submodule(layer).fan_in_fan_out else product)
        merged[name] = value
    return merged


class _Kept:
    """Leaves the weights of the base out of a network's ``state_dict``, and lets them stay where one is loaded.

    Args:
        names: The parameters that stay in it.
    """

    def __init__(self, names: list[str]) -> None:
        self.names = frozenset(names)
        self.prefix = ""

    def __call__(self, network: Any, state: dict[str, Any], prefix: str, metadata: Any) -> None:
        """Leaves them out."""
        for key in [key for key in state if key.startswith(prefix) and key.removeprefix(prefix) not in self.names]:
            del state[key]

    def before_loading(self, network: Any, state: dict[str, Any], prefix: str, *_: Any) -> None:
        """Remembers what the names in the ``state_dict`` begin with."""
        self.prefix = prefix

    def after_loading(self, network: Any, keys: Any) -> None:
        """Does not miss them."""
        keys.missing_keys[:] = [
            key
            for key in keys.missing_keys
            if not key.startswith(self.prefix) or key.removeprefix(self.prefix) in self.names
        ]


def _keep(network: Any, names: list[str]) -> None:
    kept = _Kept(names)
    network.register_state_dict_post_hook(kept)
    network.register_load_state_dict_pre_hook(kept.before_loading)
    network.register_load_state_dict_post_hook(kept.after_loading)
