"""The shapes of models that are measured, with random weights, and what our side and Lightning need to run them."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import lightning.pytorch as pl

from benchmarks.data import squad_file, tokenizer
from qa_lightning.data.datamodule import QADataModule
from qa_lightning.modeling.module import QALightningModule

VOCABULARY = 30_522
"""Rows of the embeddings, which the optimizer goes through in every step: BERT's, whatever the tokenizer, unless a
shape has its own."""

Accelerator = Literal["cpu", "cuda"]

LENGTHS: dict[str, Any] = {"max_length": 384, "doc_stride": 128, "max_question_length": 64}

_IRRELEVANT_WARNINGS = (
    ".*does not have many workers.*",
    ".*Total length of `list` across ranks is zero.*",
    ".*You defined a `validation_step` but have no `val_dataloader`.*",
    ".*LeafSpec.*",
)
"""Warnings of Lightning that say nothing about a measurement."""


class Shape(NamedTuple):
    """A model without weights.

    Attributes:
        name: What tables call it.
        config: Its transformers configuration.
    """

    name: str
    config: dict[str, Any]


DISTILBERT = Shape(
    "DistilBERT",
    {"model_type": "distilbert", "dim": 768, "n_layers": 6, "n_heads": 12, "hidden_dim": 3072},
)
ROBERTA = Shape(
    "RoBERTa-base",
    {
        "model_type": "roberta",
        "vocab_size": 50_265,
        "type_vocab_size": 1,
        "max_position_embeddings": 514,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
    },
)
BERT_LARGE = Shape(
    "BERT-large",
    {
        "model_type": "bert",
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
    },
)
DEBERTA = Shape(
    "DeBERTa-v3-base",
    {
        "model_type": "deberta-v2",
        "vocab_size": 128_100,
        "type_vocab_size": 0,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "relative_attention": True,
        "position_buckets": 256,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "pos_att_type": ["p2c", "c2p"],
        "position_biased_input": False,
    },
)
MODERNBERT = Shape(
    "ModernBERT-base",
    {
        "model_type": "modernbert",
        "vocab_size": 50_368,
        "hidden_size": 768,
        "num_hidden_layers": 22,
        "num_attention_heads": 12,
        "intermediate_size": 1152,
    },
)
MINILM = Shape(
    "a 22M BERT",
    {
        "model_type": "bert",
        "hidden_size": 384,
        "num_hidden_layers": 6,
        "num_attention_heads": 12,
        "intermediate_size": 1536,
    },
)
TINY = Shape(
    "a tiny BERT",
    {
        "model_type": "bert",
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    },
)


def tiny(shape: Shape) -> Shape:
    """The same architecture with few layers of 32, so that a program can be tried where there is little to compute."""
    hidden, layers, heads, inner = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    if shape.config["model_type"] == "distilbert":
        hidden, layers, heads, inner = "dim", "n_layers", "n_heads", "hidden_dim"
    small = {hidden: 32, layers: min(2, shape.config[layers]), heads: 2, inner: 64}
    return Shape(f"a tiny {shape.name}", shape.config | small)


def write_model(shape: Shape, folder: Path) -> Path:
    """Writes a shape's configuration and a tokenizer of its size, as transformers keeps them; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer(shape.config.get("vocab_size", VOCABULARY)).save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(shape.config), encoding="utf-8")
    return folder


_BERT_DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob")


def make_module(folder: Path, *, dropout: bool = True, **options: Any) -> QALightningModule:
    """A module with random weights of the shape in a folder, the same ones each time.

    Args:
        folder: What `write_model` wrote.
        dropout: Whether to leave the model its dropout.
        options: Further arguments of `QALightningModule`.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    overrides: dict[str, Any] = {"vocab_size": config.get("vocab_size", VOCABULARY)}
    if not dropout:
        distilbert = config["model_type"] == "distilbert"
        names = ("dropout", "attention_dropout", "qa_dropout") if distilbert else _BERT_DROPOUTS
        overrides |= dict.fromkeys(names, 0.0)
    pl.seed_everything(0, verbose=False)
    return QALightningModule(
        config_name=str(folder),
        tokenizer_name=str(folder),
        config_overrides=overrides,
        **LENGTHS | options,
    )


def make_data(folder: Path, questions: int, split: str, **options: Any) -> QADataModule:
    """Data of SQuAD's shape, read and cut, for one split.

    Args:
        folder: What `write_model` wrote; the data and its tokens are written beside it.
        questions: How many.
        split: ``train`` or ``validation``.
        options: Further arguments of `QADataModule`.
    """
    files: dict[str, Any] = {f"{split}_file": str(squad_file(questions, folder))}
    settings = LENGTHS | {"cache_dir": str(folder / "tokens")} | options
    data = QADataModule(tokenizer_name=str(folder), **files, **settings)
    with quiet():
        data.setup("fit" if split == "train" else "validate")
    return data


def make_trainer(folder: Path, *callbacks: pl.Callback, accelerator: Accelerator = "cpu", **options: Any) -> pl.Trainer:
    """A silent trainer on one device that keeps nothing."""
    silent: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return pl.Trainer(
        accelerator=accelerator,
        devices=1,
        enable_checkpointing=False,
        use_distributed_sampler=False,
        default_root_dir=folder,
        callbacks=list(callbacks),
        **silent | {"max_epochs": 1} | options,
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Silences Lightning until the block ends."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for message in _IRRELEVANT_WARNINGS:
            warnings.filterwarnings("ignore", message)
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
