"""A drop-in replacement of transformers' former ``pipeline("question-answering")``."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from qa_lightning.pretrained.loading import load_tokenizer
from qa_lightning.reader.former_arguments import name_inputs, take_loading_arguments, translate_arguments
from qa_lightning.reader.loading import parse_device, parse_dtype
from qa_lightning.reader.reader import Reader
from qa_lightning.utils.errors import UserError

_TASK = "question-answering"


class Pipeline(Reader):
    """A Reader that takes every argument of transformers' former pipeline.

    Arguments that concerned speed or loading only are ignored, with one warning for each.

    Args:
        *parts: Those of a `Reader`.
        **settings: Those of a `Reader`.
    """

    def __init__(self, *parts: Any, **settings: Any) -> None:
        super().__init__(*parts, **settings)
        self._noted: set[str] = set()

    def __call__(self, *positional: Any, **arguments: Any) -> Any:
        """Answers a question, or any number of them; see `Reader.__call__`.

        Args:
            *positional: A question and its context, or what a Reader takes as ``inputs``, or several records.
            **arguments: Those of a Reader, and those of the former pipeline.

        Raises:
            UserError: As a Reader does.
        """
        arguments, notes = translate_arguments(name_inputs(positional, arguments), loaded=True)
        _warn(note for name, note in notes.items() if name not in self._noted)
        self._noted.update(notes)
        return super().__call__(**arguments)


def pipeline(
    task: str | None = _TASK, model: Any = None, config: Any = None, tokenizer: Any = None, **arguments: Any
) -> Pipeline:
    """Makes a `Reader` with the arguments of transformers' former pipeline.

    Args:
        task: ``question-answering``.
        model: A name on the Hub, a folder, a checkpoint that ``fit`` wrote, or a question-answering network.
        config: Set aside: a model's own configuration is taken.
        tokenizer: A name or a folder, or a fast tokenizer; default: the model's.
        **arguments: How to answer unless a call says otherwise; see `Settings`. And what the former pipeline took:
            ``device`` (also as the number of a GPU, or -1 for the CPU; default: a GPU where there is one, and for a
            network where it is), ``dtype`` or ``torch_dtype`` (of the weights; default: float32, and for a network
            its own), ``revision`` and ``model_kwargs`` count; what concerned only speed, such as ``batch_size`` and
            ``padding``, is ignored with one warning.

    Raises:
        UserError: For another task, or where no model is given or it cannot be loaded.
    """
    if task not in (_TASK, None):
        raise UserError(f"there is no pipeline for {task!r:.80} here, only for {_TASK!r}")
    if model is None:
        raise UserError('no model: name one, as in pipeline("question-answering", model="runs/…/best_model")')
    settings, notes = translate_arguments({**arguments, "config": config}, loaded=False)
    loading, others = take_loading_arguments(settings)
    _warn([*notes.values(), *others.values()])
    if isinstance(model, str | Path):
        if tokenizer is None or isinstance(tokenizer, str | Path):
            name = None if tokenizer is None else str(tokenizer)
            return Pipeline.from_pretrained(model, tokenizer_name=name, **loading, **settings)
        raise UserError("a tokenizer that is loaded goes with a model that is loaded: give names, or both loaded")
    if tokenizer is None:
        raise UserError("no tokenizer: give that of the model, which is loaded already")
    if isinstance(tokenizer, str | Path):
        tokenizer = load_tokenizer(str(tokenizer), loading.get("revision"))
    if "device" in loading:
        model = model.to(parse_device(loading["device"]))
    if "dtype" in loading:
        model = model.to(parse_dtype(loading["dtype"]))
    return Pipeline(model, tokenizer, **settings)


def _warn(notes: Iterable[str]) -> None:
    """Warns once, with all notes, at the line of the user's code."""
    text = "; ".join(notes)
    if text:
        warnings.warn(f"pipeline: {text}", stacklevel=3)
