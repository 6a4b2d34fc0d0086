"""Keeps weights near the pretrained ones: decay towards them (L2-SP, Li et al. 2018), and mixout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.optim import Optimizer

from qa_lightning.modeling.mixout import MixoutLinear, put_mixout, remove_mixout
from qa_lightning.utils.errors import UserError


class PretrainedWeights(pl.Callback):
    """Holds the weights that a training began with, and keeps the weights near them.

    After each step of the optimizer, a weight moves towards its pretrained value by the group's learning rate times
    ``decay`` of the distance. The pretrained weights are part of the checkpoints, so that a training that resumes needs
    no other file.

    Args:
        names: The parameters of the network that are pretrained.
        mixout: The probability of mixout in linear layers; 0: none.
        decay: How strong the decay is; 0: none.
    """

    def __init__(self, names: Sequence[str], mixout: float = 0.0, decay: float = 0.0) -> None:
        self.names = names
        self.mixout = mixout
        self.decay = decay
        self.weights: dict[str, Tensor] = {}
        self._beside: dict[Tensor, Tensor] = {}
        self._hook: Any = None

    def setup(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        """Copies the pretrained weights, before anything changes them."""
        if stage == "fit" and not self.weights:
            parameters = dict(pl_module.model.named_parameters())
            self.weights = {name: parameters[name].detach().clone() for name in self.names}

    def state_dict(self) -> dict[str, Any]:
        """The pretrained weights, for a checkpoint."""
        return {"weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the pretrained weights of the training that resumes."""
        self.weights = state_dict["weights"]

    def on_load_checkpoint(self, trainer: pl.Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Refuses to resume a training that kept no pretrained weights.

        Raises:
            UserError: Where the checkpoint has none.
        """
        if trainer.state.fn == TrainerFn.FITTING and self.state_key not in checkpoint.get("callbacks", {}):
            raise UserError(
                "the checkpoint holds no pretrained weights, since its training had neither "
                "model.optimization.mixout nor pretrained_decay; leave these out, or begin a new training"
            )

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Brings the pretrained weights to the device, and to where they are used."""
        parameters = dict(pl_module.model.named_parameters())
        self._beside = {parameters[name]: value.to(parameters[name]) for name, value in self.weights.items()}
        if self.decay:
            self._hook = trainer.optimizers[0].register_step_post_hook(self._decay)
        if self.mixout:
            for module in pl_module.model.modules():
                if type(module) is nn.Linear and module.weight in self._beside:
                    put_mixout(module, self._beside[module.weight], self.mixout)

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Leaves a plain network."""
        self._leave(pl_module)

    def on_exception(self, trainer: pl.Trainer, pl_module: Any, exception: BaseException) -> None:
        """Leaves a plain network."""
        self._leave(pl_module)

    def _leave(self, pl_module: Any) -> None:
        if self._hook is not None:
            self._hook.remove()
            self._hook = None
        for module in pl_module.model.modules():
            if isinstance(module, MixoutLinear):
                remove_mixout(module)
        self._beside = {}

    @torch.no_grad()
    def _decay(self, optimizer: Optimizer, *_: Any) -> None:
        skipped = getattr(optimizer, "found_inf", None)  # where a fused optimizer decides on the device, 1 if it did
        for group in optimizer.param_groups:
            rate = group["lr"] * self.decay
            for parameter in group["params"]:
                pretrained = self._beside.get(parameter)
                if pretrained is None or parameter.grad is None:
                    continue
                if skipped is None:
                    parameter.lerp_(pretrained, rate)
                else:
                    parameter.lerp_(pretrained, (rate * (1 - skipped)).to(parameter))
