"""Accumulates answers, scores and losses over evaluation sets."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torchmetrics import Metric

from qa_lightning.decoding.decoder import Decoder, PendingAnswers
from qa_lightning.records import Batch, Prediction
from qa_lightning.scoring.metric import ExtractiveQA
from qa_lightning.scoring.mlqa import check_language, has_own_rule
from qa_lightning.scoring.rules import rule_name, scorer
from qa_lightning.utils.errors import UserError


class Evaluation:
    """Answers, scores and losses of one pass over the evaluation sets.

    Args:
        n_best_size: Number of answers kept for each question.
        max_answer_length: Most tokens of an answer.
        null_allowed: Whether a question may be left unanswered.
        language: By whose rule answers are scored, or that of each evaluation set by its name; see
            `scoring.rules.rule_name`.

    Raises:
        UserError: Where a language is unknown.
    """

    def __init__(
        self,
        n_best_size: int,
        max_answer_length: int,
        null_allowed: bool,
        language: str | Mapping[str, str] | None = None,
    ) -> None:
        self.n_best_size = n_best_size
        self.max_answer_length = max_answer_length
        self.null_allowed = null_allowed
        self.language = language
        self.null_score_diff_threshold = 0.0
        self._decoders: dict[str, Decoder] = {}
        self._pending: deque[tuple[Decoder, PendingAnswers]] = deque()
        self._metrics: dict[str, tuple[MeanLoss, ExtractiveQA]] = {}
        for code in {language} if isinstance(language, str | None) else set(language.values()):
            check_language(code)
            if not has_own_rule(code):
                rank_zero_warn(
                    f"MLQA has no rule for the language {code!r}: answers are compared without case, punctuation and "
                    "surplus white space only"
                )

    def begin(self, null_score_diff_threshold: float) -> None:
        """Starts a pass, and forgets everything of earlier ones.

        Args:
            null_score_diff_threshold: The margin by which null must lead to be predicted in the pass that begins.
        """
        self.null_score_diff_threshold = null_score_diff_threshold
        self._decoders.clear()
        self._pending.clear()
        self._metrics.clear()

    def rule(self, name: str) -> str:
        """The rule by which the answers of the evaluation set with this name are scored.

        Raises:
            UserError: Where languages are given by set, and none for this one.
        """
        if not isinstance(self.language, Mapping):
            return rule_name(self.language, null_allowed=self.null_allowed)
        if name not in self.language:
            which = f"the evaluation set {name!r}" if name else "an evaluation set without a name"
            raise UserError(
                f"model.language has no language for {which}, but for {', '.join(self.language)}: name the files "
                "after these, as in {vi: vi.json}, or give model.language one language for all"
            )
        return rule_name(self.language[name])

    def answer(
        self, batch: Batch, start_logits: Tensor, end_logits: Tensor, *, defer: bool = False
    ) -> list[Prediction]:
        """Predicts the answers to the questions of which all windows were seen.

        Args:
            batch: Windows with offsets and questions.
            start_logits: Scores of each token as the first; floating point, ``[batch, length]``.
            end_logits: Scores of each token as the last; floating point, ``[batch, length]``.
            defer: Whether the predictions of this batch may be returned with the next one's, so that the host does not
                wait for the GPU before it starts the next batch; False at the last batch of an evaluation set.
        """
        if batch.name not in self._decoders:
            self._decoders[batch.name] = Decoder(
                self.n_best_size, self.max_answer_length, self.null_allowed, self.null_score_diff_threshold
            )
        decoder = self._decoders[batch.name]
        self._pending.append((decoder, decoder.begin(batch, start_logits, end_logits)))
        predictions = []
        while len(self._pending) > defer:
            decoder, pending = self._pending.popleft()
            predictions += decoder.finish(pending)
        return predictions

    def score(self, name: str, predictions: list[Prediction], losses: Tensor, labelled: Tensor) -> None:
        """Adds a batch's predictions, and its windows' losses where they are labelled.

        Args:
            name: The evaluation set's name.
            predictions: What `answer` returned.
            losses: The loss of each window; float32 ``[batch]``.
            labelled: Whether it has one; bool ``[batch]``.
        """
        loss, metric = self._metrics_for(name, losses.device)
        loss.update(losses, labelled)
        metric.update(predictions)

    def compute(self) -> dict[str, dict[str, float]]:
        """Computes the figures of each evaluation set over all processes, in order; the name of a single set is empty.

        Returns:
            ``loss``, where there are labels; what `ExtractiveQA` computes; and, where null is allowed, the
            ``null_score_diff_threshold`` that the answers were taken at; by set.
        """
        threshold = {"null_score_diff_threshold": self.null_score_diff_threshold} if self.null_allowed else {}
        figures = {}
        for name, (loss, metric) in self._metrics.items():
            mean = loss.compute().item()
            scores = metric.compute()
            figures[name] = ({} if math.isnan(mean) else {"loss": mean}) | (scores and scores | threshold)
        return figures

    def _metrics_for(self, name: str, device: torch.device) -> tuple[MeanLoss, ExtractiveQA]:
        if name not in self._metrics:
            self._metrics[name] = (MeanLoss().to(device), ExtractiveQA(scorer(self.rule(name))).to(device))
        return self._metrics[name]


class MeanLoss(Metric):
    """The mean loss of labelled windows. Unlike torchmetrics' own mean, it never waits for a GPU between batches.

    Losses that are not a number are left out.
    """

    full_state_update = False
    total: Tensor
    number: Tensor
    left_out: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("total", "number", "left_out"):
            # Also where the weights, and with them torch's default, are in half precision.
            self.add_state(name, default=torch.zeros((), dtype=torch.float32), dist_reduce_fx="sum")

    def update(self, losses: Tensor, labelled: Tensor) -> None:
        """Counts the windows of a batch: their losses, and which of them have a label."""
        known = labelled & ~losses.isnan()
        self.total += torch.where(known, losses, 0.0).sum()
        self.number += known.sum()
        self.left_out += (labelled & losses.isnan()).sum()

    def compute(self) -> Tensor:
        """The mean over all processes, which is not a number where no window has a label."""
        if self.left_out > 0:
            rank_zero_warn("losses of an evaluation that are not numbers are left out of their mean")
        return self.total / self.number


def is_last_batch(trainer: pl.Trainer, batch_idx: int, dataloader_idx: int) -> bool:
    """Whether a batch is the last of its evaluation set, in a validation, test or prediction under way."""
    if trainer.testing:
        batches = trainer.num_test_batches
    elif trainer.predicting:
        batches = trainer.num_predict_batches
    else:
        batches = trainer.num_sanity_val_batches if trainer.sanity_checking else trainer.num_val_batches
    return batch_idx + 1 >= batches[dataloader_idx]
