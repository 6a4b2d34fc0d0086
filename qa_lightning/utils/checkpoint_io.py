"""Writes checkpoints so that the new one is on the disk whole before the older one goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from lightning.fabric.plugins import TorchCheckpointIO

from qa_lightning.utils.files import whole_file


class DurableCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place, waits until it is on the disk, and puts it there in one step.

    Lightning's own writes to the folder for temporary files, whose disk may be full, and from there copies over the
    older checkpoint where that is on another disk. What is not a local file is left to Lightning.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Saves a checkpoint.

        Raises:
            UserError: Where it cannot be written; an older one at the same place stays as it is.
        """
        system, name = url_to_fs(str(path))
        if storage_options is not None or not isinstance(system, LocalFileSystem):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        with whole_file(Path(name), durable=True) as unfinished, unfinished.open("wb") as stream:
            torch.save(checkpoint, stream)
