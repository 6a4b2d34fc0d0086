"""A student's hidden states are to be those of its teacher (Sun et al., 2019; Jiao et al., 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from qa_lightning.modeling.layers import layer_modules
from qa_lightning.modeling.objective import TrainingPass
from qa_lightning.modeling.teacher import TeacherModel
from qa_lightning.pretrained.loading import same_tokenizer
from qa_lightning.records import Batch
from qa_lightning.utils.errors import UserError

Distance = Literal["mse", "cosine"]
"""How far two hidden states are apart: the mean of squared differences, or 1 minus the cosine."""


class LayerOutputs:
    """Keeps what some layers of a network gave in its last forward pass in training.

    Attributes:
        outputs: The output of each layer, by its number; floating point ``[rows, length, size]``.
    """

    def __init__(self) -> None:
        self.outputs: dict[int, Tensor] = {}
        self._handles: list[Any] = []

    def __getstate__(self) -> dict[str, Any]:
        """What is kept is part of a graph, which neither a copy nor another process can have."""
        return {"outputs": {}, "_handles": []}

    def watch(self, network: nn.Module, layers: set[int]) -> None:
        """Keeps the outputs of these layers from now on."""
        for handle in self._handles:
            handle.remove()
        modules = layer_modules(network)
        self._handles = [modules[layer].register_forward_hook(partial(self._keep, layer)) for layer in sorted(layers)]

    def take(self) -> dict[int, Tensor]:
        """Takes out what is kept."""
        taken, self.outputs = self.outputs, {}
        return taken

    def _keep(self, layer: int, module: nn.Module, inputs: Any, output: Any) -> None:
        if module.training:
            self.outputs[layer] = output[0] if isinstance(output, tuple) else output


class HiddenStateLoss:
    """Adds how far hidden states of the student are from those of its teacher.

    The teacher is run in every step: all its states would take too much of a disk.

    Args:
        teacher: The teacher.
        weight: What the distance is multiplied by.
        distance: How it is measured.
        layers: The teacher's layer for each of the student's that learns from one, counted from 0; None: for every one
            of the student's, so that they are evenly spread and the last learns from the last.
    """

    name = "hidden_states"
    reruns_network = True  # as far as CUDA graphs are concerned, which would overwrite what is kept

    def __init__(
        self, teacher: TeacherModel, weight: float, distance: Distance = "mse", layers: Mapping[int, int] | None = None
    ) -> None:
        self.teacher = teacher
        self.weight = weight
        self.distance = distance
        self.layers = None if layers is None else dict(layers)
        self._kept = LayerOutputs()
        self._pairs: dict[int, int] = {}

    def watch(self, network: Any, tokenizer: Any, null_at_end: bool) -> None:
        """Checks that the student can learn from the teacher's layers, before data are read, and watches its layers.

        Args:
            network: The student's network.
            tokenizer: Its tokenizer.
            null_at_end: Whether it scores null at the end of windows.

        Raises:
            UserError: Where tokenizers or sizes differ, or a layer does not exist.
        """
        source, theirs = self.teacher.source, self.teacher.network
        if not same_tokenizer(tokenizer, self.teacher.tokenizer) or null_at_end != self.teacher.null_at_end:
            raise UserError(
                f"teacher.hidden_weight: the teacher {source} has another tokenizer than the student, or other types "
                "of tokens, so that hidden states are of other inputs; set it to 0, which leaves the teacher's "
                "predictions"
            )
        sizes = [each.config.hidden_size for each in (network, theirs)]
        if sizes[0] != sizes[1]:
            raise UserError(
                f"teacher.hidden_weight: hidden states have {sizes[1]} elements in the teacher {source} and {sizes[0]} "
                "in the student; set it to 0, which leaves the teacher's predictions, or choose another teacher"
            )
        counts = [len(layer_modules(each)) for each in (network, theirs)]
        self._pairs = self.layers or _spread(*counts)
        for layer, count, whose in (
            *((layer, counts[0], "student") for layer in self._pairs),
            *((layer, counts[1], f"teacher {source}") for layer in self._pairs.values()),
        ):
            if not 0 <= layer < count:
                raise UserError(
                    f"teacher.hidden_layers: there is no layer {layer} in the {whose}, whose layers are 0 to "
                    f"{count - 1}"
                )
        self._kept.watch(network, set(self._pairs))

    def __call__(self, training_pass: TrainingPass) -> Tensor:
        """Computes the weighted mean over layers, windows and their tokens."""
        batch, mask = training_pass.batch, training_pass.mask
        ours = self._kept.take()
        theirs = self.teacher.layer_outputs(batch, mask.device, set(self._pairs.values()))
        distances = [
            self._distance(_by_window(ours[student], batch, mask), _by_window(theirs[teacher], batch, mask))
            for student, teacher in self._pairs.items()
        ]
        per_window = (torch.stack(distances).mean(0) * mask).sum(-1) / mask.sum(-1)
        return self.weight * per_window.mean()

    def _distance(self, ours: Tensor, theirs: Tensor) -> Tensor:
        """The distance of each token's states; float32 ``[batch, length]``."""
        ours, theirs = ours.float(), theirs.float()
        if self.distance == "cosine":
            return 1 - torch.nn.functional.cosine_similarity(ours, theirs, dim=-1)
        return (ours - theirs).square().mean(-1)


def _spread(students: int, teachers: int) -> dict[int, int]:
    """The teacher's layer for each of the student's, evenly spread, the last for the last."""
    return {layer: max(0, round((layer + 1) * teachers / students) - 1) for layer in range(students)}


def _by_window(states: Tensor, batch: Batch, mask: Tensor) -> Tensor:
    """Hidden states of a batch, packed or padded, by window; those of padding are of no meaning.

    Returns:
        Floating point ``[batch, length, size]``.

    Raises:
        UserError: Where the network does not keep one state for each token.
    """
    if batch.row_tokens is not None and len(states) == 1 and states.shape[1] == batch.row_tokens:
        place = (mask.flatten().cumsum(0) - 1).clamp(min=0).view_as(mask)
        return states[0, place]
    if states.shape[:2] != batch.inputs["input_ids"].shape:
        raise UserError(
            "teacher.hidden_weight: this model's layers do not give one state for each token of a window; set it to 0"
        )
    return states[: len(batch)]
