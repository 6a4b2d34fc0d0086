"""A trained network that is run to be learnt from, and is not trained itself."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qa_lightning.modeling.attention import use_our_attention
from qa_lightning.modeling.layers import layer_modules
from qa_lightning.modeling.network import (
    accepted_inputs,
    load_network,
    longest_input,
    network_inputs,
    question_answering_head_is_missing,
)
from qa_lightning.modeling.objective import Logits, each_token
from qa_lightning.pretrained.loading import BEST_MODEL, CONFIG_FILE, load_settings, load_tokenizer
from qa_lightning.pretrained.settings import null_at_end
from qa_lightning.records import Batch
from qa_lightning.utils.errors import UserError


class TeacherModel:
    """A teacher: no module of Lightning's, so that its weights are in no checkpoint and no optimizer.

    Args:
        name: A run's folder, a model's folder, a checkpoint of ours or a name on the Hub.

    Attributes:
        source: What it is loaded from.
    """

    def __init__(self, name: str) -> None:
        self.source = name
        if not Path(name, CONFIG_FILE).is_file() and Path(name, BEST_MODEL).is_dir():
            self.source = str(Path(name, BEST_MODEL))
        self._network: Any = None
        self._fingerprint: str | None = None
        self._longest: int | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> TeacherModel:
        """Itself, as it never changes: a copy of the student, such as an average of its weights, has the same."""
        return self

    def __getstate__(self) -> dict[str, Any]:
        """What another process is sent, which loads the network by itself where it needs it."""
        return self.__dict__ | {"_network": None}

    @cached_property
    def tokenizer(self) -> Any:
        """Its tokenizer."""
        return load_tokenizer(self.source)

    @cached_property
    def null_at_end(self) -> bool:
        """Whether it scores null at the end of windows."""
        return null_at_end(self.tokenizer, load_settings(self.source), training=False)

    @property
    def fingerprint(self) -> str:
        """A text that no teacher with other weights, architecture or place of null has."""
        if self._fingerprint is None:
            self._load()
        assert self._fingerprint is not None
        return self._fingerprint

    @property
    def longest(self) -> int | None:
        """The number of tokens that it has positions for; None: any."""
        if self._fingerprint is None:
            self._load()
        return self._longest

    def check(self, max_length: int) -> None:
        """Checks that it can teach, before data are read.

        Args:
            max_length: Most tokens of the student's windows.

        Raises:
            UserError: Where it cannot be loaded, has no question-answering head, or sees fewer tokens.
        """
        if self.longest is not None and max_length > self.longest:
            raise UserError(
                f"max_length ({max_length}) is beyond the {self.longest} positions of the teacher {self.source}; lower "
                "max_length, or choose another teacher"
            )
        self.release()  # of several teachers, one at a time is in memory

    def logits(self, batch: Batch, device: torch.device) -> Logits:
        """Computes its logits of a batch, without dropout; float32 ``[batch, length]`` each.

        Args:
            batch: Windows of its own tokenizer, on the device.
            device: Where to compute them.
        """
        network = self.network.to(device)
        with torch.no_grad():
            output = network(**network_inputs(batch, accepted_inputs(network)))
        start, end = output.start_logits[: len(batch)].float(), output.end_logits[: len(batch)].float()
        return each_token(batch, (start, end))

    def layer_outputs(self, batch: Batch, device: torch.device, layers: set[int]) -> dict[int, Tensor]:
        """Computes what some of its layers give; floating point ``[rows, length, size]``, by the layers' numbers.

        Args:
            batch: Windows of its own tokenizer, on the device.
            device: Where to compute them.
            layers: The layers, counted from 0.
        """
        kept: dict[int, Tensor] = {}

        def keep(layer: int, module: nn.Module, inputs: Any, output: Any) -> None:
            kept[layer] = output[0] if isinstance(output, tuple) else output

        modules = layer_modules(self.network)
        handles = [modules[layer].register_forward_hook(partial(keep, layer)) for layer in layers]
        try:
            self.logits(batch, device)
        finally:
            for handle in handles:
                handle.remove()
        return kept

    @property
    def network(self) -> Any:
        """Its network, which is loaded where it is not in memory; in evaluation mode, not to be trained."""
        return self._load()

    def release(self) -> None:
        """Frees the memory that its network takes; it is loaded again where it is needed."""
        self._network = None

    def _load(self) -> Any:
        if self._network is None:
            with torch.random.fork_rng(devices=[]):  # the training's random numbers stay what they would be
                network, missing = load_network(self.source, tokenizer=self.tokenizer)
            if question_answering_head_is_missing(network, missing):
                raise UserError(
                    f"the teacher {self.source} has no question-answering head, so that it would teach at random; "
                    "train it with fit first, or name another one"
                )
            use_our_attention(network)  # transformers' own makes the host wait for a GPU
            self._network = network.eval().requires_grad_(False)
            self._longest = longest_input(network)
            self._fingerprint = _fingerprint(network, self.null_at_end)
        return self._network


def _fingerprint(network: Any, null_at_end: bool) -> str:
    digest = hashlib.blake2b(digest_size=20)
    config = network.config.to_dict().items()
    kept = {key: value for key, value in config if not key.startswith(("_", "transformers"))}
    digest.update(json.dumps([kept, null_at_end], sort_keys=True, default=str).encode())
    for name, weights in sorted(network.state_dict().items()):
        digest.update(f"{name} {weights.dtype} {tuple(weights.shape)}".encode())
        digest.update(weights.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
