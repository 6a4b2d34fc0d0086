"""Finds the embeddings, the layers and the head of a network, whatever its family."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from qa_lightning.pretrained.head import HEAD_KEY
from qa_lightning.utils.errors import UserError


@dataclass(frozen=True)
class NetworkLayers:
    """At which depth of a network each of its parameters stands.

    Args:
        depths: By parameter name: 0 for the embeddings, 1 to ``number`` for the layers from the lowest on, with what
            stands behind the last one, such as a norm, at its depth; ``number + 1`` for the head.
        number: How many layers there are. Those of a decoder follow those of its encoder.
        problem: Why the layers cannot be told from each other; None: they can.
    """

    depths: dict[str, int]
    number: int
    problem: str | None = None

    @property
    def head(self) -> int:
        """The depth of the head."""
        return self.number + 1

    def name(self, depth: int) -> str:
        """What stands at a depth: ``embeddings``, ``layer 0`` for the lowest layer and so on, ``head``."""
        return "embeddings" if depth == 0 else "head" if depth == self.head else f"layer {depth - 1}"

    def check(self, setting: str) -> None:
        """Checks that the layers can be told from each other.

        Args:
            setting: What needs that.

        Raises:
            UserError: Where they cannot.
        """
        if self.problem is not None:
            raise UserError(f"model.optimization.{setting}: {self.problem}; leave it out")


def find_layers(network: Any) -> NetworkLayers:
    """Finds at which depth each parameter of a question-answering network of transformers stands.

    The head is what stands beside the base model, or a linear layer beside its parts. Layers are the members of its
    lists of modules, and embeddings are what remains of it and is called so, or is a table of vectors.
    """
    base, layers = network.base_model, layer_modules(network)
    of_base = {id(parameter) for parameter in base.parameters()}
    if base is network:  # as in T5
        heads = [child for name, child in network.named_children() if isinstance(child, nn.Linear) or name == HEAD_KEY]
        of_base -= {id(parameter) for head in heads for parameter in head.parameters()}
    in_tables = {id(p) for module in base.modules() if isinstance(module, nn.Embedding) for p in module.parameters()}
    depth_of = {id(parameter): i for i, layer in enumerate(layers, 1) for parameter in layer.parameters()}
    depths = {}
    for name, parameter in network.named_parameters():
        key = id(parameter)
        if key not in of_base:
            depths[name] = len(layers) + 1
        elif key in depth_of:
            depths[name] = depth_of[key]
        else:
            is_embedding = key in in_tables or _belongs_to_embeddings(network, name)
            depths[name] = 0 if is_embedding else len(layers)
    return NetworkLayers(depths, len(layers), _problem(network.config, len(layers)))


def layer_modules(network: Any) -> list[nn.Module]:
    """The layers of a network of transformers, the lowest first."""
    return [layer for layer in _listed(network.base_model) if next(layer.parameters(), None) is not None]


def _listed(module: nn.Module) -> Iterator[nn.Module]:
    """The members of the outermost lists of modules; those of a list of lists, one after the other."""
    for child in module.children():
        if isinstance(child, nn.ModuleList) and not any(isinstance(member, nn.ModuleList) for member in child):
            yield from child
        else:
            yield from _listed(child)


def _belongs_to_embeddings(network: nn.Module, name: str) -> bool:
    """Whether a parameter outside layers transforms embeddings, such as their norm or projection."""
    container = network.get_submodule(name.rpartition(".")[0].rpartition(".")[0])
    return "emb" in name.lower() or hasattr(container, "rel_embeddings")  # whose norm stands beside them


def _problem(config: Any, found: int) -> str | None:
    wanted = getattr(config, "num_hidden_layers", None)
    if getattr(config, "is_encoder_decoder", False) and wanted is not None:
        wanted += getattr(config, "decoder_layers", None) or getattr(config, "num_decoder_layers", wanted)
    if found and wanted in (None, found):
        return None
    if 0 < found < (wanted or 0):
        return f"the {wanted} layers of this {config.model_type} model share their weights, so none has its own"
    return f"the layers of a {config.model_type} model are not known"
