"""Checks that a tokenizer is that of a model."""

from __future__ import annotations

from typing import Any

from qa_lightning.utils.errors import UserError

_MAX_UNUSED_EMBEDDINGS = 256
"""Unused embeddings that a model may have even where they are more than half of all."""


def check_tokens(source: str, tokenizer: Any, known: int) -> None:
    """Checks that a tokenizer is the model's, by their numbers of tokens.

    Embeddings are often larger than a vocabulary: rounded up, or with room for tokens to come. Half of the rows are
    never spare, unless there are few.

    Args:
        source: The model's name.
        tokenizer: The tokenizer.
        known: Tokens that the model has embeddings for.

    Raises:
        UserError: Where it has more tokens than the model, or far fewer.
    """
    count = tokenizer.vocab_size  # added tokens, which may be unused, are not counted
    far_fewer = 2 * len(tokenizer) < known and known - len(tokenizer) > _MAX_UNUSED_EMBEDDINGS
    if count > known or far_fewer:
        whose = tokenizer.name_or_path or type(tokenizer).__name__
        raise UserError(
            f"the tokenizer has {len(tokenizer) if far_fewer else count} tokens, and the model {source} knows {known}; "
            f"set tokenizer_name to the one that the model was trained with, or leave it out"
            + (f", and see that its vocabulary is whole ({whose})" if far_fewer else "")
        )
