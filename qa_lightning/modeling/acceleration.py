"""Chooses what makes a network faster on its device: packing, compiling and fast dropout."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from torch import Tensor
from torch.func import functional_call

from qa_lightning.modeling.attention import register_attention, use_fast_dropout, use_our_attention
from qa_lightning.modeling.objective import Logits, ScoredLogits
from qa_lightning.modeling.packing import Packing, kernel_is_exact
from qa_lightning.records import Batch
from qa_lightning.utils.errors import UserError

AutoOrBool = Literal["auto"] | bool
"""Whether to use a feature; ``auto``: where it makes training faster."""

MIN_BATCHES_TO_COMPILE = 2000
"""Fewest batches of a training for which compiling, which takes about half a minute, saves time."""

MAX_COMPILED_SHAPES = 64
"""Most shapes of batches that a network is compiled for; by default, torch stops at 8 and continues uncompiled."""

_PRECISIONS = {
    "bf16-mixed": torch.bfloat16,
    "bf16-true": torch.bfloat16,
    "16-mixed": torch.float16,
    "16-true": torch.float16,
}


class Acceleration:
    """Runs a network: with packed or padded windows, compiled or not.

    Args:
        network: A network of transformers; its ``sdpa`` attention is replaced by ours.
        attn_implementation: The attention kernel that it was loaded with; None: the network's own choice.
        packing: Whether to pack; see `choose_packing`.
        torch_compile: Whether to compile. ``auto``: see `compiling_pays`.

    Attributes:
        packing: How the network is given packed batches; None: batches are padded.

    Raises:
        UserError: Where packing is requested and the network does not support it.
    """

    def __init__(
        self,
        network: Any,
        attn_implementation: str | None = None,
        packing: AutoOrBool = "auto",
        torch_compile: AutoOrBool = "auto",
    ) -> None:
        self._network = network
        self._reruns = False
        self._attn_implementation = attn_implementation
        self._packing_choice = packing
        self._compile_choice = torch_compile
        use_our_attention(network, attn_implementation)
        self.packing = Packing(network, attn_implementation) if packing is True else None

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Makes our attention known to the process that the network was sent to, as spawned ones are."""
        self.__dict__.update(state)
        register_attention()

    def set_up(self, trainer: pl.Trainer, *, reruns: bool = False) -> None:
        """Chooses packing and compiling by the device and precision, before the network is moved there.

        On a GPU, float32 matrices are multiplied in TF32 from now on, which is less precise and much faster.

        Args:
            trainer: The trainer, whose strategy is set up.
            reruns: Whether a training step has several forward passes.
        """
        self._reruns = reruns
        device = trainer.strategy.root_device
        if device.type == "cuda":
            torch.set_float32_matmul_precision("high")
        self.packing = choose_packing(
            self._packing_choice, self._network, self._attn_implementation, device, trainer.precision, self.packing
        )
        if self._compile_choice is True:
            self._compile(trainer)

    def begin_training(self, trainer: pl.Trainer) -> None:
        """Chooses by the length of the training, which is known once its batches are.

        Args:
            trainer: The trainer, whose loaders are made.
        """
        device = trainer.strategy.root_device
        if device.type == "cpu" and self._compile_choice is not True:
            use_fast_dropout(self._network)
        batches = trainer.estimated_stepping_batches * trainer.accumulate_grad_batches
        if self._compile_choice == "auto" and compiling_pays(
            device, packed=self.packing is not None, processes=trainer.world_size, batches=batches
        ):
            self._compile(trainer)

    def _compile(self, trainer: pl.Trainer) -> None:
        device = trainer.strategy.root_device
        compile_network(self._network, device, accumulates=accumulates(trainer), reruns=self._reruns)

    def logits(
        self,
        network: Any,
        batch: Batch,
        inputs: dict[str, Tensor],
        parameters: Mapping[str, Tensor] | None = None,
    ) -> Logits:
        """Computes the start and end logits of every position; floating point ``[batch, length]`` each.

        Args:
            network: The network, or what a subclass of the module has wrapped around it.
            batch: The batch.
            inputs: The inputs of the network, as `network_inputs` returns them.
            parameters: Values that take the place of some of the network's parameters, by their names in it.
        """
        if parameters is not None:
            network = partial(_call_with, network, dict(parameters))
        if batch.row_tokens is None or self.packing is None:
            output = network(**inputs)
            logits: Logits = output.start_logits, output.end_logits
            answerability = getattr(output, "answerability_logits", None)
        else:
            logits = self.packing.logits(network, inputs, batch.row_tokens, len(batch))
            answerability = getattr(logits, "answerability", None)
        start, end = (values[: len(batch)] for values in logits)
        return (start, end) if answerability is None else ScoredLogits(start, end, answerability[: len(batch)])


