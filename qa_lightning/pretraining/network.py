"""Masked language models of transformers: loading them, and their logits where a token is predicted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from qa_lightning.modeling.network import load_network
from qa_lightning.pretrained.loading import load_config
from qa_lightning.utils.errors import UserError

AUTO_CLASS = "AutoModelForMaskedLM"
"""Transformers' class that knows these models."""


def load_masked_network(
    model_name_or_path: str | None, config_name: str | None, revision: str | None, **options: Any
) -> tuple[Any, list[str]]:
    """Loads a masked language model, as `modeling.network.load_network` does, whose other options it takes.

    Raises:
        UserError: Where the model cannot be found or loaded, or is of an architecture that masks no tokens.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    source = model_name_or_path or config_name
    if source is not None:
        config = load_config(source, revision)
        if config.model_type not in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
            raise UserError(
                f"{source}: transformers has no masked language model of the kind {config.model_type} ({AUTO_CLASS}); "
                "choose an encoder such as BERT or RoBERTa"
            )
    return load_network(
        model_name_or_path, config_name=config_name, revision=revision, auto_model=AUTO_CLASS, **options
    )


def logits_at(network: Any, inputs: Mapping[str, Tensor], positions: Tensor) -> Tensor:
    """Computes the logits of the tokens that are predicted.

    Those of all others, which are most of the work of a small model with a large vocabulary, are not computed.

    Args:
        network: The network.
        inputs: Its inputs; ``[rows, length]`` each.
        positions: The tokens, counted through all rows; int64 ``[tokens]``.

    Returns:
        Floating point ``[tokens, vocabulary]``.
    """
    head, shape = network.get_output_embeddings(), inputs["input_ids"].shape

    def select(_: Any, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden, *others = arguments
        return (hidden.flatten(0, 1)[positions] if hidden.shape[:2] == shape else hidden, *others)

    handle = None if head is None else head.register_forward_pre_hook(select)
    try:
        logits: Tensor = network(**inputs).logits
    finally:
        if handle is not None:
            handle.remove()
    # A head without a layer of its own for this gives the logits of all tokens.
    return logits if logits.dim() == 2 else logits.flatten(0, 1)[positions]
