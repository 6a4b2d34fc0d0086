"""How a folder says that its model has a head of ours, so that transformers does not take it for one of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qa_lightning.utils.files import write_json

CONFIG_FILE = "config.json"
"""File in a model folder that holds the model's configuration."""

HEADED_TYPE = "qa_lightning"
"""The ``model_type`` of models with a head of ours: one that transformers does not know, and refuses by name."""

HEAD_KEY = "qa_head"
"""Entry of a model's configuration that says which head of ours it has."""


def mark_headed(folder: Path) -> None:
    """Writes into a model folder's configuration that the model has a head of ours, where it has one."""
    path = folder / CONFIG_FILE
    values = json.loads(path.read_text(encoding="utf-8"))
    if values.get(HEAD_KEY) and values.get("model_type") != HEADED_TYPE:
        values[HEAD_KEY]["model_type"] = values["model_type"]
        values["model_type"] = HEADED_TYPE
        write_json(path, values)


def is_headed(folder: str | Path) -> bool:
    """Whether a name is a model folder, whose model has a head of ours."""
    path = Path(folder, CONFIG_FILE)
    if not path.is_file():
        return False
    values = json.loads(path.read_text(encoding="utf-8"))
    return isinstance(values, dict) and values.get("model_type") == HEADED_TYPE


def body_config(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the configuration of transformers that `mark_headed` found.

    Raises:
        ValueError: Where it does not name its kind of model.
    """
    head = values.get(HEAD_KEY)
    head = dict(head) if isinstance(head, Mapping) else {}
    if not str(head.get("model_type", "")):
        raise ValueError(f"its {HEAD_KEY} does not name a model_type")
    return {**values, "model_type": head.pop("model_type"), HEAD_KEY: head}
