"""A tiny model with its tokenizer and a few questions, made on the spot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

WORDS = (
    "who what where when wrote is the a of in and did built born lived ada grace alan london paris rome program "
    "compiler machine first house garden river ? . ,"
).split()

SQUAD = ("--data.max_length", "48", "--data.max_question_length", "12", "--data.doc_stride", "8")
"""Flags that fit the tiny model's 64 positions."""

PASSAGES = (
    ("Ada wrote the first program in London.", (("Who wrote the program?", "Ada"), ("Where?", "London"))),
    ("Grace built a compiler in Paris.", (("Who built the compiler?", "Grace"), ("What did Grace build?", "compiler"))),
    ("Alan lived in a house in Rome.", (("Where did Alan live?", "Rome"), ("Who lived in Rome?", "Alan"))),
)


def tiny_tokenizer() -> Any:
    """A WordPiece tokenizer of a few words and all letters."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    vocabulary = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        *WORDS,
        *(set(letters) - set(WORDS)),
        *(f"##{c}" for c in letters),
    ]
    vocabulary[4:] = sorted(set(vocabulary[4:]))
    backend = Tokenizer(models.WordPiece({word: i for i, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def tiny_folder(folder: Path, *, hidden_size: int = 16, layers: int = 1, head: bool = True) -> Path:
    """A BERT of random weights with its tokenizer, saved as transformers does."""
    import torch
    from transformers import BertConfig, BertForQuestionAnswering, BertModel

    tokenizer = tiny_tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=0.5,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        (BertForQuestionAnswering if head else BertModel)(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_squad(path: Path, *, impossible: bool = False, copies: int = 1) -> Path:
    """A few questions as SQuAD JSON; with ``impossible``, one more of each passage that it does not answer."""
    paragraphs = []
    for copy in range(copies):
        for p, (context, questions) in enumerate(PASSAGES):
            qas: list[dict[str, Any]] = [
                {
                    "id": f"{copy}-{p}-{q}",
                    "question": question,
                    "answers": [{"text": answer, "answer_start": context.index(answer)}],
                }
                for q, (question, answer) in enumerate(questions)
            ]
            if impossible:
                qas.append({"id": f"{copy}-{p}-x", "question": "When?", "answers": [], "is_impossible": True})
            paragraphs.append({"context": context, "qas": qas})
    document = {"version": "v2.0", "data": [{"title": "Tiny", "paragraphs": paragraphs}]}
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def fit_arguments(model: str, train: str, validation: str) -> list[str]:
    """A short training of a tiny model."""
    return [
        *("fit", "--model.model_name_or_path", model),
        *("--data.train_file", train, "--data.validation_file", validation),
        *SQUAD,
        *("--data.batch_size", "4", "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu"),
        *(
            "--trainer.enable_progress_bar",
            "false",
            "--trainer.enable_model_summary",
            "false",
            "--trainer.log_every_n_steps",
            "1",
        ),
    ]
