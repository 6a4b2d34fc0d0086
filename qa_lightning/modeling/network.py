"""Loads the transformers model that a `QALightningModule` wraps, from the Hub, a folder or a checkpoint."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qa_lightning.modeling.adapters import merge_adapter
from qa_lightning.modeling.headed_network import auto_class, check_hidden_states, set_head
from qa_lightning.modeling.heads import PLAIN_HEAD, HeadConfig
from qa_lightning.modeling.vocabulary import check_tokens
from qa_lightning.modeling.weights import network_weights
from qa_lightning.pretrained.adapter_file import find_adapter
from qa_lightning.pretrained.checkpoint_file import is_checkpoint, read_checkpoint
from qa_lightning.pretrained.head import HEAD_KEY
from qa_lightning.pretrained.loading import load_config, readable_errors
from qa_lightning.records import Batch
from qa_lightning.utils.errors import UserError, in_one_line
from qa_lightning.utils.model_size import check_model_size

CONSTANT_NULL = (
    "this model is a causal decoder and scores 'no answer' at a window's first token, which sees nothing: the score is "
    "the same for every question; trained from its start with a tokenizer that has no cls_token (and an eos_token), it "
    "scores 'no answer' at the end of each window"
)
"""The warning about such a model where questions may be left unanswered."""


def load_network(
    model_name_or_path: str | None,
    *,
    config_name: str | None = None,
    config_overrides: dict[str, Any] | None = None,
    tokenizer: Any = None,
    attn_implementation: str | None = None,
    revision: str | None = None,
    head: HeadConfig = PLAIN_HEAD,
    merge: bool = True,
    auto_model: str | None = None,
) -> tuple[Any, list[str]]:
    """Loads a network of transformers, with float32 weights, ready to be trained.

    Args:
        model_name_or_path: A name on the Hub, a folder, or a checkpoint of ours; None starts from random
            weights.
        config_name: The configuration of a random start: a name or a folder.
        config_overrides: Values of the configuration to change.
        tokenizer: The tokenizer, whose size a random start's vocabulary takes.
        attn_implementation: Transformers' name of the attention kernel.
        revision: The Hub revision of the model.
        head: The head that it is given, or has.
        merge: Where the name is that of an adapter, adds it to the weights of its base; else this is the base alone.
        auto_model: Transformers' name of the class that knows networks of another kind, such as
            ``AutoModelForMaskedLM``; default: of those that answer questions.

    Returns:
        The network, and the names of the parameters that the source did not hold, which are random.

    Raises:
        UserError: Where the model cannot be found, loaded, or has no such head.
    """
    import transformers

    source = model_name_or_path or config_name
    if source is None:
        raise UserError("no model: set model.model_name_or_path, or model.config_name for a random start")
    config = load_config(source, revision)
    adapter = find_adapter(model_name_or_path, revision)
    weights, weights_revision = model_name_or_path, revision
    if adapter is not None and adapter.base is not None:
        weights, weights_revision = adapter.base, adapter.revision
    options = {"attn_implementation": attn_implementation} if attn_implementation else {}
    if model_name_or_path is None and tokenizer is not None:
        config.vocab_size = len(tokenizer)
        config.pad_token_id = tokenizer.pad_token_id
    _override_config(config, config_overrides or {})
    check_model_size(config_overrides or {}, "model.config_overrides")
    missing: list[str] = []
    with readable_errors("model", weights or source), quiet_transformers():
        if auto_model is None:
            set_head(config, head, weights or source)
        network_class = auto_class(config) if auto_model is None else getattr(transformers, auto_model)
        if weights is None or is_checkpoint(weights):
            network = network_class.from_config(config, dtype=torch.float32, trust_remote_code=False, **options)
        else:
            network, loading = network_class.from_pretrained(
                weights,
                config=config,
                dtype=torch.float32,
                revision=weights_revision,
                trust_remote_code=False,
                ignore_mismatched_sizes=True,  # refused below, in words
                output_loading_info=True,
                **options,
            )
            missing = sorted(loading["missing_keys"])
            _check_weights(network, missing, sorted(loading["mismatched_keys"]))
    if adapter is not None:
        missing = adapter.lacking(missing)
        network = merge_adapter(network, adapter) if merge or adapter.base is None else network
    elif is_checkpoint(weights):
        load_checkpoint_weights(network, str(weights))
    if getattr(config, HEAD_KEY, None):
        check_hidden_states(network)
    if tokenizer is not None:
        check_tokens(source, tokenizer, network.get_input_embeddings().weight.shape[0])
    return network.train(), missing  # transformers hands models out for inference, without dropout


def _override_config(config: Any, values: dict[str, Any]) -> None:
    for key, value in values.items():
        if not hasattr(config, key):
            raise UserError(f"model.config_overrides: a {config.model_type} configuration has no {key!r}")
        try:
            setattr(config, key, value)
        except Exception as error:  # its fields check their types, each with an exception of its own
            raise UserError(f"model.config_overrides: {key} cannot be {value!r}: {in_one_line(error)}") from error


def _check_weights(network: nn.Module, missing: list[str], mismatched: list[tuple[str, Any, Any]]) -> None:
    """Checks that the weights fit the configuration; only a head may be missing."""
    if mismatched:
        name, there, here = mismatched[0]
        raise ValueError(f"its {name} has the shape {tuple(there)}, its configuration says {tuple(here)}")
    lacking = [name for name in missing if _is_of_base_model(network, name)]
    if lacking:
        raise ValueError(f"it has no {lacking[0]}, which its configuration requires")


def load_checkpoint_weights(network: nn.Module, path: str) -> None:
    """Copies the weights of a checkpoint of ours into a network.

    Raises:
        UserError: Where they are those of another architecture.
    """
    state = read_checkpoint(path)["state_dict"]
    try:
        network.load_state_dict(network_weights(state))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[1].strip()
        raise UserError(f"{path}: the checkpoint does not fit the model ({reason})") from None


def check_same_architecture(checkpoint: str, name: str) -> None:
    """Checks that a checkpoint has the architecture of the model that is named beside it.

    A name on the Hub is not looked up for this: what a checkpoint holds needs no Hub.

    Raises:
        UserError: Where the two configurations differ in kind or size.
    """
    if not Path(name).is_dir():
        return
    of_checkpoint, of_name = load_config(checkpoint), load_config(name)
    for key in ("model_type", "hidden_size", "dim", "num_hidden_layers", "n_layers", "vocab_size"):
        here, there = getattr(of_checkpoint, key, None), getattr(of_name, key, None)
        if here != there:
            raise UserError(
                f"{checkpoint}: a checkpoint of another architecture: its {key} is {here!r}, that of {name} is "
                f"{there!r}; leave model.model_name_or_path out, since a checkpoint brings its own model"
            )


def question_answering_head_is_missing(network: nn.Module, missing: list[str]) -> bool:
    """Whether the parameters that a source lacks are those of the question-answering head.

    Architectures call it by different names; it is what stands beside the base model.
    """
    return any(not _is_of_base_model(network, name) for name in missing)


def _is_of_base_model(network: nn.Module, parameter: str) -> bool:
    return parameter.startswith(f"{network.base_model_prefix}.")


def longest_input(network: nn.Module) -> int | None:
    """The number of tokens that the network has positions for; None where positions are relative."""
    positions = _position_embeddings(network)
    if positions is None:
        return None
    # BART's kind counts from an offset, which it adds by itself.
    return positions.num_embeddings - max(first_position(network), getattr(positions, "offset", 0))


def first_position(network: nn.Module) -> int:
    """The position of a window's first token: RoBERTa's kind counts from behind the padding's index."""
    padding = getattr(_position_embeddings(network), "padding_idx", None)
    return 0 if padding is None else padding + 1


