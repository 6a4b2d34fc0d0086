"""The files of splits, and the names of evaluation sets, as settings name them."""

from __future__ import annotations

from pathlib import Path

from qa_lightning.pretrained import BEST_MODEL
from qa_lightning.utils.errors import UserError

Files = str | list[str]

Sets = dict[str, Files]

_TAKEN = (BEST_MODEL, "checkpoints", "logs", "wandb", "validate", "test", "predict")
"""Folders of a run that are no evaluation set's."""

_FILES = (".yaml", ".json", ".jsonl", ".parquet", ".html", ".csv")
"""How the files of a run end, which stand beside the evaluation sets' folders."""


def check_set_names(split: str, files: Sets) -> None:
    """Refuses names of evaluation sets that cannot be those of folders of their own in a run's folder."""
    folded = [name.casefold() for name in files]
    for name, key in zip(files, folded, strict=True):
        taken = key in _TAKEN or key.endswith(_FILES) or folded.count(key) > 1
        plain = name.isprintable() and Path(name).name == name and not name.startswith(".") and 0 < len(name) <= 100
        if taken or not plain:
            raise UserError(f"{split}_file: no set can be called {name[:100]!r}, which must be a folder of its own")


def check_files_named(setting: str, files: Files | dict[str, Files] | None) -> None:
    """Refuses a setting that is there and names no file: an empty text, list or mapping."""
    if files is None:
        return
    parts = list(files.values()) if isinstance(files, dict) else [] if isinstance(files, str) else files
    if not files or any(not part or (isinstance(part, list) and not all(part)) for part in parts):
        raise UserError(f"{setting} names no file: name one, or leave it out")
