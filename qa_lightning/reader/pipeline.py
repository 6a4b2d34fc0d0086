"""A drop-in for what transformers' ``pipeline("question-answering")`` was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from qa_lightning.errors import UserError
from qa_lightning.pretrained import load_tokenizer
from qa_lightning.reader.loading import as_device
from qa_lightning.reader.reader import Reader

_TASK = "question-answering"


def pipeline(
    task: str = _TASK,
    model: Any = None,
    tokenizer: Any = None,
    *,
    revision: str | None = None,
    device: Any = None,
    dtype: str | torch.dtype = torch.float32,
    **settings: Any,
) -> Reader:
    """A `Reader`, made as transformers' pipeline was.

    Args:
        task: ``question-answering``.
        model: A name on the Hub, a folder, a checkpoint that ``fit`` wrote, or a question-answering network.
        tokenizer: A name or a folder, or a fast tokenizer; default: the model's.
        revision: The Hub revision.
        device: Where to run, also as the number of a GPU, or -1 for the CPU; default: a GPU where there is one, and
            for a network where it is.
        dtype: Of the weights, for a model that is loaded here.
        **settings: How to answer unless a call says otherwise; see `Settings`.

    Raises:
        UserError: For another task, or where no model is given or it cannot be loaded.
    """
    if task != _TASK:
        raise UserError(f"there is no pipeline for {task!r} here, only for {_TASK!r}")
    if model is None:
        raise UserError('no model: name one, as in pipeline("question-answering", model="runs/…/best_model")')
    if isinstance(device, int) and not isinstance(device, bool):
        device = "cpu" if device < 0 else f"cuda:{device}"
    if isinstance(model, str | Path):
        if tokenizer is None or isinstance(tokenizer, str | Path):
            name = None if tokenizer is None else str(tokenizer)
            return Reader.from_pretrained(
                model, tokenizer_name=name, revision=revision, device=device, dtype=dtype, **settings
            )
        raise UserError("a tokenizer that is loaded goes with a model that is loaded: give names, or both loaded")
    if tokenizer is None:
        raise UserError("no tokenizer: give that of the model, which is loaded already")
    if isinstance(tokenizer, str | Path):
        tokenizer = load_tokenizer(str(tokenizer), revision)
    return Reader(model if device is None else model.to(as_device(device)), tokenizer, **settings)
