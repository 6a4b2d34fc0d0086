"""A tiny masked language model, and plain text that it can be trained on."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from tests.tiny import PASSAGES, tiny_tokenizer


def masking_tokenizer() -> Any:
    """The tiny tokenizer with a mask token."""
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"mask_token": "[MASK]"})
    return tokenizer


def masked_folder(folder: Path) -> Path:
    """A masked BERT of random weights, with dropout, and its tokenizer."""
    import torch
    from transformers import BertConfig, BertForMaskedLM

    tokenizer = masking_tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_text(path: Path, documents: int, seed: int = 0) -> Path:
    """Documents of a few sentences, which recur, parted by blank lines."""
    draw = random.Random(seed)
    texts = [
        " ".join(sentence for sentence, _ in draw.choices(PASSAGES, k=draw.randint(3, 9))) for _ in range(documents)
    ]
    path.write_text("\n\n".join(texts) + "\n")
    return path


def fit_text(model: Path, train: Path, validation: Path) -> list[str]:
    """A short training of recurring spans: two epochs on windows of up to 24 tokens."""
    return [
        *("fit", "--model.model_name_or_path", str(model), "--data", "qa_lightning.pretraining.TextDataModule"),
        *("--data.train_file", str(train), "--data.validation_file", str(validation), "--data.max_length", "24"),
        *("--data.batch_size", "4", "--data.recurring_spans.max_common", "1", "--model.learning_rate", "0.01"),
        *("--trainer.max_epochs", "2", "--trainer.accelerator", "cpu", "--trainer.log_every_n_steps", "1"),
        *("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"),
    ]


def fit_masked(model: Path, train: Path, validation: Path) -> list[str]:
    """The same training of masked tokens."""
    return [
        *fit_text(model, train, validation),
        *("--model", "qa_lightning.pretraining.MaskedLanguageModule"),
        *("--model.model_name_or_path", str(model), "--model.learning_rate", "0.01"),
        *("--checkpoint.monitor", "val/loss", "--checkpoint.mode", "min"),
    ]
