"""The file that makes a folder an ensemble: the names of its members, and how much each counts."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qa_lightning.pretrained.settings import is_number, shorten
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.files import whole_folder, write_json

ENSEMBLE_FILE = "ensemble.json"
"""File in a folder that makes it that of an ensemble."""


@dataclass(frozen=True)
class EnsembleFile:
    """What an ensemble's folder holds.

    Attributes:
        members: Folders, checkpoints, or names on the Hub; at least one.
        weights: How much each counts; 0 or more, of sum 1.
        settings: How it answers, by the names of a Reader's settings; those that do not stand here are its members'.
    """

    members: list[str]
    weights: list[float]
    settings: dict[str, Any] = field(default_factory=dict)


def is_ensemble(name: str | Path | None) -> bool:
    """Whether a name is the folder of an ensemble."""
    try:
        return name is not None and Path(name, ENSEMBLE_FILE).is_file()
    except OSError:  # a name too long for a path, which whoever loads it refuses
        return False


def refuse_ensemble(name: str | Path) -> None:
    """Refuses an ensemble where one network is needed.

    Raises:
        UserError: Where the name is the folder of an ensemble.
    """
    if is_ensemble(name):
        raise UserError(
            f"{name} is an ensemble of several models, and one is needed here; name one of them (score --model scores "
            "the ensemble, and a training with it as model.teacher makes one model of it)"
        )


def read_ensemble(folder: str | Path) -> EnsembleFile:
    """Reads the file of an ensemble. Members that are named by relative paths are looked for from its folder on.

    Args:
        folder: The folder.

    Raises:
        UserError: Where the file cannot be read or is not of this kind, or a member is an ensemble itself.
    """
    path = Path(folder, ENSEMBLE_FILE)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not the file of an ensemble ({error}); make it again by the verb ensemble") from None
    members = values.get("members") if isinstance(values, Mapping) else None
    settings = values.get("settings", {}) if isinstance(values, Mapping) else None
    if not isinstance(members, list) or not members or not all(isinstance(each, Mapping) for each in members):
        raise UserError(f'{path}: "members" is not a list of objects with a "model" and a "weight"; fix it')
    if not isinstance(settings, dict):
        raise UserError(f'{path}: "settings" is no object; fix it, or leave it out')
    names = [_member_name(each.get("model"), path) for each in members]
    return EnsembleFile(names, normalized_weights([each.get("weight", 1.0) for each in members], str(path)), settings)


def _member_name(model: Any, path: Path) -> str:
    if not isinstance(model, str) or not model:
        raise UserError(f"{path}: a model cannot be {shorten(model)}; write the path of a folder there")
    here = path.parent / model
    name = os.path.normpath(here) if model.startswith(".") or here.exists() else model
    if is_ensemble(name):
        raise UserError(f"{path}: the member {model} is an ensemble itself; name its members")
    return name


def normalized_weights(weights: Sequence[Any], where: str) -> list[float]:
    """Divides weights by their sum.

    Args:
        weights: One for each member.
        where: What they are read from, for messages.

    Raises:
        UserError: Where one is no number or below 0, or all are 0.
    """
    for weight in weights:
        if not is_number(weight) or weight < 0:
            raise UserError(f"{where}: a weight cannot be {shorten(weight)}; it is a number of 0 or more")
    total = math.fsum(weights)
    if not 0 < total < math.inf:
        raise UserError(f"{where}: the weights sum to {total:g}, so that nobody counts; give at least one a weight")
    return [weight / total for weight in weights]


def write_ensemble(folder: Path, ensemble: EnsembleFile, notes: Mapping[str, Any] | None = None) -> None:
    """Writes an ensemble's folder, whole or not at all. Paths of members are relative to it.

    Args:
        folder: The folder.
        ensemble: What it is to hold.
        notes: What else the file is to say, for people.
    """
    members = [
        {"model": _relative(name, folder), "weight": weight}
        for name, weight in zip(ensemble.members, ensemble.weights, strict=True)
    ]
    with whole_folder(folder) as unfinished:
        write_json(unfinished / ENSEMBLE_FILE, {"members": members, "settings": ensemble.settings, **(notes or {})})


def write_settings(path: Path, settings: Mapping[str, Any], notes: Mapping[str, Any]) -> None:
    """Changes how an ensemble answers, and leaves the rest of its file as it is.

    Args:
        path: The file, which `read_ensemble` has read.
        settings: All that are to stand there.
        notes: What else the file is to say, for people.
    """
    values = json.loads(path.read_text(encoding="utf-8"))
    write_json(path, {**values, "settings": dict(settings), **notes})


def _relative(name: str, folder: Path) -> str:
    if not Path(name).exists():
        return name
    try:
        path = Path(os.path.relpath(Path(name).resolve(), folder.resolve())).as_posix()
    except ValueError:  # on another drive
        return str(Path(name).resolve())
    return path if path.startswith(".") else f"./{path}"
