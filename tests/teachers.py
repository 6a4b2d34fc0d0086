"""Teachers for tests: tiny networks, one of which has a tokenizer of its own."""

from __future__ import annotations

import json
from pathlib import Path

from tests.tiny import tiny_folder


def letters_folder(folder: Path, *, positions: int = 160) -> Path:
    """A BERT of random weights whose tokenizer knows letters only, so that every letter of a word is a token."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForQuestionAnswering

    tiny_folder(folder)
    file = folder / "tokenizer.json"
    values = json.loads(file.read_text())
    vocabulary = values["model"]["vocab"]
    kept = [word for word in vocabulary if len(word.removeprefix("##")) == 1 or word.startswith("[")]
    values["model"]["vocab"] = {word: i for i, word in enumerate(sorted(kept, key=vocabulary.__getitem__))}
    file.write_text(json.dumps(values))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=positions,
        initializer_range=0.5,
    )
    with torch.random.fork_rng():
        torch.manual_seed(1)
        BertForQuestionAnswering(config).save_pretrained(folder)
    return folder
