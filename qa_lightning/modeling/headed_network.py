"""Networks of transformers with one of our heads: what loads, runs and saves them."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from qa_lightning.modeling.heads import HeadConfig, PairFactors, QAHead, TokenScores, check_head
from qa_lightning.pretrained.checkpoint_file import is_checkpoint
from qa_lightning.pretrained.head import HEAD_KEY, mark_headed
from qa_lightning.utils.errors import UserError


class HeadOutput(NamedTuple):
    """What a network with a head of ours returns.

    Attributes:
        start_logits: Floating point ``[batch, length]``.
        end_logits: Floating point ``[batch, length]``, or given each start, ``[batch, length, length]``.
        answerability_logits: Logits of there being no answer, ``[batch]``; None where there is no such classifier.
        token_scores: Of a packed row, what the head says of each token; else None.
    """

    start_logits: Tensor
    end_logits: Tensor
    answerability_logits: Tensor | None = None
    token_scores: TokenScores | None = None


class HeadedNetwork:
    """The part of a network with a head of ours that is not the network's own; `headed_class` combines them.

    Attributes:
        qa_head: The head.
    """

    qa_head: QAHead
    config: Any

    def __init__(self, config: Any, *arguments: Any, **keywords: Any) -> None:
        super().__init__(config, *arguments, **keywords)  # type: ignore[call-arg]
        self.qa_head = QAHead(config.hidden_size, config.qa_head)

    @classmethod
    def from_config(cls, config: Any, *, trust_remote_code: bool = False, **options: Any) -> Any:
        """Makes a network with random weights, as transformers' class of the same method does."""
        return cls._from_config(config, **options)  # type: ignore[attr-defined]

    def pointer_output(self, **inputs: Any) -> Any:
        """What the network of transformers returns by itself."""
        return super().forward(**inputs)  # type: ignore[misc]

    def forward(self, *, null_position: Tensor | None = None, **inputs: Any) -> HeadOutput:
        """Computes the logits of a batch of windows, or what the head says of the tokens of a packed row."""
        output = self.pointer_output(**inputs, output_hidden_states=True)
        states = getattr(output, "decoder_hidden_states", None) or output.hidden_states
        scores = self.qa_head(output.start_logits, output.end_logits, states[-1])
        if "packed" in inputs:
            return HeadOutput(output.start_logits, output.end_logits, None, scores)
        mask = inputs.get("attention_mask")
        if mask is None:
            mask = torch.ones_like(inputs["input_ids"])
        logits = self.qa_head.join(scores, mask, null_position)
        return HeadOutput(*logits, logits.answerability)

    def save_pretrained(self, folder: Any, *arguments: Any, **keywords: Any) -> None:
        """Writes the folder, whose configuration says that transformers alone cannot read it."""
        super().save_pretrained(folder, *arguments, **keywords)  # type: ignore[misc]
        mark_headed(Path(folder))

    def _init_weights(self, module: Any) -> None:
        super()._init_weights(module)  # type: ignore[misc]
        if isinstance(module, QAHead | PairFactors):
            module.reset()

    def __reduce__(self) -> Any:
        """Makes copies and pickles, in which a class that was made in this process has no place."""
        return _empty_network, (type(self).__bases__[1],), self.__getstate__()


def _empty_network(network_class: Any) -> Any:
    combined = headed_class(network_class)
    return combined.__new__(combined)


@functools.cache
def headed_class(network_class: Any) -> Any:
    """Makes the class of networks of a class of transformers with a head of ours."""
    plain = inspect.signature(network_class.forward)
    place = inspect.Parameter("null_position", inspect.Parameter.KEYWORD_ONLY, default=None)
    parameters = [*plain.parameters.values()]
    variadic = [p for p in parameters if p.kind is inspect.Parameter.VAR_KEYWORD]
    parameters = [p for p in parameters if p not in variadic]

    def forward(self: Any, **inputs: Any) -> HeadOutput:
        return HeadedNetwork.forward(self, **inputs)

    forward.__signature__ = plain.replace(  # type: ignore[attr-defined] # what a network takes is seen by it
        parameters=[*parameters, place, *variadic], return_annotation=HeadOutput
    )
    name = f"{network_class.__name__}WithHead"
    return type(name, (HeadedNetwork, network_class), {"forward": forward, "__module__": __name__})


def set_head(config: Any, head: HeadConfig, source: str) -> None:
    """Writes into a configuration which head of ours its network has.

    Args:
        config: The configuration, which says so if it is that of such a network.
        head: What is asked for.
        source: The model's name.

    Raises:
        UserError: Where another head is asked for than a checkpoint holds, or another size than the model's.
        ValueError: Where the configuration names no head that there is.
    """
    saved = getattr(config, HEAD_KEY, None) or {}
    if saved:
        check_head(saved)
    values = head.resolve(saved)
    if is_checkpoint(source) and values != saved:
        raise UserError(
            f"model.head: {source} holds the weights of another head ({_head_name(saved)}, not {_head_name(values)}); "
            "leave it out, or begin with the best_model of that run"
        )
    if saved and values.get("type") == saved["type"] and values.get("size") != saved.get("size"):
        raise UserError(f"model.head.size: the head of {source} has the size {saved['size']}; leave it out")
    if values:
        config.qa_head = values
    elif saved:
        del config.qa_head


def check_same_head(network: Any, config: Mapping[str, Any]) -> None:
    """Checks that a checkpoint's model has the head of the network that its weights are to go into.

    Args:
        network: The network.
        config: The configuration in the checkpoint.

    Raises:
        UserError: Where it has another one.
    """
    here, there = (values or {} for values in (getattr(network.config, HEAD_KEY, None), config.get(HEAD_KEY)))
    if here != there:
        raise UserError(
            f"model.head: the checkpoint is that of a model with another head ({_head_name(there)}, not "
            f"{_head_name(here)}); leave it as it was, or begin a new training from best_model"
        )


def _head_name(values: Mapping[str, Any]) -> str:
    name = str(values.get("type", "pointer"))
    name += f" of size {values['size']}" if "size" in values else ""
    return name + (" with answerability" if values.get("answerability") else "")


def auto_class(config: Any) -> Any:
    """The class that loads a network with this configuration: one with our head, where it names that.

    Raises:
        ValueError: Where transformers has no question-answering network of this kind.
    """
    from transformers import AutoModelForQuestionAnswering

    if not getattr(config, HEAD_KEY, None):
        return AutoModelForQuestionAnswering
    with torch.device("meta"):  # which takes no memory
        network: Any = AutoModelForQuestionAnswering.from_config(config, trust_remote_code=False)
    return headed_class(network.__class__)


@torch.no_grad()
def check_hidden_states(network: Any) -> None:
    """Checks that a network gives the hidden states that our heads read.

    Raises:
        UserError: Where it does not.
    """
    try:
        few = min(8, network.get_input_embeddings().weight.shape[0])
        tokens = (torch.arange(4, 8, device=network.device) % few)[None]
        inputs = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
        if "global_attention_mask" in inspect.signature(network.forward).parameters:
            inputs["global_attention_mask"] = torch.zeros_like(tokens)
        # A copy, since transformers puts hooks that cannot be pickled into a network that is asked for hidden states.
        copy.deepcopy(network).eval()(**inputs)
    except (TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        raise UserError(
            f"a {network.config.model_type} model gives no hidden states for another head than its own; set "
            "model.head.type to pointer, and leave out model.head.answerability"
        ) from error
