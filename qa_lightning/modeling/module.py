"""The LightningModule: steps and hooks around a transformers question-answering model."""

from __future__ import annotations

import copy
import math
import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.optim import Optimizer

from qa_lightning.modeling.acceleration import Choice, choose_packing, compile_network, compiling_pays
from qa_lightning.modeling.attention import use_fast_dropout, use_our_attention
from qa_lightning.modeling.evaluation import Evaluation
from qa_lightning.modeling.finite import LossCheck, skips_steps
from qa_lightning.modeling.loss import span_loss
from qa_lightning.modeling.network import (
    CONSTANT_NULL,
    accepted_inputs,
    load_network,
    longest_input,
    network_inputs,
    question_answering_head_is_missing,
    quiet_transformers,
    sees_only_before,
)
from qa_lightning.modeling.optim import Schedule, adamw, parameter_groups, schedule
from qa_lightning.modeling.packing import Packing
from qa_lightning.modeling.weights import network_weights, same_weights
from qa_lightning.pretrained import (
    CHECKPOINT_KEY,
    NULL_AT_END,
    SETTINGS_FILE,
    load_settings,
    load_tokenizer,
    null_at_end,
    tokenizer_files,
)
from qa_lightning.records import Batch, Prediction
from qa_lightning.scoring.mlqa import check_language, has_own_rule
from qa_lightning.utils.bounds import MOST_ANSWERS, check_between
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.files import whole_folder, write_json


