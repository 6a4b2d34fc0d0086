"""Extractive question answering on PyTorch Lightning: the answer is a span of the context, or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qa_lightning.reader.pipeline import pipeline
    from qa_lightning.reader.reader import Reader

__version__ = "0.1.0"
__all__ = ["Reader", "__version__", "pipeline"]


def __getattr__(name: str) -> Any:
    """`Reader` and `pipeline`, imported when they are asked for, since they take seconds that the rest need not."""
    if name == "Reader":
        from qa_lightning.reader.reader import Reader

        return Reader
    if name == "pipeline":
        from qa_lightning.reader.pipeline import pipeline

        return pipeline
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