def _call_with(network: Any, parameters: dict[str, Tensor], **inputs: Any) -> Any:
    return functional_call(network, parameters, kwargs=inputs)


def choose_packing(
    choice: AutoOrBool,
    network: Any,
    attn_implementation: str | None,
    device: torch.device,
    precision: str | None,
    packing: Packing | None = None,
) -> Packing | None:
    """Decides whether a network is given its batches packed.

    Args:
        choice: What the user asked for. ``auto``: only by a kernel for windows of unequal length, which GPUs have in
            16-bit precision; on a CPU or in float32, packed windows are padded within attention, which gains nothing.
        network: A network of transformers, on any device.
        attn_implementation: The attention kernel that it was loaded with; None: the network's own choice.
        device: The device that it will be on.
        precision: The trainer's precision, by Lightning's name.
        packing: The network's packing, where it was made before.

    Returns:
        The packing; None: batches are padded.

    Raises:
        UserError: Where packing was requested and the network or the device does not support it.
    """
    if choice is False:
        return None
    dtype = _PRECISIONS.get(precision or "")
    has_kernel = device.type == "cuda" and dtype is not None
    if choice == "auto" and not has_kernel:
        return None
    try:
        # First, since other networks need not have attention heads.
        packing = packing or Packing(network, attn_implementation)
        if has_kernel and dtype is not None and not kernel_is_exact(device, dtype, _head_size(network.config)):
            raise UserError("torch's flash attention does not run on this GPU with this model; set packing to false")
    except UserError:
        if choice == "auto":
            return None
        raise
    return packing


def _head_size(config: Any) -> int:
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def compiling_pays(device: torch.device, *, packed: bool, processes: int, batches: float) -> bool:
    """Whether ``torch_compile: auto`` compiles.

    Args:
        device: The device of the network.
        packed: Whether batches are packed, so that all have one shape.
        processes: How many processes train.
        batches: Batches of the whole training in each.
    """
    return (
        device.type == "cuda"
        and packed
        and processes == 1
        and batches >= MIN_BATCHES_TO_COMPILE
        and missing_compiler() is None
    )


def accumulates(trainer: Any) -> bool:
    """Whether several batches make a step of the optimizer, from the start or, by a schedule, in a later epoch."""
    scheduled = any(isinstance(callback, GradientAccumulationScheduler) for callback in trainer.callbacks)
    return scheduled or trainer.accumulate_grad_batches > 1


def missing_compiler() -> str | None:
    """What ``torch.compile`` needs to compile for a GPU and is not installed; None: nothing."""
    if find_spec("triton") is None:
        return "triton"
    return None if any(map(shutil.which, ("cc", "gcc", "clang"))) else "a C compiler"


def compile_network(network: Any, device: torch.device, *, accumulates: bool = False, reruns: bool = False) -> None:
    """Compiles a network when it is first called, once for each shape of its inputs.

    On a GPU, its kernels are replayed as CUDA graphs, so that the host does not limit their pace; not where gradients
    are accumulated or a step has several forward passes, since what a graph leaves in its memory is overwritten when
    it is replayed.

    Args:
        network: A network of transformers.
        device: Its device.
        accumulates: Whether several batches make a step of the optimizer.
        reruns: Whether a training step has several forward passes, and takes gradients between them.
    """
    from torch._dynamo import config
    from torch._functorch import config as autograd_config

    config.recompile_limit = max(config.recompile_limit, MAX_COMPILED_SHAPES)
    if reruns:
        autograd_config.donated_buffer = False  # a backward pass that reuses them cannot be run twice
    graphs = device.type == "cuda" and not accumulates and not reruns
    network.compile(dynamic=False, mode="reduce-overhead" if graphs else None)