class QALightningModule(pl.LightningModule):
    """A model that answers a question with a span of its context, or with nothing.

    Args:
        model_name_or_path: What to start from: a name on the Hub, a folder, or a checkpoint of ours.
        config_name: Starts from random weights instead, with this configuration: a name or a folder.
        config_overrides: Values of the model's configuration to change, such as ``initializer_range: 0.1``.
        tokenizer_name: The tokenizer that is kept with the model; linked to the data's.
        model_revision: The Hub revision of the model.
        learning_rate: The highest rate of the schedule.
        weight_decay: Of all parameters but biases and norms.
        lr_scheduler_type: The rate's course: linear, cosine, polynomial, constant or constant_with_warmup.
        warmup_ratio: Share of the steps over which the rate rises from zero.
        warmup_steps: The same as a number of steps; taken instead where it is not zero.
        optimizer: Another optimizer than AdamW, which is given the same two groups of parameters.
        lr_scheduler: Another schedule, stepped after each step of the optimizer.
        n_best_size: Answers that are kept of each question.
        max_answer_length: Tokens of an answer at most.
        null_score_diff_threshold: How far null must lead to be predicted; default: what the model was saved
            with, else 0. Where none is given, each validation of a training finds the one with the best F1,
            which is saved with the model, and which ``test`` and ``predict`` take.
        language: Scores answers as MLQA does in this language (en, es, de, ar, hi, vi, zh; of others, only case,
            punctuation and white space are set aside), or each evaluation set by its name as in
            ``{vi: vi, de: de}``; default: as SQuAD does.
        version_2_with_negative: Whether null may be predicted; linked to the data's.
        max_length: Tokens of a window at most; linked to the data's and kept with the model.
        doc_stride: Context tokens that windows share; linked and kept likewise.
        max_question_length: Tokens of a question at most; linked and kept likewise.
        gradient_checkpointing: Computes activations again in the backward pass, to save memory.
        attn_implementation: The attention kernel by transformers' name, such as ``sdpa`` or ``eager``.
        packing: Whether batches are one row of tokens without padding, in which each window attends to itself only; for
            encoders with ``sdpa`` attention. ``auto``: on a GPU in 16-bit precision, where the model can.
        torch_compile: Whether to compile the model. ``auto``: where batches are packed, on one GPU, in a training that
            is long enough to repay it.
    """

    def __init__(
        self,
        model_name_or_path: str | None = None,
        config_name: str | None = None,
        config_overrides: dict[str, Any] | None = None,
        tokenizer_name: str | None = None,
        model_revision: str | None = None,
        learning_rate: float = 5e-5,
        weight_decay: float = 0.0,
        lr_scheduler_type: Schedule = "linear",
        warmup_ratio: float = 0.0,
        warmup_steps: int = 0,
        optimizer: OptimizerCallable | None = None,
        lr_scheduler: LRSchedulerCallable | None = None,
        n_best_size: int = 20,
        max_answer_length: int = 30,
        null_score_diff_threshold: float | None = None,
        language: str | dict[str, str] | None = None,
        version_2_with_negative: bool = False,
        max_length: int = 384,
        doc_stride: int = 128,
        max_question_length: int = 64,
        gradient_checkpointing: bool = False,
        attn_implementation: str | None = None,
        packing: Choice = "auto",
        torch_compile: Choice = "auto",
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["optimizer", "lr_scheduler"], logger=False)
        check_between("n_best_size", n_best_size, 1, MOST_ANSWERS)
        check_between("max_answer_length", max_answer_length, 1)
        for name, number in (("learning_rate", learning_rate), ("weight_decay", weight_decay)):
            check_between(name, number, 0)
        check_between("warmup_ratio", warmup_ratio, 0, 1)
        check_between("warmup_steps", warmup_steps, 0)
        if null_score_diff_threshold is not None and math.isnan(null_score_diff_threshold):
            raise UserError("null_score_diff_threshold is not a number")
        self.source = model_name_or_path or config_name
        tokenizer_name = tokenizer_name or model_name_or_path or config_name
        # Held from the start: at the time of saving, its source may be out of reach.
        self.tokenizer = load_tokenizer(tokenizer_name) if tokenizer_name else None
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.lr_scheduler_type = lr_scheduler_type
        self.warmup_ratio = warmup_ratio
        self.warmup_steps = warmup_steps
        self.optimizer = optimizer
        self.lr_scheduler = lr_scheduler
        self.threshold_is_given = null_score_diff_threshold is not None
        saved = load_settings(model_name_or_path, model_revision)
        if null_score_diff_threshold is None:
            null_score_diff_threshold = saved.get("null_score_diff_threshold", 0.0)
        # Stays for a whole training, whose epochs could not be compared otherwise.
        self.validation_threshold = null_score_diff_threshold
        self.settings: dict[str, Any] = {
            "max_length": max_length,
            "doc_stride": doc_stride,
            "max_question_length": max_question_length,
            "n_best_size": n_best_size,
            "max_answer_length": max_answer_length,
            "version_2_with_negative": version_2_with_negative,
            "null_score_diff_threshold": null_score_diff_threshold,
        }
        if null_at_end(self.tokenizer, saved, training=True):
            self.settings[NULL_AT_END] = True
        self.model: Any
        self.model, missing = load_network(
            model_name_or_path,
            config_name=config_name,
            config_overrides=config_overrides,
            tokenizer=self.tokenizer,
            attn_implementation=attn_implementation,
            revision=model_revision,
        )
        self.head_is_missing = question_answering_head_is_missing(self.model, missing)
        longest = longest_input(self.model)
        if longest is not None and max_length > longest:
            raise UserError(f"max_length ({max_length}) is beyond the model's {longest} positions; lower it")
        self._accepted = accepted_inputs(self.model)
        if version_2_with_negative and NULL_AT_END not in self.settings and sees_only_before(self.model):
            rank_zero_warn(CONSTANT_NULL)
        if gradient_checkpointing:
            if not self.model.supports_gradient_checkpointing:
                raise UserError(
                    f"a {self.model.config.model_type} model has no gradient_checkpointing; set it to false"
                )
            # Its name in newer transformers, and in older ones.
            enable = getattr(self.model, "activation_checkpointing_enable", None)
            (enable or self.model.gradient_checkpointing_enable)()
        self._loss_check = LossCheck()
        use_our_attention(self.model, attn_implementation)
        self._packing = Packing(self.model, attn_implementation) if packing is True else None

        self.validated_weights: dict[str, Tensor] | None = None
        """The weights that the validation under way scores, until all is saved; a callback may have put them in."""
        self._weights_in_training: dict[str, Tensor] | None = None
        self._training_has_begun = True
        self.scores: dict[str, dict[str, float]] = {}
        """The last evaluation's figures in float64, by evaluation set; the only one's name is empty."""
        self.evaluation = Evaluation(n_best_size, max_answer_length, version_2_with_negative, language)
        for code in {language} if isinstance(language, str | None) else set(language.values()):
            check_language(code)
            if not has_own_rule(code):
                rank_zero_warn(
                    f"MLQA has no rule for the language {code!r}: answers are compared without case, punctuation and "
                    "surplus white space only"
                )

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, *args: Any, **kwargs: Any) -> QALightningModule:
        """A module from a checkpoint of ours, which needs nothing but that file, and unpickles nothing."""
        source = str(checkpoint_path)
        kwargs = {"model_name_or_path": source, "tokenizer_name": source, "weights_only": True, **kwargs}
        return super().load_from_checkpoint(checkpoint_path, *args, **kwargs)

    def prepare_data(self) -> None:
        """Refuses to evaluate a model that was never trained to answer questions, before anything is written.

        Raises:
            UserError: Where the model came without a question-answering head and is not to be trained.
        """
        if self.head_is_missing and self.trainer.state.fn != TrainerFn.FITTING:
            raise UserError(
                f"{self.source} has no question-answering head, so its answers would be random; train it with fit first"
            )

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Start and end logits of every position of a batch; floating point ``[batch, length]`` each."""
        inputs = network_inputs(batch, self._accepted)
        if batch.row_tokens is not None:
            assert self._packing is not None
            start_logits, end_logits = self._packing.logits(self.model, inputs, batch.row_tokens, len(batch))
        else:
            output = self.model(**inputs)
            start_logits, end_logits = output.start_logits, output.end_logits
        return start_logits[: len(batch)], end_logits[: len(batch)]

    @property
    def packs_windows(self) -> bool:
        """Whether the windows of a batch are to come in one row; the data module looks here."""
        return self._packing is not None

    def setup(self, stage: str) -> None:
        """Chooses what is fastest on the device; a GPU multiplies float32 matrices in TF32, in a few digits less."""
        self._training_has_begun = False
        device = self.trainer.strategy.root_device
        if device.type == "cuda":
            torch.set_float32_matmul_precision("high")
        options = self.hparams
        self._packing = choose_packing(
            options["packing"], self.model, options["attn_implementation"], device, self.trainer.precision
        )
        if options["torch_compile"] is True:
            compile_network(self.model, device, accumulates=self.trainer.accumulate_grad_batches > 1)

    def on_fit_start(self) -> None:
        """Takes the weights that training goes on from; sets in what is faster on the device that there is."""
        self._training_has_begun = True  # what was before was a search for a learning rate, which goes to extremes
        if self._weights_in_training is not None:
            self.load_state_dict(self._weights_in_training)
            self._weights_in_training = None
        if self.device.type == "cpu" and self.hparams["torch_compile"] is not True:
            use_fast_dropout(self.model)
        batches = self.trainer.estimated_stepping_batches * self.trainer.accumulate_grad_batches
        if self.hparams["torch_compile"] == "auto" and compiling_pays(
            self.device, packed=self.packs_windows, processes=self.trainer.world_size, batches=batches
        ):
            compile_network(self.model, self.device, accumulates=self.trainer.accumulate_grad_batches > 1)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Draws what is random in a step, such as dropout, from the seed and the step alone.

        Training that was interrupted goes on exactly as it would have, on any number of processes.
        """
        seed = os.environ.get("PL_GLOBAL_SEED")
        if seed is not None:
            step = (int(seed), self.current_epoch, batch_idx, self.global_rank)
            torch.manual_seed(int(np.random.SeedSequence(step).generate_state(1, np.uint64)[0]))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The mean loss of a batch's windows, by the batch's weight.

        Raises:
            UserError: Where it, or on a GPU that of a batch some steps before, is not a number, with the ids of the
                questions in the batch.
        """
        losses, labelled = self._loss(batch, *self(batch))
        loss = losses.sum() / labelled.sum().clamp(min=1)
        if self._training_has_begun:
            later = loss.device.type == "cuda" and all(map(skips_steps, self.trainer.optimizers))
            self._loss_check.see(loss, self.global_step, batch.ids, later=later)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch))
        return loss * batch.weight

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Has a step change nothing where a loss is not a number."""
        self._loss_check.before_step(optimizer)

    def on_train_epoch_end(self) -> None:
        """Ends training where a loss was not a number."""
        self._loss_check.finish()

    def on_validation_epoch_start(self) -> None:
        """Begins an evaluation at the threshold that this training has, or had."""
        self._loss_check.finish()
        self.validated_weights = None
        self.evaluation.begin(self.validation_threshold)

    def on_test_epoch_start(self) -> None:
        """Begins an evaluation at the threshold that is saved with the model."""
        self.evaluation.begin(self.settings["null_score_diff_threshold"])

    on_predict_epoch_start = on_test_epoch_start

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> dict[str, list[Prediction]]:
        """Answers and scores the questions whose last window is in this batch; on a GPU, in the one before."""
        if self.validated_weights is None and self._is_training_validated():
            self.validated_weights = copy.deepcopy(dict(self.state_dict()))
        return {"predictions": self._evaluate(batch, batch_idx, dataloader_idx)}

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> dict[str, list[Prediction]]:
        """The same for `test`."""
        return {"predictions": self._evaluate(batch, batch_idx, dataloader_idx)}

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> list[Prediction]:
        """Answers the questions whose last window is in this batch; on a GPU, in the one before."""
        return self._answer(batch, *self(batch), later=self._is_answered_later(batch_idx, dataloader_idx))

    def on_validation_epoch_end(self) -> None:
        """Logs ``val/f1`` and the other scores; those of a named set as ``val/NAME/f1``, the first as both."""
        if self.trainer.sanity_checking:
            return
        self._finish_evaluation("val")
        watched = next(iter(self.scores.values()), {})
        tuning = self.trainer.state.fn == TrainerFn.FITTING and not self.threshold_is_given
        if tuning and "best_f1_thresh" in watched:
            self.settings["null_score_diff_threshold"] = watched["best_f1_thresh"]

    def on_validation_end(self) -> None:
        """Forgets the weights that were validated, once every callback has saved what it wanted to."""
        self.validated_weights = None

    def on_test_epoch_end(self) -> None:
        """Logs ``test/f1`` and the other scores, those of named sets likewise."""
        self._finish_evaluation("test")

    def configure_optimizers(self) -> Any:
        """AdamW and a schedule of transformers, or what was given in their place."""
        groups = parameter_groups(self.model, self.weight_decay)
        if self.optimizer is not None:
            optimizer = self.optimizer(groups)
        else:
            # A fused step unscales float16 gradients itself, when it is too late to clip them.
            scaled_and_clipped = self.trainer.precision == "16-mixed" and bool(self.trainer.gradient_clip_val)
            optimizer = adamw(groups, self.learning_rate, fused=not scaled_and_clipped)
        if self.lr_scheduler is not None:
            scheduler: Any = self.lr_scheduler(optimizer)
        else:
            scheduler = schedule(
                optimizer,
                self.lr_scheduler_type,
                steps=self.trainer.estimated_stepping_batches,
                warmup_ratio=self.warmup_ratio,
                warmup_steps=self.warmup_steps,
            )
        by_epoch = isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
        monitor = getattr(scheduler, "monitor", "val/f1")
        plan = {"scheduler": scheduler, "interval": "epoch" if by_epoch else "step", "monitor": monitor}
        return {"optimizer": optimizer, "lr_scheduler": plan}

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips as the trainer says, also bfloat16 gradients of a fused optimizer.

        Lightning refuses these, though only float16 has a scaler whose work clipping could undo.
        """
        algorithm = gradient_clip_algorithm or "norm"
        plugin = self.trainer.precision_plugin
        if not isinstance(plugin, MixedPrecision) or plugin.scaler is not None or not gradient_clip_val:
            self.clip_gradients(optimizer, gradient_clip_val, algorithm)
        elif algorithm == "norm":
            torch.nn.utils.clip_grad_norm_(self.parameters(), gradient_clip_val)
        else:
            torch.nn.utils.clip_grad_value_(self.parameters(), gradient_clip_val)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what restoring needs besides weights: configuration, tokenizer and settings.

        What is saved after a validation holds the weights that were validated as its ``state_dict``. Where a callback
        had put them in the place of those that training goes on with, the latter are its ``current_model_state``, as
        in checkpoints of Lightning's `WeightAveraging`.
        """
        validated = self.validated_weights
        if validated is not None and not same_weights(checkpoint["state_dict"], validated):
            if "optimizer_states" in checkpoint:
                checkpoint.setdefault("current_model_state", checkpoint["state_dict"])
            checkpoint["state_dict"] = validated
        checkpoint[CHECKPOINT_KEY] = {
            "config": {**self.model.config.to_dict(), "model_type": self.model.config.model_type},
            "tokenizer": {} if self.tokenizer is None else tokenizer_files(self.tokenizer),
            "settings": self.settings,
            "validation_threshold": self.validation_threshold,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes over the checkpoint's thresholds, unless one was given, and the weights that training goes on with."""
        if self._trainer is not None and self.trainer.state.fn == TrainerFn.FITTING:
            self._weights_in_training = checkpoint.get("current_model_state")
        if not self.threshold_is_given:
            saved = checkpoint[CHECKPOINT_KEY]
            self.validation_threshold = saved.get("validation_threshold", self.validation_threshold)
            self.settings["null_score_diff_threshold"] = saved["settings"].get(
                "null_score_diff_threshold", self.validation_threshold
            )

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes a plain transformers folder: safetensors, tokenizer, and our settings beside them.

        The folder appears whole or not at all; one that was there is replaced. After a validation, the weights are
        those that were validated.
        """
        weights = None if self.validated_weights is None else network_weights(self.validated_weights)
        with whole_folder(Path(folder)) as unfinished:
            with quiet_transformers():
                self.model.save_pretrained(unfinished, state_dict=weights)
            if self.tokenizer is not None:
                self.tokenizer.save_pretrained(unfinished)
            write_json(unfinished / SETTINGS_FILE, self.settings)

    def _is_training_validated(self) -> bool:
        return self.trainer.state.fn == TrainerFn.FITTING and not self.trainer.sanity_checking

    def _loss(self, batch: Batch, start_logits: Tensor, end_logits: Tensor) -> tuple[Tensor, Tensor]:
        return span_loss(
            start_logits, end_logits, batch.inputs["attention_mask"][: len(batch)], batch.starts, batch.ends
        )

    def _evaluate(self, batch: Batch, batch_idx: int, dataloader_idx: int) -> list[Prediction]:
        logits = self(batch)
        losses = self._loss(batch, *logits)
        predictions = self._answer(batch, *logits, later=self._is_answered_later(batch_idx, dataloader_idx))
        with self._profile("scoring"):
            self.evaluation.score(batch.name, predictions, *losses)
        return predictions

    def _answer(self, batch: Batch, start_logits: Tensor, end_logits: Tensor, *, later: bool) -> list[Prediction]:
        with self._profile("decoding"):
            return self.evaluation.answer(batch, start_logits, end_logits, later=later)

    def _is_answered_later(self, batch_idx: int, dataloader_idx: int) -> bool:
        """Whether the answers of a batch come with the next one's: on a GPU, unless it is its set's last."""
        if not _answers_later(self.device):
            return False
        trainer = self.trainer
        if trainer.testing:
            batches = trainer.num_test_batches
        elif trainer.predicting:
            batches = trainer.num_predict_batches
        else:
            batches = trainer.num_sanity_val_batches if trainer.sanity_checking else trainer.num_val_batches
        return batch_idx + 1 < batches[dataloader_idx]

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


def _answers_later(device: torch.device) -> bool:
    """Whether the host would have to wait for a batch's answers."""
    return device.type == "cuda"
