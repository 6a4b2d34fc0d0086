"""The LightningModule: steps and hooks around a transformers question-answering model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from qa_lightning.modeling.acceleration import Acceleration, AutoOrBool
from qa_lightning.modeling.distillation import Distillation
from qa_lightning.modeling.evaluation import Evaluation
from qa_lightning.modeling.heads import PLAIN_HEAD, HeadConfig
from qa_lightning.modeling.lora import NO_ADAPTER, LoraSettings
from qa_lightning.modeling.lora_training import add_adapter, changed_config
from qa_lightning.modeling.loss import PLAIN_LOSS, LossConfig
from qa_lightning.modeling.network import (
    CONSTANT_NULL,
    accepted_inputs,
    enable_gradient_checkpointing,
    is_causal_network,
    load_network,
    longest_input,
    network_inputs,
    question_answering_head_is_missing,
)
from qa_lightning.modeling.objective import Logits, LossTerm, rerun_network
from qa_lightning.modeling.optim import Schedule
from qa_lightning.modeling.optimization import PLAIN_OPTIMIZATION, Optimization
from qa_lightning.modeling.regularization import Regularization
from qa_lightning.modeling.training_hooks import TrainingMixin
from qa_lightning.pretrained.loading import load_settings, load_tokenizer
from qa_lightning.pretrained.settings import NULL_AT_END, null_at_end
from qa_lightning.records import Batch, WindowConfig
from qa_lightning.utils.bounds import MOST_ANSWERS, check_between
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.plain import as_text, from_plain, plain_items

_NO_REGULARIZATION = Regularization()
_NO_TEACHER = Distillation()


class QALightningModule(TrainingMixin):
    """A model that answers a question with a span of its context, or with nothing.

    Args:
        model_name_or_path: What to start from: a name on the Hub, a folder, or a checkpoint of ours.
        config_name: Starts from random weights instead, with this configuration: a name or a folder.
        config_overrides: Values of the model's configuration to change, such as ``initializer_range: 0.1``.
        tokenizer_name: The tokenizer that is kept with the model; linked to the data's.
        model_revision: The Hub revision of the model.
        learning_rate: The peak learning rate of the schedule.
        weight_decay: Weight decay of all parameters except biases and norms.
        lr_scheduler_type: The learning rate schedule: linear, cosine, cosine_with_restarts, warmup_stable_decay,
            polynomial, constant or constant_with_warmup.
        warmup_ratio: Share of all steps over which the learning rate rises from zero.
        warmup_steps: The same as a number of steps, which takes precedence where it is not zero.
        optimizer: An optimizer to use instead of AdamW, with the same two groups of parameters.
        lr_scheduler: A schedule to use instead, stepped after each step of the optimizer.
        n_best_size: Number of answers kept for each question.
        max_answer_length: Most tokens of an answer.
        null_score_diff_threshold: The margin by which null must lead to be predicted; default: what the model was saved
            with, else 0. Where none is given, each validation of a training finds the one with the best F1,
            which is saved with the model, and which ``test`` and ``predict`` take.
        language: Scores answers as MLQA does in this language (en, es, de, ar, hi, vi, zh; of others, only case,
            punctuation and white space are ignored), or each evaluation set by its name as in
            ``{vi: vi, de: de}``; default: as SQuAD does.
        version_2_with_negative: Whether null may be predicted; linked to the data's.
        max_length: Most tokens of a window; linked to the data's and kept with the model.
        doc_stride: Context tokens that windows share; linked and kept likewise.
        max_question_length: Most tokens of a question; linked and kept likewise.
        gradient_checkpointing: Recomputes activations in the backward pass, to save memory.
        attn_implementation: The attention kernel by transformers' name, such as ``sdpa`` or ``eager``.
        packing: Whether batches are one row of tokens without padding, in which each window attends to itself only; for
            encoders with ``sdpa`` attention. ``auto``: on a GPU in 16-bit precision, where the model can.
        torch_compile: Whether to compile the model. ``auto``: where batches are packed, on one GPU, in a training that
            is long enough to repay it.
        loss: What training minimises, unless it is the plain loss; see `LossConfig`.
        regularization: Regularisers, which are added to the loss.
        optimization: Layer-wise learning rates, freezing, other optimizers, and what keeps weights near the pretrained.
        teacher: A trained model, or several, whose predictions are learnt beside the golds.
        head: The head that scores answers.
        peft: Trains an adapter by LoRA in place of all weights.
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
        max_length: int = WindowConfig.max_length,
        doc_stride: int = WindowConfig.doc_stride,
        max_question_length: int = WindowConfig.max_question_length,
        gradient_checkpointing: bool = False,
        attn_implementation: str | None = None,
        packing: AutoOrBool = "auto",
        torch_compile: AutoOrBool = "auto",
        loss: LossConfig = PLAIN_LOSS,
        regularization: Regularization = _NO_REGULARIZATION,
        optimization: Optimization = PLAIN_OPTIMIZATION,
        teacher: Distillation = _NO_TEACHER,
        head: HeadConfig = PLAIN_HEAD,
        peft: LoraSettings = NO_ADAPTER,
    ) -> None:
        super().__init__()
        model_name_or_path, config_name, tokenizer_name = map(
            as_text, (model_name_or_path, config_name, tokenizer_name)
        )
        self.save_hyperparameters(ignore=["optimizer", "lr_scheduler"], logger=False)
        self.loss = from_plain(LossConfig, loss)
        regularization = from_plain(Regularization, regularization)
        teacher = from_plain(Distillation, teacher)
        head = from_plain(HeadConfig, head)
        peft = from_plain(LoraSettings, peft)
        sections: dict[str, Any] = {
            "loss": self.loss,
            "regularization": regularization,
            "teacher": teacher,
            "head": head,
            "peft": peft,
        }
        for name, section in sections.items():
            self.hparams[name] = asdict(section)  # a checkpoint holds plain data only
        teacher.check_network(gradient_checkpointing=gradient_checkpointing, torch_compile=torch_compile)
        self.gold_weight, self.teachers = teacher.golds_count, teacher.teachers()
        self.loss_terms: tuple[LossTerm, ...] = (
            *teacher.loss_terms(self.teachers),
            *regularization.loss_terms(gradient_checkpointing=gradient_checkpointing),
        )
        check_between("n_best_size", n_best_size, 1, MOST_ANSWERS)
        check_between("max_answer_length", max_answer_length, 1)
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
        if null_score_diff_threshold is not None and math.isnan(null_score_diff_threshold):
            raise UserError("null_score_diff_threshold is not a number")
        self.source = model_name_or_path or config_name
        self.tokenizer_name = tokenizer_name or model_name_or_path or config_name
        # Held from the start: at the time of saving, its source may be out of reach.
        self.tokenizer = load_tokenizer(self.tokenizer_name) if self.tokenizer_name else None
        peft.check(self.optimization, regularization, model_name_or_path)
        self.threshold_is_given = null_score_diff_threshold is not None
        saved = load_settings(model_name_or_path, model_revision)
        if null_score_diff_threshold is None:
            null_score_diff_threshold = saved.get("null_score_diff_threshold", 0.0)
        # Stays for a whole training, whose epochs could not be compared otherwise.
        self.validation_threshold = null_score_diff_threshold
        self.settings: dict[str, Any] = plain_items(
            {
                "max_length": max_length,
                "doc_stride": doc_stride,
                "max_question_length": max_question_length,
                "n_best_size": n_best_size,
                "max_answer_length": max_answer_length,
                "version_2_with_negative": version_2_with_negative,
                "null_score_diff_threshold": null_score_diff_threshold,
            }
        )
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
            head=head,
            merge=not peft.r,
        )
        if version_2_with_negative and NULL_AT_END not in self.settings and is_causal_network(self.model):
            rank_zero_warn(CONSTANT_NULL)
        self.adapter = add_adapter(self.model, peft, model_name_or_path, model_revision)
        if self.adapter is not None:
            self.settings |= changed_config(self.model, config_overrides)
        self.loss_terms += head.loss_terms(self.model, self.gold_weight)
        self.head_is_missing = question_answering_head_is_missing(self.model, missing)
        longest = longest_input(self.model)
        if longest is not None and max_length > longest:
            raise UserError(f"max_length ({max_length}) is beyond the model's {longest} positions; lower it")
        self._accepted = accepted_inputs(self.model)
        if gradient_checkpointing:
            enable_gradient_checkpointing(self.model)
        self.prepare_optimization(is_pretrained=model_name_or_path is not None)
        compiles = False if teacher.hidden_weight else torch_compile  # hooks see hidden states
        self._acceleration = Acceleration(self.model, attn_implementation, packing, compiles)
        self.scores: dict[str, dict[str, float]] = {}
        self.evaluation = Evaluation(n_best_size, max_answer_length, version_2_with_negative, language)

    def prepare_data(self) -> None:
        """Refuses to evaluate a model that was never trained to answer questions, before anything is written.

        Raises:
            UserError: Where the model came without a question-answering head and is not to be trained.
        """
        if self.head_is_missing and self.trainer.state.fn != TrainerFn.FITTING:
            raise UserError(
                f"{self.source} has no question-answering head, so its answers would be random; train it with fit first"
            )

    def forward(self, batch: Batch, parameters: Mapping[str, Tensor] | None = None) -> Logits:
        """Computes the start and end logits of every position of a batch; floating point ``[batch, length]`` each.

        ``parameters`` take the place of some of the network's own, by their names in it.

        Raises:
            UserError: Where the batch is none of a `QADataModule`.
        """
        if not isinstance(batch, Batch):
            raise UserError(
                f"{type(self).__name__} takes the batches of a QADataModule, not a {type(batch).__name__}: write data "
                "of your own to a file that QADataModule reads, or use its loaders (data.setup('fit'), "
                "data.train_dataloader(), data.val_dataloader())"
            )
        inputs = network_inputs(batch, self._accepted)
        return self._acceleration.logits(self.model, batch, inputs, parameters)

    @property
    def packs_windows(self) -> bool:
        """Whether the model takes the windows of a batch in one row; the data module reads this."""
        return self._acceleration.packing is not None

    def setup(self, stage: str) -> None:
        """Chooses packing and compiling for the trainer's device."""
        self._training_has_begun = False
        self._acceleration.set_up(self.trainer, reruns=rerun_network(self.loss_terms))
