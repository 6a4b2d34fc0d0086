"""Writes a network of transformers as an ONNX model that takes batches of any size and length."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qa_lightning.modeling.network import accepted_inputs, longest_input, network_inputs
from qa_lightning.reader.onnx_runner import LONGEST, OUTPUTS
from qa_lightning.records import Batch
from qa_lightning.utils.errors import UserError, in_one_line
from qa_lightning.utils.extras import require

REFUSED = {
    "longformer": "which tokens it attends to depends on the input in a way that no graph can hold",
    "xlnet": "torch's exporter does not know an operation that it uses",
}
"""Kinds of model that cannot be exported, and why."""


def check_exportable(name: str, model_type: str) -> None:
    """Refuses, before anything is loaded or written, what is known not to work.

    Raises:
        UserError: Where a package is missing, or for a kind of model that cannot be exported.
    """
    for module in ("onnx", "onnxscript", "onnxruntime"):
        require(module, "onnx")
    if model_type in REFUSED:
        raise UserError(
            f"{name}: a {model_type} model cannot be exported to ONNX: {REFUSED[model_type]}; "
            "export it with --format safetensors"
        )


def write_onnx(network: Any, batch: Batch, path: Path) -> None:
    """Writes a network as an ONNX model of any batch size and length, by torch's exporter.

    Weights beyond 2 GB, which one file cannot hold, are written beside it.

    Args:
        network: The network, on a CPU, in float32.
        batch: An example of what it is given: several windows of different lengths.
        path: Where to.

    Raises:
        UserError: Where torch cannot export it.
    """
    inputs = network_inputs(batch, accepted_inputs(network))
    longest = longest_input(network)
    try:
        with torch.no_grad(), _quiet():
            program = torch.onnx.export(
                _Logits(network, list(inputs)).eval(),
                tuple(tensor.clone() for tensor in inputs.values()),
                input_names=list(inputs),
                output_names=OUTPUTS,
                dynamic_shapes=(tuple(dict(enumerate(("batch", "length")[: x.ndim])) for x in inputs.values()),),
                dynamo=True,
                verbose=False,
            )
            assert program is not None
            if longest is not None:
                program.model.metadata_props[LONGEST] = str(longest)
            program.save(path)
    except OSError:
        raise
    except Exception as error:  # whatever the model's code and the exporter do to each other
        reason = in_one_line(error.__cause__ if isinstance(error.__cause__, Exception) else error)
        raise UserError(
            f"torch cannot export a {network.config.model_type} model to ONNX: {reason}; "
            "export it with --format safetensors"
        ) from error


class _Logits(nn.Module):
    """A network that takes tensors in a fixed order and gives nothing but logits."""

    def __init__(self, network: Any, names: list[str]) -> None:
        super().__init__()
        self.network = network
        self.names = names

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        output = self.network(**dict(zip(self.names, inputs, strict=True)))
        return output.start_logits, output.end_logits


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences torch's exporter, which prints its progress, and whole graphs where it fails; errors are raised."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
