"""Runs a model in ONNX format by onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from qa_lightning.modeling.network import network_inputs
from qa_lightning.records import Batch
from qa_lightning.utils.errors import UserError, in_one_line
from qa_lightning.utils.extras import require

ONNX_FILE = "model.onnx"
"""File in an exported folder that holds the model."""

LONGEST = "qa_lightning.longest"
"""Entry of the model's metadata that says for how many tokens it has positions; without it, for any number."""

OUTPUTS = ["start_logits", "end_logits"]
"""Outputs of the model; floating point ``[batch, length]`` each, ends given each start ``[batch, length, length]``."""

_INPUTS = {"input_ids", "attention_mask", "token_type_ids", "position_ids", "null_position"}
_CUDA = "CUDAExecutionProvider"
_ERRORS_ONLY = 3


def holds_onnx(name: str) -> bool:
    """Whether a name is a folder that holds a model for onnxruntime and none for torch."""
    folder = Path(name)
    return Path(folder, ONNX_FILE).is_file() and not any(
        any(folder.glob(pattern)) for pattern in ("*.safetensors", "pytorch_model*.bin")
    )


class OnnxRunner:
    """A model that was exported to ONNX.

    It uses as many threads as torch, so that the same variables and calls limit both. Batches stay on the CPU:
    onnxruntime copies them to its device.

    Args:
        path: The file of the model.
        device: ``cpu`` or ``cuda``; default: a GPU where onnxruntime can use one.

    Attributes:
        inputs: The names of the model's inputs.
        longest: How many tokens it has positions for; None: any number.
        device: The device of batches.
        scores_pairs: Whether end logits are given for each start.

    Raises:
        UserError: Where onnxruntime is not installed, cannot run there, or the file is no model of this kind.
    """

    def __init__(self, path: Path, device: str | torch.device | None = None) -> None:
        onnxruntime = require("onnxruntime", "onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        providers = _providers(onnxruntime.get_available_providers(), device)
        try:
            self._session: Any = onnxruntime.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # which are many, of its own and of no common kind
            raise UserError(f"{path}: onnxruntime cannot load it: {in_one_line(error)}") from error
        self.inputs: list[str] = [model_input.name for model_input in self._session.get_inputs()]
        shapes = {output.name: output.shape for output in self._session.get_outputs()}
        given = list(shapes)
        if not set(self.inputs) <= _INPUTS or not set(OUTPUTS) <= set(given):
            raise UserError(
                f"{path}: not a question-answering model as `export` writes it: it takes {', '.join(self.inputs)} "
                f"and gives {', '.join(given)}"
            )
        self.scores_pairs = len(shapes["end_logits"]) == 3
        longest = self._session.get_modelmeta().custom_metadata_map.get(LONGEST)
        self.longest = None if longest is None else int(longest)
        self.device = torch.device("cpu")

    def __call__(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Computes the start and end logits of every position of a batch, as a `Runner` does; float32."""
        inputs = {name: tensor.numpy() for name, tensor in network_inputs(batch, self.inputs).items()}
        starts, ends = self._session.run(OUTPUTS, inputs)
        return torch.from_numpy(starts), torch.from_numpy(ends)


def _providers(available: list[str], device: str | torch.device | None) -> list[Any]:
    """The execution providers of onnxruntime, the preferred one first."""
    kind, _, number = (None, "", "") if device is None else str(device).partition(":")
    if kind not in (None, "cpu", "cuda"):
        raise UserError(f"onnxruntime cannot run on {device} here; device is cpu or cuda")
    if kind == "cuda" and _CUDA not in available:
        raise UserError("onnxruntime cannot use a GPU here: pip install onnxruntime-gpu, or set device to cpu")
    on_gpu = [(_CUDA, {"device_id": number or "0"})] if kind != "cpu" and _CUDA in available else []
    return [*on_gpu, "CPUExecutionProvider"]
