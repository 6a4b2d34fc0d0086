"""Where a model comes from: what it was trained on and with, and its scores, as far as its run says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from qa_lightning.pretrained.checkpoint_file import checkpoint_config, is_checkpoint
from qa_lightning.runs.folder import RunFolder
from qa_lightning.runs.history import Scores, read_scores
from qa_lightning.scoring.figures import PROGRESS
from qa_lightning.utils.errors import UserError

_TRAINING = (
    "learning_rate optimizer lr_scheduler_type weight_decay warmup_ratio warmup_steps batch_size tokens_per_batch "
    "answers max_epochs max_steps precision seed_everything"
).split()


@dataclass(frozen=True)
class Provenance:
    """What is known of a model. No value is a path of the machine: files and folders stand there by name only.

    Attributes:
        base: What training began with: a model's name, or that of a folder; empty where it is not known.
        base_is_on_hub: Whether that is a name on the Hub.
        random_start: Whether training began with random weights, in the shape of the base.
        datasets: Names on the Hub of the data sets that it was trained on.
        data: By split, the names of its files, or of its data set.
        training: How it was trained.
        language: The language that it was scored as, where one was named.
        scores: The figures of its evaluation by plain name; by evaluation set, the only one's name is empty.
    """

    base: str = ""
    base_is_on_hub: bool = False
    random_start: bool = False
    datasets: tuple[str, ...] = ()
    data: Mapping[str, str] = field(default_factory=dict)
    training: Mapping[str, str] = field(default_factory=dict)
    language: str | None = None
    scores: Mapping[str, Scores] = field(default_factory=dict)


def provenance_of(name: str) -> Provenance:
    """Collects what is known of a model.

    Args:
        name: The folder of a run or its best model, a checkpoint, or any other model, which is its own base.

    Raises:
        UserError: Where a run's files cannot be read.
    """
    run = RunFolder(Path(name)).run_of_best_model()
    if run is None and not is_checkpoint(name):
        return Provenance(base=public_name(name), base_is_on_hub=on_hub(name))
    config = checkpoint_config(name) if run is None else read_config(run.config)
    model, data = (_arguments(config.get(section)) for section in ("model", "data"))
    base = str(model.get("model_name_or_path") or model.get("config_name") or "")
    values = {**model, **data, **_arguments(config.get("trainer")), **config}
    sets = data.get("train_sets")
    of_sets = [_arguments(of_set).get("dataset_name") for of_set in (sets.values() if isinstance(sets, dict) else ())]
    names = [name for name in [data.get("dataset_name"), *of_sets] if isinstance(name, str) and on_hub(name)]
    language = model.get("language")
    return Provenance(
        base=public_name(base),
        base_is_on_hub=on_hub(base) and bool(model.get("model_name_or_path")),
        random_start=bool(base) and not model.get("model_name_or_path"),
        datasets=tuple(dict.fromkeys(names)),
        data=dict(_data(data)),
        training={key: _plain(values[key]) for key in _TRAINING if values.get(key) not in (None, 0, -1, {})},
        language=language if isinstance(language, str) else None,
        scores={} if run is None else dict(_scores(run.path)),
    )


def on_hub(name: str) -> bool:
    """Whether a name can be one on the Hub, and is that of no file or folder here."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    if not name or is_checkpoint(name) or Path(name).exists():
        return False
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def public_name(name: str) -> str:
    """What to call a model or a file in public: a Hub name as it is, anything else without its folder."""
    return name if on_hub(name) else Path(name).resolve().name if name else ""


def read_config(path: Path) -> dict[str, Any]:
    """Reads the settings of a run.

    Raises:
        UserError: Where the file is not what it should be.
    """
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read as YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(config, dict):
        raise UserError(f"{path}: not the settings of a run, which are an object")
    return config


def _scores(run: Path) -> Iterator[tuple[str, Scores]]:
    """The scores of the only evaluation set, or of each named one, which has a folder."""
    for name, folder in [("", run), *((path.name, path) for path in sorted(run.iterdir()) if path.is_dir())]:
        scores = read_scores(folder)
        if scores.keys() - set(PROGRESS):
            yield name, scores


def _arguments(section: Any) -> dict[str, Any]:
    """The arguments of an object in a config, whether or not its class is named."""
    values = section if isinstance(section, dict) else {}
    inner = values.get("init_args", values)
    return inner if isinstance(inner, dict) else {}


def _data(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What each split was read from."""
    if data.get("synthetic"):
        yield "training and validation", "the corpus that qa_lightning writes itself"
        return
    for split, title in (("train", "training"), ("validation", "validation"), ("test", "test")):
        files = data.get(f"{split}_file")
        sets = data.get("train_sets") if split == "train" else None
        if isinstance(sets, dict):
            yield title, "; ".join(f"{name}: {_set_source(of_set)}" for name, of_set in sets.items())
        elif files:
            yield title, _file_names(files)
        elif data.get("dataset_name") and split != "test":
            yield title, _hub_source(data, data.get(f"{split}_split"))


def _set_source(of_set: Any) -> str:
    """What one of several training sets was read from."""
    values = of_set if isinstance(of_set, dict) else {}
    if values.get("file"):
        return _file_names(values["file"])
    return _hub_source(values, values.get("split"))


def _file_names(files: Any) -> str:
    return ", ".join(public_name(str(file)) if file else "" for file in _flat(files))


def _hub_source(data: Mapping[str, Any], split: Any) -> str:
    parts = (public_name(str(data.get("dataset_name") or "")), data.get("dataset_config_name"), split)
    return ", ".join(str(part) for part in parts if part)


def _flat(files: Any) -> list[Any]:
    """The files of a split, which may be several, or several evaluation sets by name."""
    if isinstance(files, dict):
        return [file for group in files.values() for file in _flat(group)]
    return list(files) if isinstance(files, list) else [files]


def _plain(value: Any) -> str:
    """A value in a few words; of an object, the name of its class."""
    if isinstance(value, dict):
        return str(value.get("class_path", "")).rpartition(".")[2]
    return str(value)
