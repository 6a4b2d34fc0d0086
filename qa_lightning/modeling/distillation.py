"""Distillation: a student learns what a teacher, or the mean of several, predicts (Hinton et al., 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from qa_lightning.modeling.hidden_states import Distance, HiddenStateLoss
from qa_lightning.modeling.objective import Logits, LossTerm, TrainingPass, each_token
from qa_lightning.modeling.teacher import TeacherModel
from qa_lightning.pretrained.ensemble_file import is_ensemble, read_ensemble
from qa_lightning.utils.bounds import check_between
from qa_lightning.utils.errors import UserError


@dataclass(frozen=True)
class Distillation:
    """Who teaches, and how much what they predict counts.

    Args:
        model_name_or_path: The teacher: a run's folder, a model's folder, a checkpoint of ours, a name on the Hub, or
            an ensemble's folder; of several, the mean of their probabilities is learnt. Default: there is none.
        temperature: What logits of teacher and student are divided by, so that unlikely spans show, too.
        weight: Weight of the divergence from the teacher's predictions, which is multiplied by temperature².
        gold_weight: Weight of the loss of the golds; 0: learn from the teacher only.
        hidden_weight: Weight of the distance between hidden states; for one teacher with the tokenizer of the student
            and hidden states of its size, which is run in every step.
        hidden_loss: How the distance is measured: ``mse`` or ``cosine``.
        hidden_layers: The teacher's layer for each of the student's that learns from one, counted from 0, such as
            ``{0: 1, 1: 3}``; default: all, evenly spread.
    """

    model_name_or_path: str | list[str] | None = None
    temperature: float = 2.0
    weight: float = 0.5
    gold_weight: float = 0.5
    hidden_weight: float = 0.0
    hidden_loss: Distance = "mse"
    hidden_layers: dict[int, int] | None = None

    def check(self) -> None:
        """Checks the numbers.

        Raises:
            UserError: Where one is out of bounds, the weights leave nothing to learn, or there is an empty list.
        """
        for name in ("weight", "gold_weight", "hidden_weight", "temperature"):
            check_between(f"teacher.{name}", getattr(self, name), 0)
        if not self.temperature:
            raise UserError("teacher.temperature must be above 0; 1 leaves probabilities as they are")
        if self.model_name_or_path is not None and not self.names:
            raise UserError("teacher.model_name_or_path names nobody; name a model, or set it to null")
        if self.names and not self.weight:
            nor = "" if self.gold_weight else ", nor from the golds (teacher.gold_weight is 0)"
            raise UserError(
                f"teacher.weight is 0, so that nothing is learnt from the teacher{nor}; set it to a number above 0, or "
                "teacher.model_name_or_path to null"
            )

        if self.hidden_weight and len(self.names) != 1:
            raise UserError("teacher.hidden_weight is for one teacher; set it to 0, or name one model")
        if self.hidden_layers is not None and not (self.hidden_weight and self.hidden_layers):
            raise UserError("teacher.hidden_layers needs a layer and a teacher.hidden_weight above 0, or leave it out")
        if self.hidden_loss not in get_args(Distance):
            raise UserError(f"teacher.hidden_loss is mse or cosine, not {self.hidden_loss!r}")

    def check_network(self, *, gradient_checkpointing: bool, torch_compile: object) -> None:
        """Checks that hidden states can be seen.

        Raises:
            UserError: Where activations are computed again, or the network is compiled.
        """
        for name, value in (("gradient_checkpointing", gradient_checkpointing), ("torch_compile", torch_compile)):
            if self.hidden_weight and value is True:
                raise UserError(f"teacher.hidden_weight does not work with {name}; set one of the two only")

    @property
    def members(self) -> list[tuple[str, float]]:
        """The models that teach, and how much each counts, of sum 1: in the place of an ensemble, those that count."""
        named = self.model_name_or_path
        named = [named] if isinstance(named, str) else list(named or ())
        found = []
        for name in named:
            models, weights = [name], [1.0]
            if is_ensemble(name):
                ensemble = read_ensemble(name)
                models, weights = ensemble.members, ensemble.weights
            found += [(model, weight / len(named)) for model, weight in zip(models, weights, strict=True) if weight]
        return found

    @property
    def names(self) -> list[str]:
        """The names of the models that teach."""
        return [name for name, _ in self.members]

    @property
    def golds_count(self) -> float:
        """What the loss of the golds is multiplied by; 1 where there is no teacher."""
        return self.gold_weight if self.names else 1.0

    def teachers(self) -> tuple[TeacherModel, ...]:
        """Makes the teachers, whose networks are not loaded yet.

        Raises:
            UserError: Where a setting is out of bounds.
        """
        self.check()
        return tuple(map(TeacherModel, self.names))

    def loss_terms(self, teachers: Sequence[TeacherModel]) -> tuple[LossTerm, ...]:
        """Makes the terms that are added to the loss: none where there is no teacher.

        Args:
            teachers: The teachers.
        """
        if not teachers:
            return ()
        predictions = TeacherLoss(self.weight, self.temperature, tuple(share for _, share in self.members))
        if not self.hidden_weight:
            return (predictions,)
        return predictions, HiddenStateLoss(teachers[0], self.hidden_weight, self.hidden_loss, self.hidden_layers)


@dataclass(frozen=True)
class TeacherLoss:
    """Adds how far the student's predictions are from the teachers'.

    Args:
        weight: What temperature² times the divergence is multiplied by.
        temperature: What logits are divided by.
        shares: How much each teacher counts; empty: all the same.
    """

    weight: float
    temperature: float
    shares: tuple[float, ...] = ()
    name = "teacher"
    reruns_network = False

    def __call__(self, training_pass: TrainingPass) -> Tensor:
        """Computes the mean over the batch's windows, also those without a label.

        Raises:
            UserError: Where the batch comes without a teacher's predictions.
        """
        taught = training_pass.batch.teacher_logits
        if taught is None:
            raise UserError(
                "the batch has no predictions of a teacher: they come with the training loader of a QADataModule that "
                "is given to the trainer (trainer.fit(model, data))"
            )
        ours = each_token(training_pass.batch, training_pass.logits)
        divergence = divergence_from_teachers(ours, taught, training_pass.mask, self.temperature, self.shares)
        return self.weight * self.temperature**2 * divergence.mean()


def divergence_from_teachers(
    logits: Logits, taught: Tensor, mask: Tensor, temperature: float, shares: Sequence[float] = ()
) -> Tensor:
    """Computes the mean over starts and ends of KL(p ‖ q), in float32.

    q is the softmax of the student's logits over real positions, and p the mean of the teachers' probabilities, both at
    a temperature. Its gradient shrinks with temperature², by which its user multiplies it.

    Args:
        logits: The student's start and end logits; floating point ``[batch, length]`` each.
        taught: The teachers' logits of starts and of ends; float32 ``[teachers, 2, batch, length]``, minus infinity
            where there is none. A teacher all of whose logits are says nothing of the window.
        mask: Whether a position is a real one; bool ``[batch, length]``.
        temperature: What logits are divided by, above 0.
        shares: How much each teacher counts in the mean; empty: all the same.

    Returns:
        The divergence of each window, 0 where no teacher says anything; float32 ``[batch]``.
    """
    speaks = taught.isfinite().any(-1, keepdim=True)
    # Finite everywhere, so that what says nothing has the share zero, not NaN.
    counts = speaks.float()
    if len({*shares}) > 1:
        # By numbers of the host, so that it does not wait for a GPU.
        counts = torch.stack([each * share for each, share in zip(counts, shares, strict=True)])
    total = counts.sum(0)
    said = (taught / temperature).masked_fill(~speaks, 0.0).softmax(-1) * counts
    p = said.sum(0) / total.masked_fill(total == 0, 1.0)
    student = (torch.stack(logits).float() / temperature).masked_fill(~mask, torch.finfo(torch.float32).min)
    log_q = student.log_softmax(-1).masked_fill(~mask, 0.0)
    return (torch.special.xlogy(p, p) - p * log_q).sum(-1).mean(0)
