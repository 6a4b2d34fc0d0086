"""Saves and loads models: self-contained checkpoints, and plain folders of transformers."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import lightning.pytorch as pl
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from qa_lightning.modeling.adapters import wrapped_adapter
from qa_lightning.modeling.headed_network import check_same_head
from qa_lightning.modeling.lora_training import LoraTraining
from qa_lightning.modeling.network import quiet_transformers
from qa_lightning.modeling.weights import network_weights, same_weights
from qa_lightning.pretrained.adapter_file import ADAPTER_KEY
from qa_lightning.pretrained.checkpoint_file import CHECKPOINT_KEY
from qa_lightning.pretrained.loading import tokenizer_files
from qa_lightning.pretrained.settings import SETTINGS_FILE
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.files import whole_folder, write_json
from qa_lightning.utils.plain import plain_items


class CheckpointMixin(pl.LightningModule):
    """The part of a `QALightningModule` that saves and loads it.

    Attributes:
        model: The network of transformers.
        tokenizer: Its tokenizer; None where it has none.
        settings: What the model is asked with, such as ``max_length``; saved beside it.
        validation_threshold: The null threshold of this training's validations.
        threshold_is_given: Whether the user gave one.
        validated_weights: The weights that the validation under way scores, until all is saved; a callback may have put
            them in.
        loaded_progress: The ``epoch`` and ``step`` of the checkpoint that was loaded last; empty where none was.
        adapter: What is trained in the network in place of all its weights; None: these are.
    """

    model: Any
    tokenizer: Any
    settings: dict[str, Any]
    validation_threshold: float
    threshold_is_given: bool
    adapter: LoraTraining | None = None

    def __init__(self) -> None:
        super().__init__()
        self.validated_weights: dict[str, Tensor] | None = None
        self.loaded_progress: dict[str, int] = {}
        self._weights_in_training: dict[str, Tensor] | None = None

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, *args: Any, **kwargs: Any) -> Self:
        """Loads a module from a checkpoint of ours, which needs no other file and unpickles no code.

        Args:
            checkpoint_path: The checkpoint.
            *args: Those of Lightning's method.
            **kwargs: Those of Lightning's method, and arguments of the module to override.
        """
        source = str(checkpoint_path)
        kwargs = {"model_name_or_path": source, "tokenizer_name": source, "weights_only": True, **kwargs}
        return super().load_from_checkpoint(checkpoint_path, *args, **kwargs)

    def keep_validated_weights(self) -> None:
        """Copies the weights that are validated, unless this validation has copied them already."""
        if self.validated_weights is None:
            self.validated_weights = copy.deepcopy(dict(self.state_dict()))

    def restore_training_weights(self) -> None:
        """Loads the weights that an interrupted training continues with, where the checkpoint's own are different."""
        if self._weights_in_training is not None:
            self.load_state_dict(self._weights_in_training)
            self._weights_in_training = None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds to a checkpoint what loading needs besides weights: configuration, tokenizer and settings.

        What is saved after a validation holds the weights that were validated as its ``state_dict``. Where a callback
        had put them in the place of those that training continues with, the latter are its ``current_model_state``, as
        in checkpoints of Lightning's `WeightAveraging`.

        Arguments that are no plain data are left out: a checkpoint that held them could not be loaded again.
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
        config = wrapped_adapter(self.model) if self.adapter is None else self.adapter.plain_config()
        if config is not None:
            checkpoint[CHECKPOINT_KEY][ADAPTER_KEY] = {"config": config, "holds_base": self.adapter is None}
        for key in ("hyper_parameters", "datamodule_hyper_parameters"):  # which may be those of a user's own classes
            if key in checkpoint:
                checkpoint[key] = plain_items(checkpoint[key])

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restores the checkpoint's thresholds, unless one was given, and the weights that training continues with.

        Raises:
            UserError: Where the checkpoint is that of a model with another head, or with another adapter.
        """
        self._check_adapter(checkpoint[CHECKPOINT_KEY].get(ADAPTER_KEY))
        self.loaded_progress = {"epoch": checkpoint["epoch"], "step": checkpoint["global_step"]}
        check_same_head(self.model, checkpoint.get(CHECKPOINT_KEY, {}).get("config", {}))
        if self._trainer is not None and self.trainer.state.fn == TrainerFn.FITTING:
            self._weights_in_training = checkpoint.get("current_model_state")
        if not self.threshold_is_given:
            saved = checkpoint[CHECKPOINT_KEY]
            self.validation_threshold = saved.get("validation_threshold", self.validation_threshold)
            self.settings["null_score_diff_threshold"] = saved["settings"].get(
                "null_score_diff_threshold", self.validation_threshold
            )

    def _check_adapter(self, saved: Mapping[str, Any] | None) -> None:
        """Checks that a checkpoint holds an adapter where this module trains one, and only there."""
        if saved is not None and saved["holds_base"] and wrapped_adapter(self.model) is None:
            raise UserError(
                "the checkpoint is that of a class that wraps its network by peft: load it by that class, or name it "
                "as model.model_name_or_path, by which the adapter becomes part of the weights"
            )
        holds = saved is not None and not saved["holds_base"]
        if holds and self.adapter is None:
            raise UserError(
                "the checkpoint holds an adapter without its base: give model.peft as its training had it, or name "
                "the checkpoint as model.model_name_or_path, by which the adapter becomes part of the weights"
            )
        if self.adapter is not None and not holds:
            raise UserError(
                "the checkpoint holds all weights, since its training had no model.peft; leave that out, or begin a "
                "new training from best_model"
            )
        if self.adapter is not None and saved is not None:
            self.adapter.check_same(saved["config"])

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes a plain transformers folder: safetensors, tokenizer, and our settings beside them.

        Where an adapter was trained, it is one that peft loads, unless the settings ask for the sum.

        The folder is written completely or not at all, and replaces an existing one. After a validation, the weights
        are those that were validated.

        Args:
            folder: The folder.
        """
        weights = None if self.validated_weights is None else network_weights(self.validated_weights)
        with whole_folder(Path(folder)) as unfinished:
            with quiet_transformers():
                if self.adapter is not None:
                    self.adapter.save(self.model, unfinished, weights)
                else:
                    self.model.save_pretrained(unfinished, state_dict=weights)
            if self.tokenizer is not None:
                self.tokenizer.save_pretrained(unfinished)
            if self.settings:
                write_json(unfinished / SETTINGS_FILE, self.settings)
