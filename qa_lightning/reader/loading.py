"""Loads a model by its name, ready to answer questions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from qa_lightning.modeling.network import load_network, question_answering_head_is_missing
from qa_lightning.modeling.vocabulary import check_tokens
from qa_lightning.pretrained.loading import load_config
from qa_lightning.reader.onnx_runner import ONNX_FILE, OnnxRunner, holds_onnx
from qa_lightning.reader.runners import Runner, TorchRunner
from qa_lightning.utils.errors import UserError, in_one_line


def load_runner(
    name: str,
    tokenizer: Any,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype = torch.float32,
    attn_implementation: str | None = None,
    revision: str | None = None,
) -> Runner:
    """Loads a model, for onnxruntime where a folder holds it in ONNX format only, for torch otherwise.

    Args:
        name: A folder, a name on the Hub, or a checkpoint.
        tokenizer: Its tokenizer.
        device: Where to run; default: a GPU where there is one.
        dtype: The dtype of the weights.
        attn_implementation: The attention kernel by transformers' name.
        revision: The Hub revision.

    Raises:
        UserError: Where the model cannot be loaded, or not so, or has no question-answering head.
    """
    if holds_onnx(name):
        if parse_dtype(dtype) is not torch.float32:
            raise UserError(f"{name}: an ONNX model keeps the dtype that it was exported with; leave dtype out")
        if attn_implementation is not None:
            raise UserError(f"{name}: an ONNX model has its attention built in; leave attn_implementation out")
        check_tokens(name, tokenizer, getattr(load_config(name), "vocab_size", len(tokenizer)))
        return OnnxRunner(Path(name, ONNX_FILE), device)
    network_device, network_dtype = parse_device(device), parse_dtype(dtype)
    network = load_trained_network(name, tokenizer, attn_implementation=attn_implementation, revision=revision)
    return TorchRunner(network.to(device=network_device, dtype=network_dtype))


def load_trained_network(
    name: str, tokenizer: Any, *, attn_implementation: str | None = None, revision: str | None = None
) -> Any:
    """Loads a network of transformers that was trained to answer questions, in float32.

    Args:
        name: A folder, a name on the Hub, or a checkpoint.
        tokenizer: Its tokenizer.
        attn_implementation: The attention kernel by transformers' name.
        revision: The Hub revision.

    Raises:
        UserError: Where it cannot be loaded, or has no question-answering head.
    """
    network, missing = load_network(
        name, tokenizer=tokenizer, attn_implementation=attn_implementation, revision=revision
    )
    if question_answering_head_is_missing(network, missing):
        raise UserError(f"{name}: this checkpoint has no question-answering head; train it first")
    return network


def parse_device(device: str | torch.device | None) -> torch.device:
    """Parses a device and checks that it can be used; None: a GPU where there is one.

    Raises:
        UserError: Where it cannot be used.
    """
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        place = torch.zeros(1, device=device)
        place.item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(f"the device {str(device)!r} cannot be used: {in_one_line(error)}") from error
    return place.device


def parse_dtype(dtype: str | torch.dtype) -> torch.dtype:
    """Parses a floating-point dtype.

    Raises:
        UserError: Where there is none of that name.
    """
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if found not in (torch.float32, torch.bfloat16, torch.float16, torch.float64):
        raise UserError(f"dtype cannot be {dtype!r}; it is one of float32, bfloat16, float16, float64")
    return found
