"""Extractive question answering on PyTorch Lightning: the answer is a span of the context, or nothing."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qa_lightning.callbacks.checkpoint import RunCheckpoint
    from qa_lightning.callbacks.results import Results
    from qa_lightning.data.datamodule import QADataModule
    from qa_lightning.data.synthetic import SyntheticCorpus
    from qa_lightning.modeling.module import QALightningModule
    from qa_lightning.reader.pipeline import pipeline
    from qa_lightning.reader.reader import Reader
    from qa_lightning.utils.errors import UserError

__version__ = "0.1.0"
__all__ = [
    "QADataModule",
    "QALightningModule",
    "Reader",
    "Results",
    "RunCheckpoint",
    "SyntheticCorpus",
    "UserError",
    "__version__",
    "pipeline",
]

_PLACES = {
    "QADataModule": "qa_lightning.data.datamodule",
    "QALightningModule": "qa_lightning.modeling.module",
    "Reader": "qa_lightning.reader.reader",
    "Results": "qa_lightning.callbacks.results",
    "RunCheckpoint": "qa_lightning.callbacks.checkpoint",
    "SyntheticCorpus": "qa_lightning.data.synthetic",
    "UserError": "qa_lightning.utils.errors",
    "pipeline": "qa_lightning.reader.pipeline",
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is asked for, since that takes seconds that the rest need not."""
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names, whether or not they are imported yet; editors and notebooks complete them."""
    return sorted(__all__)
