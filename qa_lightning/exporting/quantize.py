"""Weights of an ONNX model in 8 bits."""

from __future__ import annotations

import logging
from pathlib import Path

from qa_lightning.utils.extras import require


def quantize(path: Path, to: Path) -> None:
    """Writes an ONNX model with its weights in 8 bits; what they are multiplied with is quantised while it runs.

    Weights use 7 of the 8 bits, since processors without instructions for the purpose overflow, and do not say so,
    with more.

    Args:
        path: A model in float32.
        to: Where to write the other.
    """
    require("onnxruntime", "onnx")
    from onnxruntime.quantization import quantize_dynamic

    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)  # of its advice
    try:
        quantize_dynamic(path, to, per_channel=True, reduce_range=True, use_external_data_format=_is_split(path))
    finally:
        logging.disable(disabled)


def _is_split(path: Path) -> bool:
    """Whether a model's weights stand in a file beside it, having no room in its own."""
    return path.with_name(f"{path.name}.data").is_file()
