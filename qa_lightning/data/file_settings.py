"""The files of splits, and the names of evaluation sets, as settings name them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qa_lightning.pretrained.loading import BEST_MODEL
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.plain import plain

Files = str | list[str]
"""A file or several."""

NamedFiles = dict[str, Files]
"""The files of each evaluation set, by the name of the set."""

_RESERVED_NAMES = (BEST_MODEL, "checkpoints", "logs", "lightning_logs", "wandb", "validate", "test", "predict")
"""Names of folders in a run's folder that no evaluation set may have."""

_RESERVED_SUFFIXES = (".yaml", ".json", ".jsonl", ".parquet", ".html", ".csv")
"""Suffixes of the files in a run's folder, beside the folders of evaluation sets."""


def file_names(setting: str, files: Any) -> Any:
    """Turns paths among the files of a setting into names; what else there is stays as it is.

    Raises:
        UserError: Where there is something else than names, such as a table.
    """
    try:
        return plain(files)
    except TypeError:
        raise UserError(
            f"{setting} takes the names of files, not a {type(files).__name__}: write it to a file first (a pandas "
            "table by to_parquet or to_json, a data set of datasets by save_to_disk)"
        ) from None


def check_set_names(split: str, files: NamedFiles) -> None:
    """Checks that the name of each evaluation set can be that of its folder in a run's folder."""
    folded = [name.casefold() for name in files]
    for name, key in zip(files, folded, strict=True):
        taken = key in _RESERVED_NAMES or key.endswith(_RESERVED_SUFFIXES) or folded.count(key) > 1
        plain = name.isprintable() and Path(name).name == name and not name.startswith(".") and 0 < len(name) <= 100
        if taken or not plain:
            raise UserError(
                f"{split}_file: {name[:100]!r} cannot be the name of a set, which is also that of its folder"
            )


def check_files_named(setting: str, files: Files | NamedFiles | None) -> None:
    """Checks that a setting names a file: no empty text, list or mapping."""
    if files is None:
        return
    parts = list(files.values()) if isinstance(files, dict) else [] if isinstance(files, str) else files
    if not files or any(not part or (isinstance(part, list) and not all(part)) for part in parts):
        raise UserError(f"{setting} names no file: name one, or leave it out")