def _position_embeddings(network: nn.Module) -> nn.Embedding | None:
    for name, module in network.named_modules():
        if name.endswith(("position_embeddings", "embed_positions", "wpe")) and isinstance(module, nn.Embedding):
            return module
    return None


def accepted_inputs(network: nn.Module) -> set[str]:
    """The names of the tensors that the network's ``forward`` takes and uses."""
    accepted = set(inspect.signature(network.forward).parameters)
    head = getattr(network, HEAD_KEY, None)
    if head is not None and not head.answers:
        accepted.discard("null_position")
    if getattr(network.config, "type_vocab_size", 2) < 2:
        accepted.discard("token_type_ids")
    if first_position(network):
        accepted.discard("position_ids")  # it leaves out padding by itself
    return accepted


def enable_gradient_checkpointing(network: Any) -> None:
    """Makes a network compute activations again in the backward pass, to save memory.

    Raises:
        UserError: Where it cannot.
    """
    if not network.supports_gradient_checkpointing:
        raise UserError(f"a {network.config.model_type} model has no gradient_checkpointing; set it to false")
    # Its name in newer transformers, and in older ones.
    enable = getattr(network, "activation_checkpointing_enable", None)
    (enable or network.gradient_checkpointing_enable)()


@torch.no_grad()
def is_causal_network(network: Any) -> bool:
    """Whether attention is causal, tested by two inputs that differ in their last token only."""
    if "global_attention_mask" in inspect.signature(network.forward).parameters:
        return False  # some of its tokens are seen by all
    few = min(8, network.get_input_embeddings().weight.shape[0])
    tokens = torch.arange(4, 8, device=network.device).repeat(2, 1) % few
    tokens[1, -1] = (tokens[1, -1] + 1) % few
    training = network.training
    # Those of transformers' own head: in others, each start depends on all ends.
    compute = getattr(network.eval(), "pointer_output", network)
    output = compute(input_ids=tokens, attention_mask=torch.ones_like(tokens))
    network.train(training)
    logits = torch.stack([output.start_logits, output.end_logits])
    # Where not even the last token's differ, the weights are of no use: then nothing is known.
    return torch.equal(logits[:, 0, :-1], logits[:, 1, :-1]) and not torch.equal(logits[:, 0, -1], logits[:, 1, -1])


def network_inputs(batch: Batch, accepted: Collection[str]) -> dict[str, Tensor]:
    """Selects the inputs of a batch that a network accepts, with global attention on the question where it has that.

    Networks with an answerability head are given the place of null, too.
    """
    inputs = {name: tensor for name, tensor in batch.inputs.items() if name in accepted}
    if "global_attention_mask" in accepted:
        is_null = torch.nn.functional.one_hot(batch.null_position.clamp(min=0), batch.question_mask.shape[1])
        beyond = len(batch.inputs["input_ids"]) - len(batch)
        inputs["global_attention_mask"] = torch.nn.functional.pad(batch.question_mask | is_null, (0, 0, 0, beyond))
    if "null_position" in accepted:
        beyond = len(batch.inputs["input_ids"]) - len(batch)
        inputs["null_position"] = torch.nn.functional.pad(batch.null_position, (0, beyond), value=-1)
    return inputs


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silences the progress bars of transformers, and its long warnings about a new head."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
