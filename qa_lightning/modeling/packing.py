"""Packs batches without padding: their windows form one row of tokens, and each attends to itself only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from qa_lightning.decoding.pairs import scores_pairs
from qa_lightning.modeling.attention import PackedWindows, has_flash_kernel, use_our_attention, varlen_attention
from qa_lightning.modeling.heads import QAHead
from qa_lightning.modeling.network import accepted_inputs, first_position
from qa_lightning.modeling.objective import Logits
from qa_lightning.pretrained.head import HEAD_KEY
from qa_lightning.utils.errors import UserError

_REPLACED = ("attention_mask", "position_ids", "null_position")


class Packing:
    """Runs a network on packed batches.

    Args:
        network: The network, whose attention becomes `attention.attention`.
        attn_implementation: The attention kernel that it was loaded with; None: the network's own choice.

    Raises:
        UserError: Where the packed network gives other logits, because of its architecture or its attention kernel.
    """

    def __init__(self, network: Any, attn_implementation: str | None = None) -> None:
        self._first_position = first_position(network)
        self._head: QAHead | None = getattr(network, HEAD_KEY, None)
        if not use_our_attention(network, attn_implementation) or not self._is_exact(network):
            raise UserError(
                f"a {network.config.model_type} model with this attention kernel cannot separate the windows "
                "of one row; set packing to false"
            )

    def logits(self, network: Any, inputs: Mapping[str, Tensor], tokens: int, windows: int | None = None) -> Logits:
        """Computes a network's logits from one row of tokens.

        Args:
            network: The network that the packing was made for, or its ``forward``.
            inputs: Its inputs, ``attention_mask`` among them; ``[rows, length]`` each.
            tokens: Tokens of the row, at least as many as there are in all windows.
            windows: How many of the rows are windows, the others being left out; None: all.

        Returns:
            Start and end logits of the windows, zero at padding; floating point ``[windows, length]``, or as the
            network's head has them.
        """
        mask = inputs["attention_mask"]
        rows, length = mask.shape
        windows = rows if windows is None else windows
        place = torch.arange(length, device=mask.device)
        lengths = mask.sum(1) * (torch.arange(rows, device=mask.device) < windows)
        before = mask.argmax(1)  # padding at the left
        packed = PackedWindows.of(lengths, length, tokens)
        column = (packed.column + before[packed.window]).clamp(max=length - 1)
        row = {name: values[packed.window, column][None] for name, values in inputs.items() if name not in _REPLACED}
        output = network(**row, position_ids=packed.column[None] + self._first_position, packed=packed)
        mask = mask[:windows]
        taken = (packed.bounds[:windows, None] + (place - before[:windows, None]).clamp(min=0)).clamp(max=tokens - 1)

        def unpack(scores: Tensor) -> Tensor:
            scores = scores[0, taken]
            return torch.where(mask > 0 if scores.ndim == 2 else (mask > 0)[..., None], scores, 0.0)

        if self._head is None:
            return unpack(output.start_logits), unpack(output.end_logits)
        null_position = inputs.get("null_position")
        return self._head.join(
            output.token_scores.mapped(unpack), mask, None if null_position is None else null_position[:windows]
        )

    def _is_exact(self, network: Any) -> bool:
        """Whether two packed windows of different lengths get the same logits as unpacked."""
        # From 10 on: RoBERTa counts the positions of ids that are not the padding's.
        length = _probe_length(network.config)
        device = network.device
        vocabulary_size = network.get_input_embeddings().weight.shape[0]
        ids = (10 + torch.arange(2 * length, device=device).view(2, -1)) % vocabulary_size
        mask = (torch.arange(length, device=device) < torch.tensor([[length], [length - 3]], device=device)).long()
        accepted = accepted_inputs(network)
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
        inputs = {name: values for name, values in inputs.items() if name in accepted}
        training, precision = network.training, torch.get_float32_matmul_precision()
        network.eval()
        torch.set_float32_matmul_precision("highest")
        try:
            with torch.no_grad():
                # Not by calling the network, which would compile one that is compiled for these shapes, too.
                plain = network.forward(**inputs)
                packed = self.logits(network.forward, inputs, 2 * length)
        except (TypeError, ValueError, RuntimeError, AttributeError, AssertionError):
            return False  # it has no use for position_ids, or makes a mask of its own
        finally:
            network.train(training)
            torch.set_float32_matmul_precision(precision)
        theirs, ours = (
            torch.cat([_of_real(logits, mask > 0) for logits in both])
            for both in ((plain.start_logits, plain.end_logits), packed)
        )
        # Before it is trained, a network's logits differ little: what counts is how much of that is something else.
        rounding = 1e-3 if theirs.dtype == torch.float32 else 0.1
        return bool((ours - theirs).abs().max() < rounding * theirs.std())


def _of_real(logits: Tensor, mask: Tensor) -> Tensor:
    """The logits of real positions, or of pairs of these, in one row."""
    return logits[mask[:, :, None] & mask[:, None] if scores_pairs(logits) else mask]


def _probe_length(config: Any) -> int:
    """Tokens of a window that reaches beyond a sliding window of attention, if there is one."""
    return min(512, max(10, 2 * (getattr(config, "sliding_window", None) or 0)))


def kernel_is_exact(device: torch.device, dtype: torch.dtype, size: int) -> bool:
    """Whether attention within packed windows runs on a device, with the results and gradients of padded windows.

    Args:
        device: The device.
        dtype: The precision that attention is computed in.
        size: Elements of an attention head.
    """
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(3, 48, 2, size, generator=generator).to(device, dtype)
    if not has_flash_kernel(values):
        return False
    lengths = torch.tensor([20, 0, 13], device=device)
    packed = PackedWindows.of(lengths, 20, 48)
    results = []
    for kernel in (True, False):
        query, key, value = (tensor.clone().requires_grad_() for tensor in values)
        try:
            if kernel:
                result = varlen_attention(query, key, value, packed, size**-0.5, 0.0, None)
            else:
                query_rows, key_rows, value_rows = (
                    tensor[packed.padded].transpose(1, 2) for tensor in (query, key, value)
                )
                padded = torch.nn.functional.scaled_dot_product_attention(
                    query_rows, key_rows, value_rows, packed.mask[:, None, None]
                )
                result = padded.transpose(1, 2)[packed.window, packed.column]
            # Behind the windows are fillers, which differ.
            result[:33].float().square().sum().backward()
        except RuntimeError:
            return False
        results.append(torch.stack([result, *(tensor.grad for tensor in (query, key, value))])[:, :33].float())
    ours, theirs = results
    return bool((ours - theirs).abs().max() < 0.05 * theirs.abs().max())
