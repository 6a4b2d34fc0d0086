"""The LightningModule of a masked language model."""

from __future__ import annotations

import math
from typing import Any

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from qa_lightning.modeling.acceleration import Acceleration
from qa_lightning.modeling.network import accepted_inputs, enable_gradient_checkpointing, longest_input
from qa_lightning.modeling.optim import Schedule
from qa_lightning.modeling.optimization import PLAIN_OPTIMIZATION, Optimization
from qa_lightning.modeling.training_hooks import StepMixin
from qa_lightning.pretrained.loading import load_tokenizer
from qa_lightning.pretraining.masked_data import MaskedBatch
from qa_lightning.pretraining.masking import NO_LABEL
from qa_lightning.pretraining.network import load_masked_network, logits_at
from qa_lightning.records import Batch, WindowConfig
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.plain import as_text

FIGURES = ("loss", "perplexity", "accuracy")
"""What an evaluation comes to: the mean loss of the masked tokens, its exponential, and how many of them are guessed
right, in per cent."""


class MaskedLanguageModule(StepMixin):
    """A model that guesses masked tokens, which is trained on plain text before it is trained to answer questions.

    Args:
        model_name_or_path: What to start from: a name on the Hub, a folder, or a checkpoint of ours.
        config_name: Starts from random weights instead, with this configuration: a name or a folder.
        config_overrides: Values of the model's configuration to change.
        tokenizer_name: The tokenizer that is kept with the model; linked to the data's.
        model_revision: The Hub revision of the model.
        learning_rate: The peak learning rate of the schedule.
        weight_decay: Weight decay of all parameters except biases and norms.
        lr_scheduler_type: The learning rate schedule; see `QALightningModule`.
        warmup_ratio: Share of all steps over which the learning rate rises from zero.
        warmup_steps: The same as a number of steps, which takes precedence where it is not zero.
        optimizer: An optimizer to use instead of AdamW, with the same two groups of parameters.
        lr_scheduler: A schedule to use instead, stepped after each step of the optimizer.
        max_length: Most tokens of a window; linked to the data's.
        gradient_checkpointing: Recomputes activations in the backward pass, to save memory.
        attn_implementation: The attention kernel by transformers' name, such as ``sdpa`` or ``eager``.
        optimization: Layer-wise learning rates, freezing, other optimizers, and what keeps weights near the pretrained.

    Attributes:
        scores: The last evaluation's `FIGURES` in float64, by evaluation set; the only one's name is empty.
    """

    validation_threshold = 0.0
    threshold_is_given = True

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
        max_length: int = WindowConfig.max_length,
        gradient_checkpointing: bool = False,
        attn_implementation: str | None = None,
        optimization: Optimization = PLAIN_OPTIMIZATION,
    ) -> None:
        super().__init__()
        model_name_or_path, config_name, tokenizer_name = map(
            as_text, (model_name_or_path, config_name, tokenizer_name)
        )
        self.save_hyperparameters(ignore=["optimizer", "lr_scheduler"], logger=False)
        self.set_optimization(
            optimization,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            lr_scheduler_type=lr_scheduler_type,
            warmup_ratio=warmup_ratio,
            warmup_steps=warmup_steps,
            optimizer=optimizer,
            lr_scheduler=lr_scheduler,
        )
        self.tokenizer_name = tokenizer_name or model_name_or_path or config_name
        self.tokenizer = load_tokenizer(self.tokenizer_name) if self.tokenizer_name else None
        self.settings: dict[str, Any] = {}  # those of answers, which it does not give
        self.model: Any
        self.model, missing = load_masked_network(
            model_name_or_path,
            config_name,
            model_revision,
            config_overrides=config_overrides,
            tokenizer=self.tokenizer,
            attn_implementation=attn_implementation,
        )
        if missing:
            rank_zero_info(f"{model_name_or_path} has no masked-language head: it is trained from random weights")
        longest = longest_input(self.model)
        if longest is not None and max_length > longest:
            raise UserError(f"max_length ({max_length}) is beyond the model's {longest} positions; lower it")
        self._accepted = accepted_inputs(self.model)
        if gradient_checkpointing:
            enable_gradient_checkpointing(self.model)
        self.prepare_optimization(is_pretrained=model_name_or_path is not None)
        self._acceleration = Acceleration(self.model, attn_implementation, packing=False, torch_compile=False)
        self.scores: dict[str, dict[str, float]] = {}
        self._sums: list[Tensor] = []

    def prepare_data(self) -> None:
        """Refuses to watch a score that there will not be, before data are read.

        Raises:
            UserError: Where a callback watches one that only answers have.
        """
        trainer: Any = self.trainer
        for callback in trainer.callbacks if trainer.state.fn == TrainerFn.FITTING else ():
            watched = getattr(callback, "monitor", None)
            if (
                watched is not None
                and watched.startswith("val/")
                and watched not in {f"val/{name}" for name in FIGURES}
            ):
                raise UserError(
                    f"there will be no score {watched!r} to watch: for masked tokens set checkpoint.monitor: val/loss "
                    "and checkpoint.mode: min"
                )

    def setup(self, stage: str) -> None:
        """Prepares the network for the trainer's device.

        Raises:
            UserError: Where it is to answer questions.
        """
        if stage == "predict":
            raise UserError("a masked language model predicts no answers: train it with fit to answer questions first")
        self._training_has_begun = False
        self._acceleration.set_up(self.trainer)

    def forward(self, batch: Batch) -> Tensor:
        """Computes the logits at a batch's target positions; ``[positions, vocabulary]``.

        Raises:
            UserError: Where the batch is none of masked tokens.
        """
        if not isinstance(batch, MaskedBatch):
            raise UserError(
                f"{type(self).__name__} takes the batches of a TextDataModule: set data.class_path to "
                "qa_lightning.pretraining.TextDataModule"
            )
        inputs = {name: tensor for name, tensor in batch.inputs.items() if name in self._accepted}
        return logits_at(self.model, inputs, batch.target_positions)

    def training_step(self, batch: MaskedBatch, batch_idx: int) -> Tensor:
        """Computes the loss of the batch's masked tokens, each of which counts the same in a whole epoch.

        Raises:
            UserError: Where it, or on a GPU that of an earlier batch, is not finite.
        """
        loss, _, count = self._loss(batch)
        mean = loss / count.clamp(min=1)
        self.log("train/loss", mean, prog_bar=True, batch_size=len(batch))
        self.check_loss(mean, batch.ids)
        return loss / batch.mean_targets

    def _loss(self, batch: MaskedBatch) -> tuple[Tensor, Tensor, Tensor]:
        """The sum of the masked tokens' losses, how many are guessed right, and how many there are."""
        logits, targets = self(batch), batch.labels.flatten()[batch.target_positions]
        loss = torch.nn.functional.cross_entropy(logits.float(), targets, ignore_index=NO_LABEL, reduction="sum")
        return loss, (logits.argmax(-1) == targets).sum(), (targets != NO_LABEL).sum()

    def on_validation_epoch_start(self) -> None:
        """Stops training where a loss was not finite, and starts an evaluation."""
        super().on_validation_epoch_start()
        self.validated_weights = None
        self._sums = []

    def on_test_epoch_start(self) -> None:
        """Starts an evaluation."""
        self._sums = []

    def validation_step(self, batch: MaskedBatch, batch_idx: int) -> None:
        """Guesses the masked tokens of a batch."""
        if self.trainer.state.fn == TrainerFn.FITTING and not self.trainer.sanity_checking:
            self.keep_validated_weights()
        self._sums.append(torch.stack([value.detach().float() for value in self._loss(batch)]))

    def test_step(self, batch: MaskedBatch, batch_idx: int) -> None:
        """Guesses the masked tokens of a batch."""
        self._sums.append(torch.stack([value.detach().float() for value in self._loss(batch)]))

    def on_validation_epoch_end(self) -> None:
        """Logs ``val/loss``, ``val/perplexity`` and ``val/accuracy``."""
        if not self.trainer.sanity_checking:
            self._finish_evaluation("val")

    def on_test_epoch_end(self) -> None:
        """Logs the same figures of the test."""
        self._finish_evaluation("test")

    def on_validation_end(self) -> None:
        """Releases the weights that were validated, after all callbacks have run."""
        self.validated_weights = None

    def _finish_evaluation(self, stage: str) -> None:
        # Kept by batch until now, as the host would wait for each, and float32 could not hold the sum of all.
        sums: Any = torch.stack([torch.zeros(3, device=self.device), *self._sums]).cpu().double().sum(0)
        if self.trainer.world_size > 1:
            sums = self.trainer.strategy.reduce(sums.to(self.device), reduce_op="sum")
        loss, right, count = sums.tolist()
        mean = loss / max(count, 1)
        values = (mean, math.exp(min(mean, 700)), 100 * right / max(count, 1))
        self.scores = {"": dict(zip(FIGURES, values, strict=True))}
        for name, value in self.scores[""].items():
            self.log(f"{stage}/{name}", value, prog_bar=name == "loss", sync_dist=True, reduce_fx="max")
