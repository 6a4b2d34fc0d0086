"""Loads tokenizers, configurations and settings by name, from a folder, a checkpoint of ours or the Hub."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

from qa_lightning.pretrained.adapter_file import find_adapter
from qa_lightning.pretrained.checkpoint_file import CHECKPOINT_KEY, is_checkpoint, read_checkpoint
from qa_lightning.pretrained.ensemble_file import refuse_ensemble
from qa_lightning.pretrained.head import CONFIG_FILE, HEADED_TYPE, body_config, is_headed
from qa_lightning.pretrained.hub_file import hub_file
from qa_lightning.pretrained.settings import CONFIG_OVERRIDES, SETTINGS_FILE, check_settings
from qa_lightning.utils.errors import UserError, in_one_line
from qa_lightning.utils.files import in_scratch_folder
from qa_lightning.utils.model_size import check_model_size

BEST_MODEL = "best_model"
"""Folder of a run that holds its best model."""

_TOKENIZER_CONFIG = "tokenizer_config.json"

_VOCABULARIES = (
    *("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "spm.model", "sentencepiece.bpe.model"),
    *("tokenizer.model", "tekken.json"),
)
"""Files that a tokenizer can be loaded from."""


def load_config(name: str, revision: str | None = None) -> Any:
    """Loads a configuration of transformers.

    Args:
        name: A name on the Hub, a folder, or a checkpoint of ours.
        revision: The Hub revision.

    Raises:
        UserError: Where it cannot be found or read.
    """
    from transformers import AutoConfig, PreTrainedConfig

    refuse_ensemble(name)
    with readable_errors("model", name):
        if is_checkpoint(name):
            values = dict(read_checkpoint(name)[CHECKPOINT_KEY]["config"])
            if not isinstance(values.get("model_type"), str):
                raise ValueError("its configuration has no model_type")
            check_model_size(values, name)
            return AutoConfig.for_model(values.pop("model_type"), **values)
        adapter = find_adapter(name, revision)
        if adapter is not None and adapter.base is not None:
            return _config_of_adapter(adapter.name, adapter.base, adapter.revision, revision)
        file = Path(name, CONFIG_FILE)
        if file.is_file():  # some configurations make lists as long as they have layers
            check_model_size(json.loads(file.read_text(encoding="utf-8")), str(file))
        try:
            config = AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=False)
        except ValueError:
            values, _ = PreTrainedConfig.get_config_dict(name, revision=revision)
            if values.get("model_type") != HEADED_TYPE:
                raise
            values = body_config(values)
            config = AutoConfig.for_model(values.pop("model_type"), **values)
        check_model_size(config.to_dict(), name)
        return config


def _config_of_adapter(name: str, base: str, base_revision: str | None, revision: str | None) -> Any:
    """The base's configuration, with what a training of ours had changed in it."""
    if find_adapter(base, base_revision) is not None:
        raise UserError(f"{name}: its base {base} is an adapter itself; export that first, with --format safetensors")
    try:
        config = load_config(base, base_revision)
    except UserError as error:
        raise UserError(f"{name} is an adapter of {base}, which is not within reach: {error}") from error
    changed = load_settings(name, revision).get(CONFIG_OVERRIDES) or {}
    check_model_size(changed, name)
    for key, value in changed.items():
        setattr(config, key, value)
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
    best = Path(name, BEST_MODEL)
    if best.is_dir() and not Path(name, CONFIG_FILE).exists():
        raise UserError(f"{name} is the folder of a run; its model is {best}")
    refuse_ensemble(name)
    from transformers import AutoTokenizer

    adapter = None if is_checkpoint(name) else find_adapter(name, revision)
    if adapter is not None and adapter.base and not _has_tokenizer(name, revision):
        return load_tokenizer(adapter.base, adapter.revision)
    # Of a model with a head of ours, transformers does not know the kind by itself; nor of an adapter on the Hub.
    needs_config = adapter is not None and not Path(name).exists()

    def load(place: str | Path) -> Any:
        options = {"config": load_config(str(place), revision)} if needs_config or is_headed(place) else {}
        tokenizer = AutoTokenizer.from_pretrained(place, revision=revision, trust_remote_code=False, **options)
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


def _has_tokenizer(name: str, revision: str | None) -> bool:
    folder = Path(name)
    file = folder / _TOKENIZER_CONFIG if folder.exists() else hub_file(name, _TOKENIZER_CONFIG, revision)
    return file is not None and file.is_file()


def _check_vocabulary(name: str, folder: Path, tokenizer: Any) -> None:
    """Checks that a folder has a vocabulary; without one, transformers makes a tokenizer that knows no word."""
    known = {*type(tokenizer).vocab_files_names.values(), *_VOCABULARIES}
    if not any((folder / file).is_file() for file in known) and not any(folder.glob("*.tiktoken")):
        raise UserError(
            f"{name}: there is no tokenizer in it (no tokenizer.json, and no {_VOCABULARIES[1]} or other vocabulary); "
            "save the tokenizer there, too, or set tokenizer_name to the one that the model was trained with"
        )


def same_tokenizer(tokenizer: Any, other: Any) -> bool:
    """Whether two fast tokenizers make the same tokens of the same texts, and models get the same inputs by them."""

    def rules(each: Any) -> Any:
        values = json.loads(each.backend_tokenizer.to_str())
        # How it pads and truncates is set anew with each call.
        return {key: value for key, value in values.items() if key not in ("padding", "truncation")}

    def inputs(each: Any) -> Any:
        # Question and context have types for BERT, and not for DistilBERT, whose tokens are the same.
        has_types = "token_type_ids" in each.model_input_names
        return each.padding_side, each.cls_token_id, each.eos_token_id, has_types

    sides = [inputs(each) for each in (tokenizer, other)]
    return sides[0] == sides[1] and bool(rules(tokenizer) == rules(other))


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
    path = Path(name, SETTINGS_FILE) if Path(name).exists() else hub_file(name, SETTINGS_FILE, revision)
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
