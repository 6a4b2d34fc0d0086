"""Lightning's hooks by which a `QALightningModule` validates, tests and predicts."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from qa_lightning.modeling.checkpointing import CheckpointMixin
from qa_lightning.modeling.evaluation import Evaluation, is_last_batch
from qa_lightning.modeling.loss import span_loss
from qa_lightning.records import Batch, Prediction
from qa_lightning.scoring.figures import mean_over_sets


class EvaluationMixin(CheckpointMixin):
    """The part of a `QALightningModule` that answers questions and scores the answers.

    Attributes:
        evaluation: The evaluation under way.
        scores: The last evaluation's figures in float64, by evaluation set; the only one's name is empty.
    """

    evaluation: Evaluation
    scores: dict[str, dict[str, float]]

    def losses(self, batch: Batch, start_logits: Tensor, end_logits: Tensor) -> tuple[Tensor, Tensor]:
        """Computes the loss of each window, float32 ``[batch]``, and whether it has a label, bool ``[batch]``."""
        attention_mask = batch.inputs["attention_mask"][: len(batch)]
        return span_loss(start_logits, end_logits, attention_mask, batch.starts, batch.ends)

    def on_validation_epoch_start(self) -> None:
        """Starts an evaluation at the null threshold of this training."""
        self.validated_weights = None
        self.evaluation.begin(self.validation_threshold)

    def on_test_epoch_start(self) -> None:
        """Starts an evaluation at the null threshold that is saved with the model."""
        self.evaluation.begin(self.settings["null_score_diff_threshold"])

    on_predict_epoch_start = on_test_epoch_start

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> dict[str, list[Prediction]]:
        """Answers and scores the questions whose last window is in this batch; on a GPU, in the one before."""
        if self.trainer.state.fn == TrainerFn.FITTING and not self.trainer.sanity_checking:
            self.keep_validated_weights()
        return {"predictions": self._evaluate(batch, batch_idx, dataloader_idx)}

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> dict[str, list[Prediction]]:
        """Answers and scores the questions whose last window is in this batch; on a GPU, in the one before."""
        return {"predictions": self._evaluate(batch, batch_idx, dataloader_idx)}

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> list[Prediction]:
        """Answers the questions whose last window is in this batch; on a GPU, in the one before."""
        return self._answer(batch, *self(batch), defer=self._is_answered_later(batch_idx, dataloader_idx))

    def on_validation_epoch_end(self) -> None:
        """Logs ``val/f1`` and the other scores; those of a named set as ``val/NAME/f1``, the first as both.

        Of several sets there are ``val/mean_f1`` and ``val/mean_exact_match``, too.
        """
        if self.trainer.sanity_checking:
            return
        self._finish_evaluation("val")
        watched = next(iter(self.scores.values()), {})
        tuning = self.trainer.state.fn == TrainerFn.FITTING and not self.threshold_is_given
        if tuning and "best_f1_thresh" in watched:
            self.settings["null_score_diff_threshold"] = watched["best_f1_thresh"]

    def on_validation_end(self) -> None:
        """Releases the weights that were validated, after all callbacks have run."""
        self.validated_weights = None

    def on_test_epoch_end(self) -> None:
        """Logs ``test/f1`` and the other scores, those of named sets likewise."""
        self._finish_evaluation("test")

    def _evaluate(self, batch: Batch, batch_idx: int, dataloader_idx: int) -> list[Prediction]:
        logits = self(batch)
        losses = self.losses(batch, *logits)
        predictions = self._answer(batch, *logits, defer=self._is_answered_later(batch_idx, dataloader_idx))
        with self._profile("scoring"):
            self.evaluation.score(batch.name, predictions, *losses)
        return predictions

    def _answer(self, batch: Batch, start_logits: Tensor, end_logits: Tensor, *, defer: bool) -> list[Prediction]:
        with self._profile("decoding"):
            return self.evaluation.answer(batch, start_logits, end_logits, defer=defer)

    def _is_answered_later(self, batch_idx: int, dataloader_idx: int) -> bool:
        """Whether the answers of a batch are returned with the next one's: on a GPU, unless it is its set's last."""
        return _waits_for_answers(self.device) and not is_last_batch(self.trainer, batch_idx, dataloader_idx)

    def _profile(self, part: str) -> AbstractContextManager[Any]:
        trainer: Any = self.trainer
        return trainer.profiler.profile(part)

    def _finish_evaluation(self, stage: str) -> None:
        self.scores = self.evaluation.compute()
        for i, (name, scores) in enumerate(self.scores.items()):
            for place in [f"{stage}/{name}/"] * bool(name) + [f"{stage}/"] * (i == 0):
                for key, value in scores.items():
                    if not key.endswith("total"):
                        # Every process computed the same figure, and the largest of equal numbers is exactly that.
                        self.log(place + key, value, prog_bar=place + key == "val/f1", sync_dist=True, reduce_fx="max")
        for key, value in mean_over_sets(self.scores).items():
            self.log(f"{stage}/{key}", value, sync_dist=True, reduce_fx="max")


def _waits_for_answers(device: torch.device) -> bool:
    """Whether the host would have to wait for a batch's answers."""
    return device.type == "cuda"
