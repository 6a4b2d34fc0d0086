"""The settings of the training methods that `benchmarks.methods` compares with plain training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PLAIN = "plain"
STRONG = "strong"


@dataclass(frozen=True)
class RunsOf:
    """Stands in settings for the best models of all runs of a method."""

    method: str


TRAIN_FILE = "the file to train on"
"""Stands in settings for it."""

ADDED_FILE = "the file that is mixed in"
"""Stands in settings for it."""

_DECAY_AND_AVERAGE = {"model.learning_rate": 4e-4, "model.optimization.layer_decay": 0.9, "ema_decay": 0.95}

_STRONG = {
    "model.learning_rate": 3e-4,
    "model.optimization.layer_decay": 0.9,
    "ema_decay": 0.98,
    "data.batch_size": 8,
}
"""Those of ``configs/recipes/strong.yaml``."""

METHODS: dict[str, dict[str, Any]] = {
    PLAIN: {},
    "layer decay": {"model.optimization.layer_decay": 0.9},
    "head rate": {"model.optimization.head_learning_rate": 1e-3},
    "top layer anew": {"model.optimization.reinit_layers": 1},
    "gradual unfreezing": {"model.optimization.unfreeze_every_n_steps": 20},
    "mixout": {"model.optimization.mixout": 0.1},
    "decay to pretrained": {"model.optimization.pretrained_decay": 0.01},
    "Muon": {"model.optimization.optimizer_type": "muon"},
    "Lion": {"model.optimization.optimizer_type": "lion", "model.learning_rate": 4e-5},
    "WSD": {"model.lr_scheduler_type": "warmup_stable_decay", "model.warmup_ratio": 0.1},
    "EMA": {"ema_decay": 0.98},
    "LoRA": {"model.peft.r": 8, "model.learning_rate": 2e-3},
    "label smoothing": {"model.loss.label_smoothing": 0.1},
    "spans": {"model.loss.normalization": "spans"},
    "joint head": {"model.head.type": "joint"},
    "biaffine head": {"model.head.type": "biaffine"},
    "R-Drop": {"model.regularization.r_drop": 1.0},
    "FGM": {"model.regularization.fgm": 1.0},
    "AWP": {"model.regularization.awp": 1.0, "model.regularization.awp_start_epoch": 1},
    "SMART": {"model.regularization.smart": 1.0},
    "distillation of plain runs": {"model.teacher.model_name_or_path": RunsOf(PLAIN)},
    "typos": {"data.augmentation.typos": 0.05},
    "shuffled sentences": {"data.augmentation.shuffle_sentences": 0.5},
    "distractors": {"data.augmentation.distractors": 1},
    # Its 3 % of windows without an answer are of contexts that are longer than a window.
    "layer decay, EMA, null windows": {**_DECAY_AND_AVERAGE, "data.null_windows": 0.01},
    "mixing": {
        "data.train_file": None,
        "data.train_sets.added.file": ADDED_FILE,
        "data.train_sets.own.file": TRAIN_FILE,
        "data.mixing.epoch_windows": 1536,
        "data.mixing.curriculum": {0: {"own": 1, "added": 1}, 4: {"own": 1}},
        "trainer.max_epochs": 6,
    },
    STRONG: _STRONG,
    "strong, null windows": {**_STRONG, "data.null_windows": 0.01},
    "strong, distilled": {**_STRONG, "model.teacher.model_name_or_path": RunsOf(STRONG)},
}
"""The settings of each method, beside the common ones, by their dotted names."""

METHODS_WITH_NULL: dict[str, dict[str, Any]] = {
    "focal null": {"model.loss.null_focal_gamma": 2.0},
    "null windows": {"data.null_windows": 0.2},
    "answerability": {"model.head.answerability": True},
    "layer decay, EMA, null windows": {**_DECAY_AND_AVERAGE, "data.null_windows": 0.2},
    "strong, null windows": {**_STRONG, "data.null_windows": 0.2},
}
"""Methods that need unanswerable questions, or other settings where there are some."""

PRETRAINING: dict[str, dict[str, Any]] = {
    "pre-training on masked tokens": {
        "model.class_path": "qa_lightning.pretraining.MaskedLanguageModule",
        "checkpoint.init_args.monitor": "val/loss",
        "checkpoint.init_args.mode": "min",
    },
    "pre-training on recurring spans": {"model.class_path": "qa_lightning.QALightningModule"},
}
"""Settings of trainings on the contexts of the training file, from whose models the plain training then begins."""

OF_SEVERAL = ("ensemble of two", "soup of two")
"""What is made of two plain runs each, without training."""

WITHOUT_NULL = (*METHODS, *PRETRAINING, *OF_SEVERAL)
"""What every set of questions can be trained with."""

ALL = (*dict.fromkeys((*WITHOUT_NULL, *METHODS_WITH_NULL)),)
"""Everything that may be named."""


def nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by dotted names, as a YAML file has them."""
    config: dict[str, Any] = {}
    for name, value in settings.items():
        *sections, key = name.split(".")
        section = config
        for part in sections:
            section = section.setdefault(part, {})
        section[key] = value
    return config
