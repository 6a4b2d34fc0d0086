"""Translates the arguments of transformers' former question-answering pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qa_lightning.utils.errors import UserError

RENAMED_ARGUMENTS = {"topk": "top_k", "data": "inputs", "X": "inputs"}
"""Arguments that have a different name here."""

_HINTS = {
    "batch_size": " (tokens_per_batch says how much the model is given at once)",
    "config": " (a model's own is taken)",
    "token": " (set the variable HF_TOKEN)",
    "use_auth_token": " (set the variable HF_TOKEN)",
}
IGNORED_ARGUMENTS = {
    *_HINTS,
    *("args_parser", "binary_output", "clean_up_tokenization_spaces", "feature_extractor", "framework"),
    *("image_processor", "modelcard", "num_workers", "padding", "pipeline_class", "processor", "question_first"),
    *("return_tensors", "truncation", "use_fast"),
}
"""Arguments that concern speed, loading or other tasks, and are ignored here."""

LOADING_ARGUMENTS = {"torch_dtype", "dtype", "device", "device_map", "model_kwargs", "trust_remote_code", "revision"}
"""Arguments of how a model is loaded: used by `pipeline`, ignored by a call of what it returns."""

_UNCHANGED_VALUES: dict[str, Any] = {
    "framework": "pt",
    "use_fast": True,
    "token": False,
    "use_auth_token": False,
    "trust_remote_code": False,
}
"""Values, besides None, of ignored arguments that change nothing, so that no warning is needed."""

_ANY_DEVICE = ("auto", "balanced", "balanced_low_0", "sequential")


def translate_arguments(given: Mapping[str, Any], *, loaded: bool) -> tuple[dict[str, Any], dict[str, str]]:
    """Translates arguments to their names here, with a note on each that is renamed or ignored.

    Args:
        given: Arguments of the former pipeline, of a Reader, or unknown ones, which are kept.
        loaded: Whether the model is loaded, so that arguments of loading are ignored.

    Returns:
        The arguments, without those that are None, which stood for a default; and the notes, by name, that
        the user should read.

    Raises:
        UserError: Where an argument is given under both of its names, or remote code is to be run.
    """
    if given.get("trust_remote_code"):
        raise UserError("trust_remote_code: code that comes with a model is never run here; leave it out")
    kept: dict[str, Any] = {}
    notes: dict[str, str] = {}
    for name, value in given.items():
        if value is None:
            continue
        if name in IGNORED_ARGUMENTS or (loaded and name in LOADING_ARGUMENTS):
            if name not in _UNCHANGED_VALUES or value != _UNCHANGED_VALUES[name]:
                notes[name] = f"{name} is ignored{_HINTS.get(name, '')}"
            continue
        ours = RENAMED_ARGUMENTS.get(name, name)
        if ours in kept or (ours != name and given.get(ours) is not None):
            raise UserError(f"{ours} is given twice, also as {name}; give it once")
        if ours != name:
            notes[name] = f"{name} is called {ours}"
        kept[ours] = value
    return kept, notes


def take_loading_arguments(given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Removes the arguments of how a model is loaded from those that were given.

    Args:
        given: The arguments; those of loading are removed.

    Returns:
        ``device``, ``dtype``, ``revision`` and ``attn_implementation``, as far as they are there, also within
        ``model_kwargs``; and a note for each other entry of these.

    Raises:
        UserError: Where one is given twice and differently, or a model is to be spread over devices.
    """
    own = {name: given.pop(name) for name in LOADING_ARGUMENTS if name in given}
    within = own.pop("model_kwargs", {})
    if not isinstance(within, Mapping):
        raise UserError(f"model_kwargs cannot be {within!r:.80}; it is a mapping of names to values")
    found: dict[str, Any] = {}
    notes: dict[str, str] = {}
    for name, value in [*own.items(), *within.items()]:
        ours = {"torch_dtype": "dtype", "device_map": "device"}.get(name, name)
        if name == "device_map":
            value = _device_of_map(value)
        if value is None or value is False or (ours == "dtype" and value == "auto"):
            continue
        if ours not in ("device", "dtype", "revision", "attn_implementation"):
            notes[name] = f"{name} of model_kwargs is ignored"
        elif found.setdefault(ours, _normalize_value(ours, value)) != _normalize_value(ours, value):
            raise UserError(f"{ours} is given twice, as {found[ours]!r:.40} and as {value!r:.40}; give it once")
    return found, notes


def _device_of_map(device_map: Any) -> Any:
    """The single device of a ``device_map``; None where it leaves the choice open."""
    if isinstance(device_map, Mapping):
        places = list(dict.fromkeys(device_map.values()))
        if len(places) > 1:
            raise UserError("device_map: a model is on one device here; name it as device")
        return next(iter(places), None)
    return None if device_map in _ANY_DEVICE else device_map


def _normalize_value(name: str, value: Any) -> Any:
    """Normalises a device, which may be the number of a GPU, or -1 for the CPU; or a dtype."""
    if name == "device" and isinstance(value, int):
        return "cpu" if value < 0 else f"cuda:{value}"
    return str(value).removeprefix("torch.")


def name_inputs(positional: tuple[Any, ...], named: Mapping[str, Any]) -> dict[str, Any]:
    """Names the positional inputs of a call.

    Args:
        positional: A question and its context, both texts or lists of texts; or whatever a Reader's ``inputs`` may
            be; or several records.
        named: The other arguments.

    Raises:
        UserError: For anything else, and where something is given twice.
    """
    if not positional:
        return dict(named)
    texts = [_are_texts(value) for value in positional]
    if len(positional) == 2 and all(texts):
        found = {"question": positional[0], "context": positional[1]}
    elif len(positional) == 1:
        found = {"question" if texts[0] and "context" in named else "inputs": positional[0]}
    elif not any(texts):
        found = {"inputs": list(positional)}
    else:
        raise UserError(
            f"{len(positional)} inputs that are not a question and its context: give question=… and context=…, or "
            'records such as {"question": …, "context": …}'
        )
    twice = [name for name in found if named.get(name) is not None]
    if twice:
        raise UserError(f"{twice[0]} is given twice, once by position; give it once")
    return {**named, **found}


def _are_texts(value: Any) -> bool:
    """Whether a value is a text or a list of texts only."""
    if isinstance(value, list | tuple) and value:
        return all(isinstance(text, str) for text in value)
    return isinstance(value, str)
