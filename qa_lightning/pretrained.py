"""Loads tokenizers, configurations and settings by name, from a folder or from a checkpoint of ours.

This is the only module that knows where pretrained files come from, and what a checkpoint of ours holds so that
loading it needs nothing else: the model's configuration, the tokenizer's files and our settings.
"""

from __future__ import annotations

import functools
import json
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qa_lightning.utils.errors import UserError, in_one_line
from qa_lightning.utils.files import in_scratch_folder
from qa_lightning.utils.model_size import check_model_size

CHECKPOINT_KEY = "qa_lightning"
"""Key of our parts in a Lightning checkpoint."""

SETTINGS_FILE = "qa_lightning.json"
"""File in a model folder that holds the settings the model was trained with."""

CONFIG_FILE = "config.json"
"""File in a model folder that holds the model's configuration."""

BEST_MODEL = "best_model"
"""Folder of a run that holds its best model."""

_VOCABULARIES = (
    *("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "spm.model", "sentencepiece.bpe.model"),
    *("tokenizer.model", "tekken.json"),
)
"""Files that a tokenizer can be loaded from."""

_INTEGER_SETTINGS = {
    "max_length": 1,
    "doc_stride": 0,
    "max_question_length": 1,
    "n_best_size": 1,
    "max_answer_length": 1,
}
"""Settings that are whole numbers, and the least value of each."""

_LARGEST = (1 << 31) - 1

NULL_AT_END = "null_at_end"
"""Setting of models whose null is scored at a special token that ends every window; others do not have it."""


def null_at_end(tokenizer: Any, saved: Mapping[str, Any], *, training: bool) -> bool:
    """Whether a model scores null at the end of windows.

    Models that were trained so do, and models whose training starts with a tokenizer without a classification token, as
    causal decoders have: at their first token, null has the same score for every question.

    Args:
        tokenizer: The model's tokenizer.
        saved: The model's settings, as `load_settings` returned them.
        training: Whether the model is trained, or was in this process.
    """
    if saved:
        return bool(saved.get(NULL_AT_END, False))
    return training and tokenizer is not None and tokenizer.cls_token_id is None


def is_checkpoint(name: str | None) -> bool:
    """Whether a name means a Lightning checkpoint file rather than a folder or a name on the Hub."""
    return name is not None and name.endswith(".ckpt")


@functools.lru_cache(maxsize=2)
def _read_checkpoint(path: str, _changed: int) -> dict[str, Any]:
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:
        raise UserError(f"{path}: not a readable checkpoint of plain data; name one that `fit` wrote") from error


def read_checkpoint(path: str) -> dict[str, Any]:
    """Reads a checkpoint of ours, with memory-mapped tensors; unpickles plain data only.

    Args:
        path: The checkpoint.

    Raises:
        UserError: Where there is no such file, or it is not a checkpoint that `fit` wrote, or one whose parts are not
            what `fit` writes.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: no such checkpoint")
    checkpoint = _read_checkpoint(path, Path(path).stat().st_mtime_ns)
    if not isinstance(checkpoint, dict) or CHECKPOINT_KEY not in checkpoint:
        raise UserError(f"{path}: not a checkpoint of qa_lightning (it carries no model configuration)")
    wrong = _find_fault(checkpoint)
    if wrong:
        raise UserError(f"{path}: a damaged checkpoint: {wrong}; name another one that `fit` wrote")
    check_settings(checkpoint[CHECKPOINT_KEY]["settings"], path)
    return checkpoint


def checkpoint_config(path: str) -> dict[str, Any]:
    """Reads the model's and the data's arguments of a checkpoint, in the form of a config.

    Args:
        path: The checkpoint.

    Raises:
        UserError: As `read_checkpoint` does.
    """
    checkpoint = read_checkpoint(path)
    config = {}
    for section, key in (("model", "hyper_parameters"), ("data", "datamodule_hyper_parameters")):
        values = {name: value for name, value in checkpoint.get(key, {}).items() if name != "_instantiator"}
        class_path = values.pop("_class_path", None)
        config[section] = {"init_args": values} | ({"class_path": class_path} if class_path else {})
    return config


def _find_fault(checkpoint: Mapping[str, Any]) -> str | None:
    """Describes the first part of a checkpoint that is not as `fit` writes it; None: all are."""
    import torch

    weights, ours = checkpoint.get("state_dict"), checkpoint[CHECKPOINT_KEY]
    if not _is_name_mapping(weights, torch.Tensor):
        return "its state_dict does not map names to tensors"
    for name in ("hyper_parameters", "datamodule_hyper_parameters"):
        if not _is_name_mapping(checkpoint.get(name, {}), object):
            return f"its {name} do not map names to values"
    for name, kind in (("config", object), ("tokenizer", str), ("settings", object)):
        if not isinstance(ours, Mapping) or name not in ours:
            return f"it has no {name}"
        if not _is_name_mapping(ours[name], kind):
            return f"its {name} does not map names to {'texts' if kind is str else 'values'}"
    if not _is_number(ours.get("validation_threshold", 0.0)):
        return "its validation_threshold is not a number"
    for name in ours["tokenizer"]:
        if Path(name).name != name or name in ("", "..") or "\0" in name:
            return f"a file of its tokenizer is called {name!r:.80}, which is not a plain file name"
    return None


def _is_name_mapping(value: Any, kind: type) -> bool:
    return isinstance(value, Mapping) and all(isinstance(k, str) and isinstance(v, kind) for k, v in value.items())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def load_config(name: str, revision: str | None = None) -> Any:
    """Loads a configuration of transformers.

    Args:
        name: A name on the Hub, a folder, or a checkpoint of ours.
        revision: The Hub revision.

    Raises:
        UserError: Where it cannot be found or read.
    """
    from transformers import AutoConfig

    with readable_errors("model", name):
        if is_checkpoint(name):
            values = dict(read_checkpoint(name)[CHECKPOINT_KEY]["config"])
            if not isinstance(values.get("model_type"), str):
                raise ValueError("its configuration has no model_type")
            check_model_size(values, name)
            return AutoConfig.for_model(values.pop("model_type"), **values)
        file = Path(name, CONFIG_FILE)
        if file.is_file():  # some configurations make lists as long as they have layers
            check_model_size(json.loads(file.read_text(encoding="utf-8")), str(file))
        config = AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=False)
        check_model_size(config.to_dict(), name)
        return config


def load_tokenizer(name: str, revision: str | None = None) -> Any:
    """Loads a fast tokenizer.

    Args:
        name: A name on the Hub, a folder, or a checkpoint of ours.
        revision: The Hub revision.

    Raises:
        UserError: Where it cannot be found or read, has no vocabulary, or is a slow (pure Python) one, which has no
            offsets.
    """
    from transformers import AutoTokenizer

    def load(place: str | Path) -> Any:
        tokenizer = AutoTokenizer.from_pretrained(place, revision=revision, trust_remote_code=False)
        if tokenizer.is_fast and Path(place).is_dir():
            _check_vocabulary(name, Path(place), tokenizer)
        return tokenizer

    def unpack_and_load(folder: Path) -> Any:
        for file, text in read_checkpoint(name)[CHECKPOINT_KEY]["tokenizer"].items():
            Path(folder, file).write_text(text, encoding="utf-8")
        return load(folder)

    with readable_errors("tokenizer", name):
        tokenizer = in_scratch_folder(unpack_and_load) if is_checkpoint(name) else load(name)
    if not tokenizer.is_fast:
        raise UserError(
            f"the tokenizer of {name} ({type(tokenizer).__name__}) is a slow one, which does not give the "
            "characters of tokens; set tokenizer_name to a model with a fast tokenizer (a tokenizer.json)"
        )
    if tokenizer.cls_token_id is not None and not tokenizer.num_special_tokens_to_add(pair=True):
        warnings.warn(
            f"the tokenizer of {name} knows {tokenizer.cls_token} and puts neither it nor another special token "
            "around question and context; models that have it are mostly trained with it (see post_processor in its "
            "tokenizer.json)",
            stacklevel=2,
        )
    return tokenizer


def _check_vocabulary(name: str, folder: Path, tokenizer: Any) -> None:
    """Checks that a folder has a vocabulary; without one, transformers makes a tokenizer that knows no word."""
    known = {*type(tokenizer).vocab_files_names.values(), *_VOCABULARIES}
    if not any((folder / file).is_file() for file in known) and not any(folder.glob("*.tiktoken")):
        raise UserError(
            f"{name}: there is no tokenizer in it (no tokenizer.json, and no {_VOCABULARIES[1]} or other vocabulary); "
            "save the tokenizer there, too, or set tokenizer_name to the one that the model was trained with"
        )


def tokenizer_files(tokenizer: Any) -> dict[str, str]:
    """Returns the files that `save_pretrained` writes for a fast tokenizer: name → text."""

    def save(folder: Path) -> dict[str, str]:
        tokenizer.save_pretrained(folder)
        return {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.iterdir())}

    return in_scratch_folder(save)


def load_settings(name: str | None, revision: str | None = None) -> dict[str, Any]:
    """Loads the settings that a checkpoint or model of ours was trained with; empty for other models.

    Args:
        name: A folder, a checkpoint of ours, or a name on the Hub; None: none of these.
        revision: The Hub revision.

    Raises:
        UserError: Where a settings file cannot be read.
    """
    if name is None:
        return {}
    if is_checkpoint(name):
        return dict(read_checkpoint(name)[CHECKPOINT_KEY]["settings"])
    path = Path(name, SETTINGS_FILE) if Path(name).exists() else _from_hub(name, SETTINGS_FILE, revision)
    if path is None or not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a settings file of qa_lightning ({error}); delete or fix it") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: not a settings file of qa_lightning (it holds no JSON object); delete or fix it")
    check_settings(values, str(path))
    return values


def check_settings(values: Mapping[str, Any], where: str) -> None:
    """Checks the types and ranges of settings; missing and unknown ones are allowed.

    Args:
        values: A model's settings.
        where: The name of the file in messages.

    Raises:
        UserError: With the name of the first invalid one.
    """
    for name, value in values.items():
        good = True
        if name in _INTEGER_SETTINGS:
            good = (
                isinstance(value, int) and not isinstance(value, bool) and _INTEGER_SETTINGS[name] <= value <= _LARGEST
            )
        elif name == "null_score_diff_threshold":
            good = _is_number(value)
        elif name in ("version_2_with_negative", NULL_AT_END):
            good = isinstance(value, bool)
        if not good:
            raise UserError(f"{where}: {name} cannot be {shorten(value)}; fix it, or train the model again")


def shorten(value: Any) -> str:
    """Formats a value as Python does, shortened where it is long."""
    try:
        return f"{value!r:.80}"
    except ValueError:  # a whole number of thousands of digits
        return f"a {type(value).__name__} without an end"


def _from_hub(name: str, file: str, revision: str | None) -> Path | None:
    """Downloads a file from the Hub, or finds it in the cache; None where neither has it."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HFValidationError

    try:
        return Path(hf_hub_download(name, file, revision=revision))
    except (EntryNotFoundError, HFValidationError, OSError):  # what needs the name says what is wrong with it
        return None


class readable_errors:  # noqa: N801 - reads as a statement
    """A context in which a failure to load ``what`` from ``name`` becomes a one-line `UserError`."""

    def __init__(self, what: str, name: str) -> None:
        self.what, self.name = what, name

    def __enter__(self) -> None:
        folder = Path(self.name)
        looks_local = folder.is_absolute() or self.name.startswith(".") or self.name.count("/") > 1
        if looks_local and not folder.exists():
            raise UserError(f"{self.name}: no such {self.what} folder")

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if not isinstance(error, Exception) or isinstance(error, UserError):
            return
        if isinstance(error, OSError) and not Path(self.name).exists():
            raise UserError(
                f"cannot load the {self.what} {self.name!r}: it is no folder here and could not be fetched from "
                "the Hub; check the name and the connection, or name a local folder, which works offline"
            ) from error
        raise UserError(f"cannot load a {self.what} from {self.name}: {in_one_line(error)}") from error
