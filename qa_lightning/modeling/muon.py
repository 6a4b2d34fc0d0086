"""Muon for the matrices of the layers and AdamW for the rest, as one optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim import Optimizer

BY_MUON = "by_muon"
"""Key of a group: whether Muon updates its parameters, which are matrices."""


class MuonWithAdamW(Optimizer):
    """Updates groups with ``by_muon: True`` by `torch.optim.Muon`, and the others by AdamW.

    Args:
        params: The groups of parameters.
        lr: The learning rate of both. By default, Muon's updates are scaled to the size of AdamW's.
        weight_decay: That of groups without their own.
        momentum: Muon's momentum.
        nesterov: Whether it is Nesterov's.
        ns_coefficients: Coefficients of the Newton-Schulz iteration.
        ns_steps: Its steps.
        eps: A term in Muon's denominator.
        adjust_lr_fn: How Muon's updates are scaled: ``match_rms_adamw`` or ``original``.
        betas: Those of AdamW.
        adamw_eps: The term in AdamW's denominator.
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        ns_steps: int = 5,
        eps: float = 1e-7,
        adjust_lr_fn: str = "match_rms_adamw",
        betas: tuple[float, float] = (0.9, 0.999),
        adamw_eps: float = 1e-8,
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, BY_MUON: False})
        of_muon = {
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": ns_coefficients,
            "ns_steps": ns_steps,
            "eps": eps,
            "adjust_lr_fn": adjust_lr_fn,
        }
        of_adamw = {"betas": betas, "eps": adamw_eps}
        matrices = [group for group in self.param_groups if group[BY_MUON]]
        others = [group for group in self.param_groups if not group[BY_MUON]]
        self._muon = torch.optim.Muon(matrices, **of_muon) if matrices else None  # type: ignore[arg-type]
        self._adamw = torch.optim.AdamW(others, **of_adamw) if others else None  # type: ignore[arg-type]
        self._share()

    def _share(self) -> None:
        """Lets both optimizers work on the groups and the state of this one, which schedules and checkpoints see."""
        for optimizer, by_muon in ((self._muon, True), (self._adamw, False)):
            if optimizer is not None:
                for group in self.param_groups:
                    if group[BY_MUON] == by_muon:
                        for name, value in optimizer.defaults.items():
                            group.setdefault(name, value)
                optimizer.param_groups = [group for group in self.param_groups if group[BY_MUON] == by_muon]
                optimizer.state = self.state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores what `state_dict` returned."""
        super().load_state_dict(state_dict)
        self._share()

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Makes a step, after computing the gradients by the closure, if there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        optimizers: tuple[Any, ...] = (self._muon, self._adamw)
        for optimizer in optimizers:
            if optimizer is not None:
                optimizer.step()
        return loss
