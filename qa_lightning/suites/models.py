"""The models that a suite is put to: what to call each, and how to know it again."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qa_lightning.pretrained.adapter_file import ADAPTER_CONFIG, find_adapter
from qa_lightning.pretrained.ensemble_file import is_ensemble, read_ensemble
from qa_lightning.pretrained.head import CONFIG_FILE
from qa_lightning.pretrained.hub_file import hub_file
from qa_lightning.runs.folder import display_name, resolve_model
from qa_lightning.utils.errors import UserError

_OF_A_MODEL = (".json", ".safetensors", ".bin", ".pt", ".onnx", ".data", ".txt", ".model")
"""Suffixes of the files in a model's folder that its answers depend on."""


@dataclass(frozen=True)
class Model:
    """A model that is to be asked.

    Attributes:
        label: What tables call it.
        path: What it is loaded from.
        fingerprint: A text that differs where its files do.
    """

    label: str
    path: str
    fingerprint: str

    @property
    def folder(self) -> str:
        """The name of the folder in which its answers are kept."""
        return re.sub(r"[^\w.+@-]", "-", self.label.replace("/", "--")).lstrip(".") or "model"


def find_models(models: Sequence[str], names: Sequence[str] | None = None) -> list[Model]:
    """Finds models, and gives each a name of its own.

    Args:
        models: Folders of runs, models or ensembles, checkpoints, or names on the Hub; at least one.
        names: What to call them; default: as their folders, or as the Hub does.

    Raises:
        UserError: Where a run has no model, or two models or names are the same.
    """
    if names is not None and len(names) != len(models):
        raise UserError(f"{len(models)} models have {len(names)} names; give each model one")
    paths = [resolve_model(model) for model in models]
    places = [str(Path(path).resolve()) if Path(path).exists() else path for path in paths]
    for i, place in enumerate(places):
        if place in places[:i]:
            raise UserError(f"{models[i]} is named twice among the models; leave one of them out")
    shown = [display_name(model) for model in models]
    labels = list(
        names or (name if shown.count(name) == 1 else model for name, model in zip(shown, models, strict=True))
    )
    found = [Model(label, path, model_fingerprint(path)) for label, path in zip(labels, paths, strict=True)]
    folders = [model.folder.casefold() for model in found]
    for i, folder in enumerate(folders):
        if not labels[i].strip() or folder in folders[:i]:
            raise UserError(
                f"the name {labels[i]!r:.80} is none, or another model's too; give each model one of its own by --names"
            )
    return found


def model_fingerprint(name: str) -> str:
    """A text that differs where the files of a model do, by their sizes and the times when they were written.

    Args:
        name: A folder, a checkpoint or a name on the Hub; of the latter, the revision in the cache counts.
    """
    return hashlib.sha256(json.dumps(_parts(name), sort_keys=True).encode()).hexdigest()


def _parts(name: str) -> list[Any]:
    if is_ensemble(name):
        ensemble = read_ensemble(name)
        return [ensemble.weights, ensemble.settings, *(_parts(resolve_model(member)) for member in ensemble.members)]
    path = Path(name)
    if path.is_file():
        return [_stamp(path)]
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in _OF_A_MODEL and file.is_file())
        adapter = find_adapter(name) if (path / ADAPTER_CONFIG).is_file() else None
        base = [] if adapter is None or adapter.base is None else _parts(adapter.base)
        return [*([file.name, *_stamp(file)] for file in files), *base]
    config = hub_file(name, CONFIG_FILE, None)
    return [name, "" if config is None else config.parent.name]


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
