"""From a name, a folder or a checkpoint of ours to a tokenizer, a configuration and settings.

The one place that knows where pretrained things come from, and what a checkpoint of ours carries so that
restoring it needs nothing else: the model's configuration, the tokenizer's files and our settings.
"""

from __future__ import annotations

import functools
import json
import pickle
import tempfile
from pathlib import Path
from typing import Any

import torch

from qa_lightning.errors import UserError
from qa_lightning.model_size import check_model_size

CHECKPOINT_KEY = "qa_lightning"
"""Key in a Lightning checkpoint under which our parts stand."""

SETTINGS_FILE = "qa_lightning.json"
"""File in a model folder that holds the settings the model was trained with."""

CONFIG_FILE = "config.json"
"""File in a model folder that holds the model's configuration."""

BEST_MODEL = "best_model"
"""Folder of a run that holds its best model."""


def is_checkpoint(name: str | None) -> bool:
    """Whether a name means a Lightning checkpoint file rather than a folder or a name on the Hub."""
    return name is not None and name.endswith(".ckpt")


def model_of(name: str) -> str:
    """The best model of a run, where a name is that of a run's folder; any other name as it is.

    Raises:
        UserError: Where the run has none.
    """
    folder = Path(name)
    if not (folder / "config.yaml").is_file() or (folder / "config.json").is_file():
        return name
    if not (folder / BEST_MODEL).is_dir():
        raise UserError(f"{name}: a run without a {BEST_MODEL}; name a checkpoint of it, or train on")
    return str(folder / BEST_MODEL)


@functools.lru_cache(maxsize=2)
def _read_checkpoint(path: str, _changed: int) -> dict[str, Any]:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:
        raise UserError(f"{path}: not a readable checkpoint of plain data; name one that `fit` wrote") from error


def read_checkpoint(path: str) -> dict[str, Any]:
    """A checkpoint of ours, its tensors memory-mapped; never unpickles anything but plain data.

    Raises:
        UserError: Where there is no such file, or it is not a checkpoint that `fit` wrote.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: no such checkpoint")
    checkpoint = _read_checkpoint(path, Path(path).stat().st_mtime_ns)
    if not isinstance(checkpoint, dict) or CHECKPOINT_KEY not in checkpoint:
        raise UserError(f"{path}: not a checkpoint of qa_lightning (it carries no model configuration)")
    return checkpoint


def load_config(name: str, revision: str | None = None) -> Any:
    """The transformers configuration of a name, a folder or a checkpoint of ours.

    Raises:
        UserError: Where it cannot be found or read.
    """
    from transformers import AutoConfig

    if is_checkpoint(name):
        values = dict(read_checkpoint(name)[CHECKPOINT_KEY]["config"])
        check_model_size(values, name)
        return AutoConfig.for_model(values.pop("model_type"), **values)
    with clear_errors("model", name):
        file = Path(name, CONFIG_FILE)
        if file.is_file():  # some configurations make lists as long as they have layers
            check_model_size(json.loads(file.read_text(encoding="utf-8")), str(file))
        config = AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=False)
        check_model_size(config.to_dict(), name)
        return config


def load_tokenizer(name: str, revision: str | None = None) -> Any:
    """The fast tokenizer of a name, a folder or a checkpoint of ours.

    Raises:
        UserError: Where it cannot be found or read, or is a slow (pure Python) one, which knows no offsets.
    """
    from transformers import AutoTokenizer

    if is_checkpoint(name):
        with tempfile.TemporaryDirectory() as folder:
            for file, text in read_checkpoint(name)[CHECKPOINT_KEY]["tokenizer"].items():
                Path(folder, Path(file).name).write_text(text, encoding="utf-8")
            return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    with clear_errors("tokenizer", name):
        tokenizer = AutoTokenizer.from_pretrained(name, revision=revision, trust_remote_code=False)
    if not tokenizer.is_fast:
        raise UserError(
            f"the tokenizer of {name} ({type(tokenizer).__name__}) is a slow one, which cannot tell where a "
            "token stands in the text; set tokenizer_name to a model with a fast tokenizer (a tokenizer.json)"
        )
    return tokenizer


def tokenizer_files(tokenizer: Any) -> dict[str, str]:
    """The files that `save_pretrained` writes for a fast tokenizer: name → text."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        return {path.name: path.read_text(encoding="utf-8") for path in sorted(Path(folder).iterdir())}


def load_settings(name: str | None, revision: str | None = None) -> dict[str, Any]:
    """The settings that a checkpoint or model of ours was trained with; empty for any other.

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
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: not a settings file of qa_lightning ({error}); delete or mend it") from None


def _from_hub(name: str, file: str, revision: str | None) -> Path | None:
    """A file of a repository on the Hub, or of the cache; None where it has none or cannot be reached."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HFValidationError

    try:
        return Path(hf_hub_download(name, file, revision=revision))
    except (EntryNotFoundError, HFValidationError, OSError):  # what is wrong with the name is told by what needs it
        return None


class clear_errors:  # noqa: N801 - reads as a statement
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


def in_one_line(error: Exception) -> str:
    """The first line of what an exception says, with the next where it only announces that."""
    if isinstance(error, pickle.UnpicklingError):
        return "its file holds more than plain data, which is not loaded"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[: 2 if lines[0].endswith(":") else 1])
